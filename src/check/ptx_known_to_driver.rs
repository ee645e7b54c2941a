//! Asks whether this holds: the driver knows the PTX that this GPU needs.

use super::over_builds::{covers, listed, native, over_builds, shown};
use super::{Check, Context, Finding, Group, Needs, remedy};
use crate::host::facts::Gpu;
use crate::manifest::cuda::cuda;
use crate::units::CudaVersion;

pub(super) struct PtxKnownToDriver;

impl Check for PtxKnownToDriver {
    fn id(&self) -> &'static str {
        "ptx-known-to-driver"
    }
    fn title(&self) -> &'static str {
        "The driver knows the PTX that this GPU needs"
    }
    fn explanation(&self) -> &'static str {
        "Where a build has no finished code for a GPU, the driver compiles its PTX. PTX of CUDA 13.4 needs a \
         driver for CUDA 13.4, even where finished code would run with an older one: `the provided PTX was \
         compiled with an unsupported toolchain` (222). This is the trap for RTX 20, T4, A100 and H100 owners who \
         take the newest build."
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
            let (Some(ptx), Some(driver)) = (backend.ptx_version, context.facts.driver.cuda.value()) else {
                return Vec::new();
            };
            let Some(needed) =
                cuda().toolkit_of_ptx(ptx).map(|toolkit| toolkit.version).filter(|needed| driver < needed)
            else {
                return Vec::new();
            };
            let refused: Vec<&Gpu> = context
                .visible_gpus()
                .filter(|gpu| {
                    gpu.compute_capability
                        .is_some_and(|capability| !native(backend, capability) && covers(backend, capability))
                })
                .collect();
            let Some(gpu) = refused.first() else { return Vec::new() };
            // The official CUDA 12 builds' PTX: of 12.4 on Windows, of 12.8 elsewhere (failures.md 1.3).
            let older_ptx = CudaVersion::new(12, if context.on_windows() { 4 } else { 8 });
            let older_serves = backend.runtime_major > Some(12) && *driver >= older_ptx;
            let newer_driver = remedy::update_driver(*context);
            vec![
                self.fail(format!(
                    "The driver (CUDA {driver}) cannot compile the code of {} for {}: that needs CUDA {needed}",
                    Context::name_of(build),
                    gpu.name
                ))
                .seen(
                    format!("PTX {ptx}; native code only for {}", listed(&backend.sass)),
                    shown(backend.file.as_deref()),
                )
                .remedies(older_serves.then(remedy::take_cuda_12))
                .remedies(if older_serves { remedy::or(newer_driver) } else { newer_driver }),
            ]
        })
    }
}
