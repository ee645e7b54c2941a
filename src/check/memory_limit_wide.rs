//! Asks whether this holds: the container may use enough memory.

use super::{Check, Context, Finding, Group, Remedy};

pub(super) struct MemoryLimitWide;

impl Check for MemoryLimitWide {
    fn id(&self) -> &'static str {
        "memory-limit-wide"
    }
    fn title(&self) -> &'static str {
        "The container may use enough memory"
    }
    fn explanation(&self) -> &'static str {
        "A control group can limit memory far below what the machine has. llama.cpp sees the machine's RAM, maps \
         the whole model and is ended by the kernel (exit 137) when it touches more than the limit."
    }
    fn group(&self) -> Group {
        Group::Memory
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        let Some(limit) = context.facts.host.cgroup_memory_limit.value() else {
            return vec![self.skip("no control group limits it")];
        };
        if limit.gib() >= 6.0 {
            return vec![self.pass(format!("{limit} allowed"))];
        }
        vec![
            self.warn(format!("Only {limit} of memory may be used here"))
                .seen("memory.max", "/sys/fs/cgroup")
                .remedy(Remedy::command("Start the container with more", "docker run --memory 16g ...")),
        ]
    }
}
