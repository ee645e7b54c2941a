//! Asks whether this holds: each GPU is offered by one backend.

use super::over_builds::over_builds;
use super::{Check, Context, Finding, Group, Needs, Remedy};

pub(super) struct BackendsLoadedOnce;

impl Check for BackendsLoadedOnce {
    fn id(&self) -> &'static str {
        "backends-loaded-once"
    }
    fn title(&self) -> &'static str {
        "Each GPU is offered by one backend"
    }
    fn explanation(&self) -> &'static str {
        "A build with both CUDA and Vulkan shows the same card twice, as CUDA0 and Vulkan0. llama.cpp then splits \
         the model over `both`, at half the speed."
    }
    fn group(&self) -> Group {
        Group::Builds
    }
    fn needs(&self) -> Needs {
        Needs::Driver
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        over_builds(self, *context, |build| {
            let cuda = build.devices.iter().filter(|device| device.backend == "CUDA");
            let twice = cuda.into_iter().find(|device| {
                build.devices.iter().any(|other| {
                    other.backend != "CUDA" && other.kind != "cpu" && other.description == device.description
                })
            });
            twice.map_or_else(Vec::new, |device| {
                vec![
                    self.warn(format!(
                        "{} is offered by two backends: the model would be split over both",
                        device.description
                    ))
                    .seen(device.name.clone(), build.path.display().to_string())
                    .remedy(Remedy::command(
                        "Name the one to use",
                        format!("llama-server --device {} ...", device.name),
                    )),
                ]
            })
        })
    }
}
