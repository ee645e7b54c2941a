//! Asks whether this holds: no memory cells wait to be retired.

use super::{Check, Context, Finding, Group, Needs, Remedy};
use crate::host::facts::Gpu;

pub(super) struct GpuMemorySound;

impl Check for GpuMemorySound {
    fn id(&self) -> &'static str {
        "gpu-memory-sound"
    }
    fn title(&self) -> &'static str {
        "No memory cells wait to be retired"
    }
    fn explanation(&self) -> &'static str {
        "Data-centre cards retire memory that fails and remap it at the next reset. While that is pending, \
         programs can die with memory errors. If it comes again after a reset, the card is a case for its \
         warranty."
    }
    fn group(&self) -> Group {
        Group::Hardware
    }
    fn needs(&self) -> Needs {
        Needs::Driver
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        let known: Vec<&Gpu> =
            context.facts.gpus.iter().filter(|gpu| gpu.retirement_pending.value().is_some()).collect();
        if known.is_empty() {
            return vec![self.skip("this card keeps no such list")];
        }
        match known.iter().find(|gpu| gpu.retirement_pending.value() == Some(&true)) {
            None => vec![self.pass("none")],
            Some(gpu) => vec![
                self.warn(format!("Memory of {} waits to be retired", gpu.id))
                    .remedy(Remedy::command("Reset the card when nothing uses it, or restart", "sudo nvidia-smi -r")),
            ],
        }
    }
}
