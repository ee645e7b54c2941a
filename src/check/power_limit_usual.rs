//! Asks whether this holds: the card's power limit is near its maker's.

use super::{Check, Context, Finding, Group, Needs, Remedy};
use crate::host::facts::Gpu;

pub(super) struct PowerLimitUsual;

impl Check for PowerLimitUsual {
    fn id(&self) -> &'static str {
        "power-limit-usual"
    }
    fn title(&self) -> &'static str {
        "The card's power limit is near its maker's"
    }
    fn explanation(&self) -> &'static str {
        "A power limit below six tenths of the maker's costs speed in reading prompts; generation, bound by \
         memory, suffers less. Owners set it on purpose for noise or heat; a laptop's firmware sets it on \
         battery."
    }
    fn group(&self) -> Group {
        Group::Performance
    }
    fn needs(&self) -> Needs {
        Needs::Driver
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        let known: Vec<(&Gpu, u32, u32)> = context
            .visible_gpus()
            .filter_map(|gpu| Some((gpu, *gpu.power_limit_watts.value()?, *gpu.power_limit_default_watts.value()?)))
            .collect();
        if known.is_empty() {
            return vec![self.skip("the driver does not say")];
        }
        let low = known.iter().find(|(_, now, usual)| *usual > 0 && *now < usual * 6 / 10);
        let Some((gpu, now, usual)) = low else { return vec![self.pass("as made")] };
        vec![self.warn(format!("{} may draw {now} W of its usual {usual} W", gpu.id)).remedy(Remedy::command(
            "Set it back",
            format!("sudo nvidia-smi -i {} -pl {usual}", gpu.id.trim_start_matches("CUDA")),
        ))]
    }
}
