//! Asks whether this holds: llama.cpp counts the real GPUs.

use super::{Check, Context, Finding, Group, Needs, remedy};

pub(super) struct NoVirtualDevices;

impl Check for NoVirtualDevices {
    fn id(&self) -> &'static str {
        "no-virtual-devices"
    }
    fn title(&self) -> &'static str {
        "llama.cpp counts the real GPUs"
    }
    fn explanation(&self) -> &'static str {
        "`GGML_CUDA_DEVICES` makes llama.cpp show a number of virtual devices for tests. With it, device names \
         and memory no longer mean the real cards."
    }
    fn group(&self) -> Group {
        Group::Environment
    }
    fn needs(&self) -> Needs {
        Needs::Driver
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        match context.variable("GGML_CUDA_DEVICES") {
            None => vec![self.pass("GGML_CUDA_DEVICES is not set")],
            Some(value) => vec![
                self.warn("GGML_CUDA_DEVICES makes llama.cpp show virtual GPUs")
                    .seen(format!("GGML_CUDA_DEVICES={value}"), "environment")
                    .remedy(remedy::unset(*context, "GGML_CUDA_DEVICES")),
            ],
        }
    }
}
