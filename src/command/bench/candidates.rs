//! Which configurations a bench measures.

use crate::cli::fit::{Contexts, FitArguments};
use crate::command::{Program, fit};
use crate::failure::Failure;
use crate::fit::plan::Plan;
use crate::fit::settings::CacheType;
use crate::report::bench::{NotMeasured, configuration_name};

/// Context and cache type of the sweep, smallest first: what people compare on a card of 24 GiB.
const SWEEP: [(u32, CacheType); 4] =
    [(32_768, CacheType::F16), (32_768, CacheType::Q8_0), (65_536, CacheType::Q8_0), (131_072, CacheType::Q4_0)];

/// One configuration to measure.
#[derive(Debug, Clone)]
pub(in crate::command) struct Candidate {
    /// `A`, `B`, …
    pub(super) config: String,
    pub(super) plan: Plan,
    /// Which of the plan's options; none = nothing fits.
    pub(super) option: Option<usize>,
}

impl Candidate {
    /// What the plan recommends, alone.
    pub(in crate::command) fn recommended(plan: Plan) -> Self {
        let option = plan.recommended;
        Self { config: configuration_name(0), plan, option }
    }

    /// Context and cache type of its servers.
    pub(super) fn title(&self) -> String {
        let option = self.option.and_then(|index| self.plan.options.get(index));
        let servers = option.map(|option| option.servers.as_slice()).unwrap_or_default();
        let one = |server: &crate::fit::plan::PlanServer| title(server.context, server.cache_type_k);
        servers.iter().map(one).collect::<Vec<_>>().join(" and ")
    }
}

fn title(context: u32, cache_type: CacheType) -> String {
    format!("{} tokens, {cache_type} cache", crate::units::grouped(u64::from(context)))
}

#[derive(Debug, Default)]
pub(super) struct Candidates {
    pub(super) fitting: Vec<Candidate>,
    pub(super) left_out: Vec<NotMeasured>,
}

impl Candidates {
    /// The recommended option of a plan, or all that fit.
    pub(super) fn of(plan: Plan, sweep: bool) -> Self {
        if !sweep {
            return Self { fitting: vec![Candidate::recommended(plan)], left_out: Vec::new() };
        }
        let fitting = plan.options.iter().enumerate().filter(|(_, option)| option.fits).map(|(index, _)| index);
        let candidate =
            |(number, index)| Candidate { config: configuration_name(number), plan: plan.clone(), option: Some(index) };
        Self { fitting: fitting.enumerate().map(candidate).collect(), left_out: Vec::new() }
    }

    /// The sweep's configurations as far as they fit; with a context or a cache type asked for, the plan's own options.
    pub(super) fn sweep(program: &Program, fit: &FitArguments, models: &[String]) -> Result<Self, Failure> {
        if fit.ctx_size.is_some() || fit.cache_type_k.is_some() || fit.cache_type_v.is_some() {
            return Ok(Self::of(fit::plan(program, fit, models)?, true));
        }
        let mut candidates = Self::default();
        for (index, (context, cache_type)) in SWEEP.into_iter().enumerate() {
            let fit = FitArguments {
                ctx_size: Some(Contexts(vec![context])),
                cache_type_k: Some(cache_type),
                cache_type_v: Some(cache_type),
                ..fit.clone()
            };
            let plan = fit::plan(program, &fit, models)?;
            let config = configuration_name(index);
            if plan.recommended.is_some() {
                let option = plan.recommended;
                candidates.fitting.push(Candidate { config, plan, option });
            } else {
                let (title, why) = (title(context, cache_type), "does not fit".to_owned());
                candidates.left_out.push(NotMeasured { config, title, why });
            }
        }
        // Nothing of it fits: what does?
        if candidates.fitting.is_empty() {
            Ok(Self::of(fit::plan(program, fit, models)?, true))
        } else {
            Ok(candidates)
        }
    }
}
