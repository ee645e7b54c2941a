//! Asks whether this holds: the machine has RAM left.

use super::{Check, Context, Finding, Group, Remedy};

pub(super) struct RamAvailable;

impl Check for RamAvailable {
    fn id(&self) -> &'static str {
        "ram-available"
    }
    fn title(&self) -> &'static str {
        "The machine has RAM left"
    }
    fn explanation(&self) -> &'static str {
        "llama-server needs RAM besides GPU memory: about 1 GiB for itself, its prompt cache (8 GiB at most by \
         default), and whatever layers stay on the processor. A model that is read through the page cache needs \
         free RAM to load fast."
    }
    fn group(&self) -> Group {
        Group::Memory
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        let Some(available) = context.facts.host.memory_available.value() else {
            return vec![self.skip("the available memory is not known")];
        };
        if available.gib() >= 2.0 {
            return vec![self.pass(format!("{available} available"))];
        }
        vec![
            self.warn(format!("Only {available} of RAM is available"))
                .remedy(Remedy::advice("End programs that you do not need")),
        ]
    }
}
