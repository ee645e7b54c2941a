//! Asks whether this holds: gPU memory does not spill into RAM.

use super::{Check, Context, Finding, Group, Needs, remedy};

pub(super) struct UnifiedMemoryOff;

impl Check for UnifiedMemoryOff {
    fn id(&self) -> &'static str {
        "unified-memory-off"
    }
    fn title(&self) -> &'static str {
        "GPU memory does not spill into RAM"
    }
    fn explanation(&self) -> &'static str {
        "`GGML_CUDA_ENABLE_UNIFIED_MEMORY` lets llama.cpp allocate more than the card holds: what does not fit is \
         moved over the bus at every token, and generation slows down tenfold. It also makes llama.cpp report the \
         machine's RAM as free GPU memory, which no memory plan survives."
    }
    fn group(&self) -> Group {
        Group::Environment
    }
    fn needs(&self) -> Needs {
        Needs::Driver
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        match context.variable("GGML_CUDA_ENABLE_UNIFIED_MEMORY") {
            None => vec![self.pass("GGML_CUDA_ENABLE_UNIFIED_MEMORY is not set")],
            Some(value) => vec![
                self.warn("GGML_CUDA_ENABLE_UNIFIED_MEMORY lets GPU memory spill into RAM, slowly and unseen")
                    .seen(format!("GGML_CUDA_ENABLE_UNIFIED_MEMORY={value}"), "environment")
                    .remedy(remedy::unset(*context, "GGML_CUDA_ENABLE_UNIFIED_MEMORY")),
            ],
        }
    }
}
