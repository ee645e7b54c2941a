//! Asks whether this holds: the card has its PCI Express lanes.

use super::{Check, Context, Finding, Group, Needs, Remedy};
use crate::host::facts::{Gpu, PcieLink};

pub(super) struct PcieLanesFull;

impl Check for PcieLanesFull {
    fn id(&self) -> &'static str {
        "pcie-lanes-full"
    }
    fn title(&self) -> &'static str {
        "The card has its PCIe lanes"
    }
    fn explanation(&self) -> &'static str {
        "A card in a slot or riser with one lane loads models slowly and suffers when layers stay on the \
         processor or several cards work together. The number of lanes is a fact of the slot and may be read at \
         any time; the speed of an idle link is lowered on purpose and says nothing."
    }
    fn group(&self) -> Group {
        Group::Performance
    }
    fn needs(&self) -> Needs {
        Needs::Driver
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        let known: Vec<(&Gpu, PcieLink)> =
            context.visible_gpus().filter_map(|gpu| Some((gpu, *gpu.pcie.value()?))).collect();
        if known.is_empty() {
            return vec![self.skip("the driver does not say")];
        }
        let narrow = known.iter().find(|(_, link)| link.width > 0 && link.width < 4 && link.max_width >= 8);
        let Some((gpu, link)) = narrow else {
            let lanes: Vec<String> = known.iter().map(|(_, link)| format!("x{}", link.width)).collect();
            return vec![self.pass(lanes.join(", "))];
        };
        vec![
            self.warn(format!("{} has {} of its {} PCIe lanes", gpu.id, link.width, link.max_width))
                .seen(format!("width {} of {}", link.width, link.max_width), "NVML")
                .remedy(Remedy::advice("Move it to a wider slot, or check the riser and the board's lane settings")),
        ]
    }
}
