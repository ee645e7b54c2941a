//! Asks whether this holds: the driver may compile GPU code.

use super::{Check, Context, Finding, Group, Needs, remedy};

pub(super) struct JitAllowed;

impl Check for JitAllowed {
    fn id(&self) -> &'static str {
        "jit-allowed"
    }
    fn title(&self) -> &'static str {
        "The driver may compile GPU code"
    }
    fn explanation(&self) -> &'static str {
        "Official builds carry finished code for some generations and PTX for the others (GTX 10, RTX 20, A100, \
         H100), which the driver compiles at the first start and keeps. `CUDA_DISABLE_PTX_JIT=1` forbids it, \
         `CUDA_FORCE_PTX_JIT=1` makes every card do it, `CUDA_CACHE_DISABLE=1` throws the result away: minutes at \
         every start."
    }
    fn group(&self) -> Group {
        Group::Environment
    }
    fn needs(&self) -> Needs {
        Needs::Driver
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        let set = |name: &str| context.variable(name).is_some_and(|value| value == "1");
        let found =
            ["CUDA_DISABLE_PTX_JIT", "CUDA_FORCE_PTX_JIT", "CUDA_CACHE_DISABLE"].into_iter().find(|name| set(name));
        let Some(name) = found else { return vec![self.pass("no variable forbids it")] };
        let what = match name {
            "CUDA_DISABLE_PTX_JIT" => "forbids the driver to compile GPU code",
            "CUDA_FORCE_PTX_JIT" => "makes the driver compile all GPU code at each start",
            _ => "throws compiled GPU code away: each start compiles it again",
        };
        vec![
            self.warn(format!("{name} {what}"))
                .seen(format!("{name}=1"), "environment")
                .remedy(remedy::unset(*context, name)),
        ]
    }
}
