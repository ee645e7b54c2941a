//! Asks whether this holds: the container was given the GPU.

use super::{Check, Context, Finding, Group, Needs, Remedy};

pub(super) struct ContainerHasGpu;

impl Check for ContainerHasGpu {
    fn id(&self) -> &'static str {
        "container-has-gpu"
    }
    fn title(&self) -> &'static str {
        "The container was given the GPU"
    }
    fn explanation(&self) -> &'static str {
        "A container sees a card on the PCI bus but may use it only when it was started with it: `--gpus all` for \
         Docker, `--device nvidia.com/gpu=all` for Podman, a device request in Compose or Kubernetes. Without it \
         there is no `/dev/nvidiactl` and no driver library, and llama.cpp runs on the processor without a word."
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
        let Some(kind) = context.container().filter(|_| context.facts.wsl.is_none()) else {
            return vec![self.skip("not in a container")];
        };
        let nodes = context.facts.kernel_driver.device_nodes.value();
        let given = nodes.is_some_and(|nodes| nodes.iter().any(|node| node.path.ends_with("nvidiactl")));
        if given || context.facts.driver.nvml.value().is_some() || context.facts.driver.nvml_code.is_some() {
            return vec![self.pass("the driver is in the container")];
        }
        let hidden = context.variable("NVIDIA_VISIBLE_DEVICES").filter(|value| matches!(*value, "void" | "none" | ""));
        let mut finding = self.fail("The machine has an NVIDIA card, and this container was started without it");
        finding = finding.seen("no /dev/nvidiactl", format!("/dev of this {kind} container"));
        if let Some(value) = hidden {
            finding = finding.seen(format!("NVIDIA_VISIBLE_DEVICES={value}"), "environment");
        }
        let remedy = match kind {
            "podman" => Remedy::command(
                "Start it with",
                "podman run --device nvidia.com/gpu=all --security-opt=label=disable ...",
            ),
            "kubernetes" => Remedy::advice(
                "Request `nvidia.com/gpu: 1` in the pod's limits; the cluster needs NVIDIA's device plugin",
            ),
            "lxc" => Remedy::advice("Pass /dev/nvidia0, /dev/nvidiactl and /dev/nvidia-uvm on to the container"),
            "apptainer" => Remedy::command("Start it with", "apptainer run --nv ..."),
            _ => Remedy::command("Start it with", "docker run --gpus all ..."),
        };
        vec![finding.remedy(remedy)]
    }
}
