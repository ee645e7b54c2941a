//! Asks whether this holds: the driver can unpack the build's GPU code.

use super::over_builds::{over_builds, shown};
use super::{Check, Context, Finding, Group, Needs, remedy};
use crate::units::CudaVersion;

pub(super) struct GpuCodeCompressedForDriver;

impl Check for GpuCodeCompressedForDriver {
    fn id(&self) -> &'static str {
        "gpu-code-compressed-for-driver"
    }
    fn title(&self) -> &'static str {
        "The driver can unpack the build's GPU code"
    }
    fn explanation(&self) -> &'static str {
        "Builds made with CUDA 12.8 or newer pack their GPU code with zstd, which drivers before 550.54.14 \
         (Windows 551.61, CUDA 12.4) cannot unpack: `device kernel image is invalid` (200) at the first \
         operation, although CUDA 12 programs otherwise run from driver 525 on."
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
            let Some(backend) = build.backend("CUDA").filter(|backend| backend.compressed == Some(true)) else {
                return Vec::new();
            };
            let Some(cuda) = context.facts.driver.cuda.value().filter(|cuda| **cuda < CudaVersion::new(12, 4)) else {
                return Vec::new();
            };
            vec![
                self.fail(format!(
                    "The driver (CUDA {cuda}) cannot unpack the GPU code of {}",
                    Context::name_of(build)
                ))
                .seen("GPU code packed with zstd", shown(backend.file.as_deref()))
                .remedies(remedy::update_driver(*context)),
            ]
        })
    }
}
