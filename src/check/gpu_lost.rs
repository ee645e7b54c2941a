//! Asks whether this holds: no card has fallen off the bus.

use super::{Check, Context, Finding, Group, Needs, Remedy, remedy};

pub(super) struct GpuLost;

const IDLE: &str = "If it happens when the card idles, switch the bus' power saving off";

impl Check for GpuLost {
    fn id(&self) -> &'static str {
        "gpu-lost"
    }
    fn title(&self) -> &'static str {
        "No card has fallen off the bus"
    }
    fn explanation(&self) -> &'static str {
        "NVML answers 15, the kernel log Xid 79: the card stopped answering. Causes are power (a weak supply, a \
         loose plug), a riser or slot, heat, or the bus' power saving. A restart brings it back; if it happens \
         again, look at the causes in this order."
    }
    fn group(&self) -> Group {
        Group::Driver
    }
    fn needs(&self) -> Needs {
        Needs::Card
    }
    fn breaks_driver(&self) -> bool {
        true
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        let driver = &context.facts.driver;
        let lost = driver.unreadable.iter().find(|gpu| gpu.code == Some(15));
        let said = context.facts.kernel_driver.messages.value().and_then(|lines| {
            lines
                .iter()
                .find(|line| line.contains("fallen off the bus") || line.contains("Xid") && line.contains(": 79,"))
        });
        if driver.nvml_code != Some(15) && lost.is_none() {
            return vec![match said.filter(|_| context.facts.gpus.is_empty()) {
                Some(line) => self.fail("A card has fallen off the bus").seen(line.clone(), "kernel log"),
                None if driver.nvml.value().is_none() => self.skip("NVML does not answer"),
                None => self.pass("every card answers"),
            }];
        }
        let which = lost.map_or_else(String::new, |gpu| format!(" (number {})", gpu.index));
        let mut finding = self.fail(format!("A card is lost: it has fallen off the bus{which}"));
        if let Some(line) = said {
            finding = finding.seen(line.clone(), "kernel log");
        }
        vec![
            finding
                .remedy(Remedy::advice(
                    "Restart the machine; if it comes again, check the card's power plugs, its slot or riser, and heat",
                ))
                .remedy(if context.on_windows() {
                    Remedy::command(
                        IDLE,
                        "powercfg /setacvalueindex SCHEME_CURRENT SUB_PCIEXPRESS ASPM 0; powercfg /setactive SCHEME_CURRENT",
                    )
                } else {
                    remedy::kernel_option(*context, IDLE, "pcie_aspm=off")
                }),
        ]
    }
}
