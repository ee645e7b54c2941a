//! Which run of a sweep serves best.

use super::BenchRun;
use crate::cli::fit::Preference;
use crate::units::grouped;

/// What is best at what was preferred, among those that keep their promise and whose answers may stand for f16's.
pub(super) fn pick(runs: &[BenchRun], prefer: Option<Preference>) -> (Option<usize>, String) {
    if runs.len() < 2 {
        return (None, String::new());
    }
    let good = runs.iter().enumerate().filter(|(_, run)| run.kept && is_good(run));
    let score = |run: &BenchRun| match prefer {
        None | Some(Preference::Context) => f64::from(run.server.context),
        Some(Preference::Speed) => run.measured.tokens_per_second,
        Some(Preference::Quality) => run.measured.quality.as_ref().map_or(1.0, |quality| quality.agreement),
    };
    let what = match prefer {
        None | Some(Preference::Context) => "the largest context",
        Some(Preference::Speed) => "the fastest",
        Some(Preference::Quality) => "the nearest to f16",
    };
    let best = good
        .max_by(|one, two| score(one.1).total_cmp(&score(two.1)).then(one.1.server.context.cmp(&two.1.server.context)));
    match best {
        Some((index, run)) => {
            let quality = match &run.measured.quality {
                Some(quality) => quality.verdict.as_str(),
                None if run.cache_name() == "f16" => "f16 itself",
                None => "not compared",
            };
            let context = grouped(u64::from(run.server.context));
            let name = &run.config;
            (Some(index), format!("{name}, with {context} tokens: {what} of those whose quality holds ({quality})"))
        }
        None => (None, "none keeps its promise and f16's quality".to_owned()),
    }
}

/// Whether its answers may stand for f16's.
fn is_good(run: &BenchRun) -> bool {
    let quality = run.measured.quality.as_ref();
    quality.is_none_or(|quality| quality.agreement >= 0.96 && quality.needle_found != Some(false))
}
