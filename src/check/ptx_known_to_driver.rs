//! Asks whether this holds: the driver knows the PTX that this GPU needs.

use super::{Check, Context, Finding, Group, Needs, Remedy, remedy};
use super::over_builds::{over_builds, shown, covers, native, listed};
use crate::host::facts::{Gpu};
use crate::manifest::cuda::cuda;

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
            let (Some(ptx), Some(driver)) = (backend.ptx_version, context.facts.driver.cuda.value()) else { return Vec::new() };
            let Some(needed) = cuda().toolkit_of_ptx(ptx).map(|toolkit| toolkit.version).filter(|needed| driver < needed) else { return Vec::new() };
            let refused: Vec<&Gpu> = context
                .visible_gpus()
                .filter(|gpu| gpu.compute_capability.is_some_and(|capability| !native(backend, capability) && covers(backend, capability)))
                .collect();
            let Some(gpu) = refused.first() else { return Vec::new() };
            vec![self
                .fail(format!("The driver (CUDA {driver}) cannot compile the code of {} for {}: that needs CUDA {needed}", Context::name_of(build), gpu.name))
                .seen(format!("PTX {ptx}; native code only for {}", listed(&backend.sass)), shown(backend.file.as_deref()))
                .remedies(remedy::update_driver(*context))
                .remedy(Remedy::command("Or take a build for an older CUDA", "llama-doctor install --backend cuda-12"))]
        })
    }
}
