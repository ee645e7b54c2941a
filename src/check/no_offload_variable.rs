//! Asks whether this holds: no variable keeps the model off the GPU.

use super::{Check, Context, Finding, Group, remedy};

pub(super) struct NoOffloadVariable;

impl Check for NoOffloadVariable {
    fn id(&self) -> &'static str {
        "no-offload-variable"
    }
    fn title(&self) -> &'static str {
        "No variable keeps the model off the GPU"
    }
    fn explanation(&self) -> &'static str {
        "llama.cpp reads every flag from a variable too. `LLAMA_ARG_N_GPU_LAYERS=0` or `LLAMA_ARG_DEVICE=none`, \
         left over from a test, keep the whole model on the processor wherever the command line does not say \
         otherwise."
    }
    fn group(&self) -> Group {
        Group::Environment
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        let zero = context
            .variable("LLAMA_ARG_N_GPU_LAYERS")
            .filter(|value| value.trim() == "0")
            .map(|value| ("LLAMA_ARG_N_GPU_LAYERS", value));
        let none = context
            .variable("LLAMA_ARG_DEVICE")
            .filter(|value| value.trim() == "none")
            .map(|value| ("LLAMA_ARG_DEVICE", value));
        let Some((name, value)) = zero.or(none) else {
            return vec![self.pass("neither LLAMA_ARG_N_GPU_LAYERS nor LLAMA_ARG_DEVICE does")];
        };
        vec![
            self.warn(format!("{name} keeps models off the GPU"))
                .seen(format!("{name}={value}"), "environment")
                .remedy(remedy::unset(*context, name)),
        ]
    }
}
