//! Asks whether this holds: unsafe copies between GPUs are off.

use super::{Check, Context, Finding, Group, Needs, remedy};

pub(super) struct NoPeerCopies;

impl Check for NoPeerCopies {
    fn id(&self) -> &'static str {
        "no-peer-copies"
    }
    fn title(&self) -> &'static str {
        "Unsafe copies between GPUs are off"
    }
    fn explanation(&self) -> &'static str {
        "`GGML_CUDA_P2P` lets GPUs copy to each other directly. On desktop boards with an IOMMU such copies can \
         arrive corrupted: the model then writes nonsense. llama.cpp leaves it off for that reason."
    }
    fn group(&self) -> Group {
        Group::Environment
    }
    fn needs(&self) -> Needs {
        Needs::Driver
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        match context.variable("GGML_CUDA_P2P") {
            None => vec![self.pass("GGML_CUDA_P2P is not set")],
            Some(_) if context.visible_gpus().count() < 2 => vec![self.pass("one GPU copies to nobody")],
            Some(value) => vec![
                self.warn("GGML_CUDA_P2P lets GPUs copy to each other, which some boards corrupt")
                    .seen(format!("GGML_CUDA_P2P={value}"), "environment")
                    .remedy(remedy::unset(*context, "GGML_CUDA_P2P")),
            ],
        }
    }
}
