//! Asks whether this holds: no card is slowed down by its power supply.

use super::{Check, Context, Finding, Group, Needs, Remedy};
use crate::host::facts::Gpu;

pub(super) struct NotThrottledByPower;

impl Check for NotThrottledByPower {
    fn id(&self) -> &'static str {
        "not-throttled-by-power"
    }
    fn title(&self) -> &'static str {
        "No card is slowed down by its power supply"
    }
    fn explanation(&self) -> &'static str {
        "Bit 0x80 of NVML's clock events is the power brake: the supply or the board tells the card to slow down. \
         Bit 0x4, the card's own power limit, is normal under load and not reported."
    }
    fn group(&self) -> Group {
        Group::Performance
    }
    fn needs(&self) -> Needs {
        Needs::Driver
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        let known: Vec<(&Gpu, u64)> =
            context.visible_gpus().filter_map(|gpu| Some((gpu, *gpu.throttle_bits.value()?))).collect();
        if known.is_empty() {
            return vec![self.skip("the driver does not say")];
        }
        let Some((gpu, bits)) = known.iter().find(|(_, bits)| bits & 0x80 != 0) else {
            return vec![self.pass("none is")];
        };
        vec![
            self.warn(format!("{} is slowed down: the power supply tells it to", gpu.id))
                .seen(format!("clock event bits {bits:#x}"), "NVML")
                .remedy(Remedy::advice("Check the card's power plugs and whether the supply is strong enough")),
        ]
    }
}
