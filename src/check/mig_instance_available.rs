//! Asks whether this holds: a card split by MIG has an instance to use.

use super::{Check, Context, Finding, Group, Needs, Remedy};
use crate::host::facts::Gpu;

pub(super) struct MigInstanceAvailable;

impl Check for MigInstanceAvailable {
    fn id(&self) -> &'static str {
        "mig-instance-available"
    }
    fn title(&self) -> &'static str {
        "A card split by MIG has an instance to use"
    }
    fn explanation(&self) -> &'static str {
        "With MIG on, the card itself takes no programs, only its instances do; without instances CUDA finds no \
         device. A process sees one instance, with that instance's memory."
    }
    fn group(&self) -> Group {
        Group::Driver
    }
    fn needs(&self) -> Needs {
        Needs::Driver
    }
    fn breaks_driver(&self) -> bool {
        true
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        let split: Vec<&Gpu> = context.facts.gpus.iter().filter(|gpu| gpu.mig_enabled.value() == Some(&true)).collect();
        let Some(first) = split.first() else { return vec![self.skip("no card is split by MIG")] };
        if let Some(instance) = split.iter().find(|gpu| gpu.visible) {
            return vec![self.pass(format!("{}: {}, {}", instance.id, instance.name, instance.total))];
        }
        if context.visible_gpus().next().is_some() {
            return vec![self.pass("another card is visible")];
        }
        vec![
            self.fail(format!("{} is split by MIG and offers no instance", first.name))
                .remedy(Remedy::command("Create one instance over the whole card", "sudo nvidia-smi mig -cgi 0 -C"))
                .remedy(Remedy::command("Or switch MIG off", "sudo nvidia-smi -mig 0")),
        ]
    }
}
