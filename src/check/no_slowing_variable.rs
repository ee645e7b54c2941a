//! Asks whether this holds: no variable slows CUDA down.

use super::{Check, Context, Finding, Group, Needs, remedy};

pub(super) struct NoSlowingVariable;

impl Check for NoSlowingVariable {
    fn id(&self) -> &'static str {
        "no-slowing-variable"
    }
    fn title(&self) -> &'static str {
        "No variable slows CUDA down"
    }
    fn explanation(&self) -> &'static str {
        "Variables for bug hunting cost speed: `CUDA_LAUNCH_BLOCKING=1` waits after every kernel, \
         `GGML_CUDA_DISABLE_GRAPHS` and `GGML_CUDA_DISABLE_FUSION` switch optimisations off, \
         `GGML_CUDA_NO_PINNED` slows copies, `CUDA_DEVICE_MAX_CONNECTIONS` and `GGML_CUDA_FORCE_*` change the \
         kernels that are chosen."
    }
    fn group(&self) -> Group {
        Group::Environment
    }
    fn needs(&self) -> Needs {
        Needs::Driver
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        let names =
            ["CUDA_LAUNCH_BLOCKING", "GGML_CUDA_DISABLE_GRAPHS", "GGML_CUDA_DISABLE_FUSION", "GGML_CUDA_NO_PINNED"];
        let active =
            |name: &&str| context.variable(name).is_some_and(|value| *name != "CUDA_LAUNCH_BLOCKING" || value == "1");
        let Some(name) = names.into_iter().find(|name| active(name)) else { return vec![self.pass("none is set")] };
        vec![
            self.warn(format!("{name} is set: CUDA runs slower than it could"))
                .seen(format!("{name}={}", context.variable(name).unwrap_or_default()), "environment")
                .remedy(remedy::unset(*context, name)),
        ]
    }
}
