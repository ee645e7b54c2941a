//! Asks whether this holds: the machine is not on battery.

use super::{Check, Context, Finding, Group, Needs, Remedy};

pub(super) struct OnMainsPower;

impl Check for OnMainsPower {
    fn id(&self) -> &'static str {
        "on-mains-power"
    }
    fn title(&self) -> &'static str {
        "The machine is not on battery"
    }
    fn explanation(&self) -> &'static str {
        "On battery a laptop's firmware lowers the card's power to a fraction. A plan made then measures the \
         battery, not the machine. The battery's state is read from the system without asking the card."
    }
    fn group(&self) -> Group {
        Group::Performance
    }
    fn needs(&self) -> Needs {
        Needs::Driver
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        match context.facts.host.on_battery.value() {
            None => vec![self.skip("the machine has no battery, or does not say")],
            Some(false) => vec![self.pass("on mains power")],
            Some(true) => vec![
                self.warn("The machine runs on battery: its firmware slows the card down")
                    .remedy(Remedy::advice("Plug it in before you measure")),
            ],
        }
    }
}
