//! Asks whether this holds: the build has code for this GPU.

use super::over_builds::{covers, listed, over_builds, shown};
use super::{Check, Context, Finding, Group, Needs, Remedy};
use crate::host::facts::Gpu;
use crate::units::ComputeCapability;

pub(super) struct GpuCodePresent;

impl Check for GpuCodePresent {
    fn id(&self) -> &'static str {
        "gpu-code-present"
    }
    fn title(&self) -> &'static str {
        "The build has code for this GPU"
    }
    fn explanation(&self) -> &'static str {
        "A build carries finished code for some GPU generations and PTX, which the driver compiles, for others. \
         When neither fits, the first operation fails with `no kernel image is available` (209). CUDA 13 dropped \
         GTX 900, GTX 10, TITAN V and V100: those cards need a CUDA 12 build. Read from the code inside the file."
    }
    fn group(&self) -> Group {
        Group::Builds
    }
    fn needs(&self) -> Needs {
        Needs::Driver
    }
    fn breaks_build(&self) -> bool {
        true
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        over_builds(self, *context, |build| {
            let Some(backend) = build.backend("CUDA") else { return Vec::new() };
            let without: Vec<(&Gpu, ComputeCapability)> = context
                .visible_gpus()
                .filter_map(|gpu| Some((gpu, gpu.compute_capability?)))
                .filter(|(_, capability)| !covers(backend, *capability))
                .collect();
            let Some((gpu, capability)) = without.first() else { return Vec::new() };
            let all = context.visible_gpus().count() == without.len();
            let summary = format!("{} has no code for {} (compute {capability})", Context::name_of(build), gpu.name);
            let finding = if all { self.fail(summary) } else { self.warn(summary) };
            vec![
                finding
                    .seen(
                        format!("native code for {}; PTX for {}", listed(&backend.sass), listed(&backend.ptx)),
                        shown(backend.file.as_deref()),
                    )
                    .remedy(if capability.major < 8 && backend.runtime_major.is_some_and(|major| major >= 13) {
                        Remedy::command("Install the build for CUDA 12", "llama-doctor install --backend cuda-12")
                    } else {
                        Remedy::command("Install a build that has it", "llama-doctor install --backend cuda")
                    }),
            ]
        })
    }
}
