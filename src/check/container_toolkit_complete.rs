//! Asks whether this holds: what Docker is told to use is installed.

use super::{Check, Context, Finding, Group, Needs, Remedy, remedy};

pub(super) struct ContainerToolkitComplete;

impl Check for ContainerToolkitComplete {
    fn id(&self) -> &'static str {
        "container-toolkit-complete"
    }
    fn title(&self) -> &'static str {
        "What Docker is told to use is installed"
    }
    fn explanation(&self) -> &'static str {
        "Docker gives GPUs to containers through NVIDIA's container toolkit. When `daemon.json` names its runtime \
         and the toolkit is gone, no container with `--gpus` starts."
    }
    fn group(&self) -> Group {
        Group::Containers
    }
    fn needs(&self) -> Needs {
        Needs::Driver
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        let Some(tools) = context.facts.container.tools.as_ref().filter(|tools| tools.docker) else {
            return vec![self.skip("no Docker here")];
        };
        if tools.docker_runtime.value() == Some(&true) && !tools.toolkit {
            return vec![
                self.warn("Docker is set to NVIDIA's runtime, and the container toolkit is not installed")
                    .seen("nvidia-container-runtime", "/etc/docker/daemon.json")
                    .remedy(remedy::package(
                        *context,
                        "Install it (from NVIDIA's repository)",
                        ["nvidia-container-toolkit"; 5],
                    ))
                    .remedy(Remedy::command(
                        "Then",
                        "sudo nvidia-ctk runtime configure --runtime=docker && sudo systemctl restart docker",
                    )),
            ];
        }
        vec![self.pass(if tools.toolkit {
            "the container toolkit is installed"
        } else {
            "Docker is not set to use GPUs"
        })]
    }
}
