//! Asks whether this holds: the container was given CUDA, not only the tools.

use super::{Check, Context, Finding, Group, Needs, Remedy};

pub(super) struct ContainerCapabilities;

impl Check for ContainerCapabilities {
    fn id(&self) -> &'static str {
        "container-capabilities"
    }
    fn title(&self) -> &'static str {
        "The container was given CUDA, not only the tools"
    }
    fn explanation(&self) -> &'static str {
        "`NVIDIA_DRIVER_CAPABILITIES` says which driver libraries a container gets. With `utility` alone \
         `nvidia-smi` works and `libcuda.so.1` is absent: everything looks right, and llama.cpp runs on the \
         processor. With `compute` alone CUDA works, and NVML, which tells the card's memory to `fit`, is absent."
    }
    fn group(&self) -> Group {
        Group::Containers
    }
    fn needs(&self) -> Needs {
        Needs::Card
    }
    fn breaks_driver(&self) -> bool {
        true
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        if context.container().is_none() {
            return vec![self.skip("not in a container")];
        }
        let Some(value) = context.variable("NVIDIA_DRIVER_CAPABILITIES") else {
            return vec![self.skip("NVIDIA_DRIVER_CAPABILITIES is not set")];
        };
        let has = |wanted: &str| value.split(',').any(|word| word.trim() == "all" || word.trim() == wanted);
        let seen = format!("NVIDIA_DRIVER_CAPABILITIES={value}");
        let remedy =
            Remedy::command("Start it with", "docker run --gpus all -e NVIDIA_DRIVER_CAPABILITIES=compute,utility ...");
        if !has("compute") && context.facts.user_driver.libcuda.value().is_none() {
            let finding = self.fail("The container was given the driver's tools without CUDA");
            return vec![finding.seen(seen, "environment").remedy(remedy)];
        }
        let driver = &context.facts.driver;
        if !has("utility") && driver.nvml.value().is_none() && driver.nvml_code.is_none() {
            let summary = "The container was given CUDA without the driver's tools: nobody can read the GPU's memory";
            return vec![self.warn(summary).seen(seen, "environment").remedy(remedy)];
        }
        vec![self.pass(value)]
    }
}
