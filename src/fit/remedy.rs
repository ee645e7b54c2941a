//! What would fit when nothing does: one change at a time, cheapest first, each searched and not guessed.

use super::Model;
use super::plan::{PlanOption, PlanRemedy};
use super::planner::{Question, SHORT, side_by_side};
use super::search::{Asked, Found, Search, Wish};
use super::settings::CacheType;
use crate::manifest::models;
use crate::units::{Bytes, grouped};

type Types = (CacheType, CacheType);

/// Below this many tokens a shorter context is no remedy.
const SHORTEST_USEFUL: u32 = 2048;

pub(crate) fn what_would_fit(question: &Question<'_>, options: &[PlanOption]) -> Vec<PlanRemedy> {
    let Some(nearest) = options.iter().max_by_key(|option| option.headroom_bytes.values().min().copied()) else {
        return Vec::new();
    };
    let Some(server) = nearest.servers.first() else { return Vec::new() };
    let types = (server.cache_type_k, server.cache_type_v);
    // What fits only with a context too short to be of use is no remedy.
    let useful = |wish: &Wish<'_>| wish.min_context.max((SHORT as u32).min(wish.server.model.train_context));
    let wishes: Vec<Wish<'_>> = question.models.iter().map(|model| model.wish.clone()).collect();
    let wishes = wishes.into_iter().map(|wish| Wish { min_context: useful(&wish), ..wish }).collect();
    let attempt = Attempt { question, wishes, types };
    side_by_side(&Attempt::CHANGES, |change| change(&attempt)).into_iter().flatten().collect()
}

struct Attempt<'a> {
    question: &'a Question<'a>,
    wishes: Vec<Wish<'a>>,
    types: Types,
}

impl<'a> Attempt<'a> {
    /// What may be changed, cheapest first.
    const CHANGES: [fn(&Self) -> Option<PlanRemedy>; 7] = [
        Self::smaller_batch,
        Self::fewer_slots,
        Self::coarser_cache,
        Self::shorter_context,
        Self::experts_in_host_memory,
        Self::smaller_quantization,
        Self::fewer_layers,
    ];

    /// What is found after a change, if it fits.
    fn search(&self, types: Types, change: impl Fn(&mut Wish<'a>)) -> Option<Found> {
        self.search_up_to(types, false, change)
    }

    fn search_up_to(&self, types: Types, beyond_training: bool, change: impl Fn(&mut Wish<'a>)) -> Option<Found> {
        let mut wishes = self.wishes.clone();
        wishes.iter_mut().for_each(change);
        let wishes: Vec<&Wish<'_>> = wishes.iter().collect();
        let budgets = self.question.budgets();
        let build = self.question.build;
        let search = Search::new(&wishes, &budgets, build).ok()?;
        search.largest(Asked { types, beyond_training }).ok().filter(|found| found.fits)
    }

    fn any(&self, test: impl Fn(&Wish<'a>) -> bool) -> bool {
        self.wishes.iter().any(test)
    }

    fn smaller_batch(&self) -> Option<PlanRemedy> {
        if !self.any(|wish| wish.server.settings.ubatch > 256) {
            return None;
        }
        let found =
            self.search(self.types, |wish| wish.server.settings.ubatch = wish.server.settings.ubatch.min(256))?;
        Some(remedy("process prompts in steps of 256 tokens, a little slower".to_owned(), &["-ub", "256"], &found))
    }

    fn fewer_slots(&self) -> Option<PlanRemedy> {
        if !self.any(|wish| wish.server.settings.parallel > 1) {
            return None;
        }
        let found = self.search(self.types, |wish| wish.server.settings.parallel = 1)?;
        Some(remedy("answer one request at a time".to_owned(), &["-np", "1"], &found))
    }

    fn coarser_cache(&self) -> Option<PlanRemedy> {
        let coarser = [CacheType::Q8_0, CacheType::Q4_0].into_iter().filter(|kind| {
            let bits = |kind: CacheType| kind.block().1 * 32 / kind.block().0;
            bits(*kind) < bits(self.types.0).max(bits(self.types.1))
        });
        let (kind, found) = coarser.into_iter().find_map(|kind| Some((kind, self.search((kind, kind), |_| {})?)))?;
        let harm = super::choice::harm(kind);
        Some(remedy(format!("keep the cache in {kind}: {harm}"), &["-ctk", kind.name(), "-ctv", kind.name()], &found))
    }

    fn shorter_context(&self) -> Option<PlanRemedy> {
        if !self.any(|wish| wish.context.is_some()) {
            return None;
        }
        // Who asks for more than the training context is not kept below it by a remedy.
        let beyond = self.any(|wish| wish.context.is_some_and(|context| context > wish.server.model.train_context));
        let found = self.search_up_to(self.types, beyond, |wish| {
            wish.context = None;
            wish.min_context = SHORTEST_USEFUL;
        })?;
        let contexts: Vec<u32> = found.servers.iter().map(|server| server.need.settings.context).collect();
        if contexts.iter().any(|context| *context < SHORTEST_USEFUL) {
            return None;
        }
        let shown: Vec<String> = contexts.iter().map(|context| grouped(u64::from(*context))).collect();
        let typed: Vec<String> = contexts.iter().map(ToString::to_string).collect();
        Some(remedy(format!("take a context of {}", shown.join(" and ")), &["-c", &typed.join(",")], &found))
    }

    fn experts_in_host_memory(&self) -> Option<PlanRemedy> {
        let has_experts = |wish: &Wish<'_>| wish.server.model.whole("expert_count").is_some_and(|count| count > 0);
        if !self.any(|wish| has_experts(wish) && !wish.choose_cpu_moe) {
            return None;
        }
        let found = self.search(self.types, |wish| wish.choose_cpu_moe = true)?;
        let count = found.servers.iter().map(|server| server.need.settings.cpu_moe_layers).max()?;
        let words = ["-ncmoe", &count.to_string()];
        Some(remedy(format!("keep the experts of {count} layers in host memory, slower"), &words, &found))
    }

    /// Only where the repository's other files are known: names of the catalogue.
    fn smaller_quantization(&self) -> Option<PlanRemedy> {
        let [planned] = &self.question.models[..] else { return None };
        let name = planned.shown.source.split(':').next().unwrap_or_default();
        let entry = models::by_name(name)?;
        let known = entry.quantizations();
        let now = known.iter().position(|one| *one == planned.shown.quantization)?;
        known[now + 1..].iter().find_map(|quantization| {
            let file = models::file(name, Some(quantization)).ok()?;
            let model = Model::new(&file.model).ok()?;
            let mut wish = self.wishes.first()?.clone();
            wish.server.model = &model;
            let wishes = [&wish];
            let budgets = self.question.budgets();
            let build = self.question.build;
            let search = Search::new(&wishes, &budgets, build).ok()?;
            let asked = Asked { types: self.types, beyond_training: false };
            let found = search.largest(asked).ok().filter(|found| found.fits)?;
            let size = Bytes(file.model.file_bytes());
            let what = format!("take {}:{quantization}, a file of {size}", entry.name);
            Some(remedy(what, &[&format!("{}:{quantization}", entry.name)], &found))
        })
    }

    fn fewer_layers(&self) -> Option<PlanRemedy> {
        if !self.any(|wish| !wish.choose_layers) {
            return None;
        }
        let found = self.search(self.types, |wish| wish.choose_layers = true)?;
        let first = found.servers.first()?;
        let (count, all) = (first.need.prediction.gpu_layers, first.need.prediction.layers.len() + 1);
        let what = format!("keep {count} of {all} layers on the GPU, much slower");
        Some(remedy(what, &["-ngl", &count.to_string()], &found))
    }
}

fn remedy(what: String, arguments: &[&str], found: &Found) -> PlanRemedy {
    let contexts = found.servers.iter().map(|server| server.need.settings.context).collect();
    let left = found.headroom.iter().copied().min().unwrap_or(0).max(0) as u64;
    let arguments = arguments.iter().map(|word| (*word).to_owned()).collect();
    PlanRemedy { what, arguments, contexts, headroom_bytes: Bytes(left) }
}
