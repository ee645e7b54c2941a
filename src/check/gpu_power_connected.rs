//! Asks whether this holds: the card's power cables are connected.

use super::{Check, Context, Finding, Group, Needs, Remedy};

pub(super) struct GpuPowerConnected;

impl Check for GpuPowerConnected {
    fn id(&self) -> &'static str {
        "gpu-power-connected"
    }
    fn title(&self) -> &'static str {
        "The card's power cables are connected"
    }
    fn explanation(&self) -> &'static str {
        "NVML answers 8 when the card's own power plugs are not connected, or not all of them. The driver refuses \
         to run the card."
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
        let code =
            |code: u32| driver.nvml_code == Some(code) || driver.unreadable.iter().any(|gpu| gpu.code == Some(code));
        let said = context
            .facts
            .kernel_driver
            .messages
            .value()
            .and_then(|lines| lines.iter().find(|line| line.contains("power cables")));
        match said {
            Some(line) => vec![
                self.fail("The card's power cables are not connected")
                    .seen(line.clone(), "kernel log")
                    .remedy(Remedy::advice("Switch the machine off and connect every power plug of the card")),
            ],
            None if code(8) => vec![
                self.fail("The card's power cables are not connected")
                    .seen("NVML 8", "NVML")
                    .remedy(Remedy::advice("Switch the machine off and connect every power plug of the card")),
            ],
            None if driver.nvml.value().is_none() => vec![self.skip("NVML does not answer")],
            None => vec![self.pass("no card complains")],
        }
    }
}
