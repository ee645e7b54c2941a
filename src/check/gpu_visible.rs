//! Asks whether this holds: no variable hides the GPU.

use super::{Check, Context, Finding, Group, Needs, remedy};

pub(super) struct GpuVisible;

impl Check for GpuVisible {
    fn id(&self) -> &'static str {
        "gpu-visible"
    }
    fn title(&self) -> &'static str {
        "No variable hides the GPU"
    }
    fn explanation(&self) -> &'static str {
        "`CUDA_VISIBLE_DEVICES` picks the cards that CUDA programs see. An empty value or `-1` hides all; the \
         first entry that names no card ends the list. Other programs and old scripts leave it set, and llama.cpp \
         then runs on the processor without a word."
    }
    fn group(&self) -> Group {
        Group::Environment
    }
    fn needs(&self) -> Needs {
        Needs::Card
    }
    fn breaks_driver(&self) -> bool {
        true
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        let Some(value) = context.variable("CUDA_VISIBLE_DEVICES") else {
            return vec![self.pass("CUDA_VISIBLE_DEVICES is not set")];
        };
        let hidden = context.facts.gpus.iter().filter(|gpu| !gpu.visible).count();
        if context.facts.gpus.is_empty() {
            return vec![self.skip("no GPU was read")];
        }
        let shown = if value.is_empty() { "(empty)" } else { value };
        if context.visible_gpus().next().is_none() {
            return vec![
                self.fail("CUDA_VISIBLE_DEVICES hides every GPU")
                    .seen(format!("CUDA_VISIBLE_DEVICES={shown}"), "environment")
                    .remedy(remedy::unset(*context, "CUDA_VISIBLE_DEVICES")),
            ];
        }
        let named = value.split(',').filter(|entry| !entry.trim().is_empty()).count();
        let visible = context.visible_gpus().count();
        if named > visible {
            return vec![
                self.warn(format!(
                    "CUDA_VISIBLE_DEVICES names {named} GPUs, and CUDA will see {visible}: an entry names no card"
                ))
                .seen(format!("CUDA_VISIBLE_DEVICES={shown}"), "environment")
                .remedy(remedy::unset(*context, "CUDA_VISIBLE_DEVICES")),
            ];
        }
        vec![self.pass(format!("CUDA_VISIBLE_DEVICES={shown} shows {visible} and hides {hidden}"))]
    }
}
