//! Asks whether this holds: RTX 50 cards get code of their own.

use super::over_builds::{covers, listed, native, over_builds, shown};
use super::{Check, Context, Finding, Group, Needs, Remedy};

pub(super) struct BlackwellNative;

impl Check for BlackwellNative {
    fn id(&self) -> &'static str {
        "blackwell-native"
    }
    fn title(&self) -> &'static str {
        "RTX 50 cards get code of their own"
    }
    fn explanation(&self) -> &'static str {
        "The Windows build for CUDA 12.4 is older than Blackwell: on RTX 50 cards the driver compiles its PTX at \
         the first start, which takes minutes, and the result lacks the generation's FP4 kernels. The build for \
         CUDA 13 has code for them."
    }
    fn group(&self) -> Group {
        Group::Builds
    }
    fn needs(&self) -> Needs {
        Needs::Driver
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        over_builds(self, *context, |build| {
            let Some(backend) = build.backend("CUDA") else { return Vec::new() };
            let slow = context.visible_gpus().find(|gpu| {
                gpu.compute_capability.is_some_and(|capability| {
                    capability.major == 12 && !native(backend, capability) && covers(backend, capability)
                })
            });
            slow.map_or_else(Vec::new, |gpu| {
                vec![
                    self.warn(format!(
                        "{} has no finished code for {}: the first start takes minutes",
                        Context::name_of(build),
                        gpu.name
                    ))
                    .seen(format!("native code for {}", listed(&backend.sass)), shown(backend.file.as_deref()))
                    .remedy(Remedy::command("Install the build for CUDA 13", "llama-doctor install --backend cuda-13")),
                ]
            })
        })
    }
}
