//! Asks whether this holds: locking the model in memory is allowed when asked for.

use super::{Check, Context, Finding, Group, Remedy};

pub(super) struct MemlockAllowed;

impl Check for MemlockAllowed {
    fn id(&self) -> &'static str {
        "memlock-allowed"
    }
    fn title(&self) -> &'static str {
        "Locking the model in memory is allowed when asked for"
    }
    fn explanation(&self) -> &'static str {
        "`--load-mode mlock` keeps the model in RAM. The limit `ulimit -l` must be as large as the model; in \
         containers it is often 64 KiB or 8 MiB, and llama.cpp warns `failed to mlock`."
    }
    fn group(&self) -> Group {
        Group::Environment
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        let asked = context.variable("LLAMA_ARG_LOAD_MODE").is_some_and(|mode| mode.contains("mlock"));
        if !asked {
            return vec![self.skip("LLAMA_ARG_LOAD_MODE does not ask for it")];
        }
        match context.facts.container.memlock_limit.value() {
            Some(limit) if limit.gib() < 1.0 => vec![
                self.warn(format!("LLAMA_ARG_LOAD_MODE asks to lock models in memory, and the limit is {limit}"))
                    .seen("Max locked memory", "/proc/self/limits")
                    .remedy(if context.container().is_some() {
                        Remedy::command("Start the container with", "docker run --ulimit memlock=-1 ...")
                    } else {
                        Remedy::command("Raise the limit in this shell", "ulimit -l unlimited")
                    }),
            ],
            _ => vec![self.pass("the limit is wide enough")],
        }
    }
}
