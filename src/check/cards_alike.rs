//! Asks whether this holds: several cards are of like speed.

use super::{Check, Context, Finding, Group, Needs, Remedy};
use crate::host::facts::Gpu;

pub(super) struct CardsAlike;

impl Check for CardsAlike {
    fn id(&self) -> &'static str {
        "cards-alike"
    }
    fn title(&self) -> &'static str {
        "Several cards are of like speed"
    }
    fn explanation(&self) -> &'static str {
        "llama.cpp splits a model over all visible cards by free memory. The slowest card sets the pace of its \
         layers: one much slower card can cost more than its memory brings. Compared by memory bandwidth, where \
         the driver tells it."
    }
    fn group(&self) -> Group {
        Group::Performance
    }
    fn needs(&self) -> Needs {
        Needs::Driver
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        let known: Vec<(&Gpu, u64)> =
            context.visible_gpus().filter_map(|gpu| Some((gpu, *gpu.memory_bandwidth.value()?))).collect();
        if context.visible_gpus().count() < 2 || known.len() < 2 {
            return vec![self.skip("one card, or their speed is not known")];
        }
        let (Some(fastest), Some(slowest)) =
            (known.iter().max_by_key(|(_, speed)| *speed), known.iter().min_by_key(|(_, speed)| *speed))
        else {
            return vec![self.skip("their speed is not known")];
        };
        if slowest.1.saturating_mul(3) >= fastest.1 {
            return vec![self.pass("no card is three times slower than another")];
        }
        vec![
            self.warn(format!("{} is more than three times slower than {}", slowest.0.id, fastest.0.id))
                .seen(
                    format!("{:.0} and {:.0} GB/s", slowest.1 as f64 / 1e9, fastest.1 as f64 / 1e9),
                    "memory bandwidth",
                )
                .remedy(Remedy::command(
                    "Use the fast one alone, when the model fits it",
                    format!("llama-server --device {} ...", fastest.0.id),
                )),
        ]
    }
}
