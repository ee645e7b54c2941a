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
         processor."
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
        let has_compute = value.split(',').any(|word| matches!(word.trim(), "all" | "compute"));
        if has_compute || context.facts.user_driver.libcuda.value().is_some() {
            return vec![self.pass(value)];
        }
        vec![
            self.fail("The container was given the driver's tools without CUDA")
                .seen(format!("NVIDIA_DRIVER_CAPABILITIES={value}"), "environment")
                .remedy(Remedy::command(
                    "Start it with",
                    "docker run --gpus all -e NVIDIA_DRIVER_CAPABILITIES=compute,utility …",
                )),
        ]
    }
}
