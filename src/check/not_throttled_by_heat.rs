//! Asks whether this holds: no card is slowed down by heat.

use super::{Check, Context, Finding, Group, Needs, Remedy};
use crate::host::facts::Gpu;

pub(super) struct NotThrottledByHeat;

impl Check for NotThrottledByHeat {
    fn id(&self) -> &'static str {
        "not-throttled-by-heat"
    }
    fn title(&self) -> &'static str {
        "No card is slowed down by heat"
    }
    fn explanation(&self) -> &'static str {
        "A card that gets too hot lowers its clock to half or less. NVML says so while it happens: bits 0x20 and \
         0x40 are heat, 0x8 is the card's own emergency brake. Dust, a stuck fan, or a case without air are the \
         usual causes."
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
        let Some((gpu, bits)) = known.iter().find(|(_, bits)| bits & 0x60 != 0) else {
            return vec![self.pass("none is")];
        };
        let degrees = gpu.temperature_celsius.value().map_or_else(String::new, |degrees| format!(" at {degrees} C"));
        vec![
            self.warn(format!("{} is slowed down by heat{degrees}", gpu.id))
                .seen(format!("clock event bits {bits:#x}"), "NVML")
                .remedy(Remedy::advice("Clean its fans, give the case air, or lower the power limit")),
        ]
    }
}
