//! Asks whether this holds: the GPU is new enough for llama.cpp's CUDA code.

use super::{Check, Context, Finding, Group, Needs, Remedy};
use crate::host::facts::Gpu;
use crate::units::ComputeCapability;

pub(super) struct GpuNewEnough;

impl Check for GpuNewEnough {
    fn id(&self) -> &'static str {
        "gpu-new-enough"
    }
    fn title(&self) -> &'static str {
        "The GPU is new enough for llama.cpp's CUDA code"
    }
    fn explanation(&self) -> &'static str {
        "Official builds carry code for compute capability 5.0 (GTX 750, GTX 900) and newer; Kepler and older \
         cards have no CUDA code in them, and their last driver ends at CUDA 11.4."
    }
    fn group(&self) -> Group {
        Group::Hardware
    }
    fn needs(&self) -> Needs {
        Needs::Driver
    }
    fn breaks_driver(&self) -> bool {
        true
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        let capabilities: Vec<(&Gpu, ComputeCapability)> =
            context.visible_gpus().filter_map(|gpu| Some((gpu, gpu.compute_capability?))).collect();
        let Some((gpu, newest)) = capabilities.iter().max_by_key(|(_, capability)| *capability) else {
            return vec![self.skip("no GPU's compute capability is known")];
        };
        if newest.major >= 5 {
            return vec![self.pass(format!("compute {newest}"))];
        }
        vec![
            self.fail(format!(
                "{} has compute capability {newest}, and llama.cpp's CUDA builds begin at 5.0",
                gpu.name
            ))
            .remedy(Remedy::command("Use a Vulkan build", "llama-doctor install --backend vulkan")),
        ]
    }
}
