//! Asks whether this holds: the CUDA libraries are of the major version the build needs.

use super::over_builds::{bring_runtime, over_builds, runtime_missing, shown};
use super::{Check, Context, Finding, Group, Needs};
use crate::build::cuda_libraries::{Origin as LibraryOrigin, Role};

pub(super) struct CudaRuntimeMajorFits;

impl Check for CudaRuntimeMajorFits {
    fn id(&self) -> &'static str {
        "cuda-runtime-major-fits"
    }
    fn title(&self) -> &'static str {
        "The CUDA libraries are of the major version the build needs"
    }
    fn explanation(&self) -> &'static str {
        "A build for CUDA 12 needs `libcublas.so.12`, one for CUDA 13 `libcublas.so.13`; having the other does \
         not help. Both may be installed side by side. Official builds have a companion archive (`cudart-*`) with \
         exactly what they need."
    }
    fn group(&self) -> Group {
        Group::Builds
    }
    fn needs(&self) -> Needs {
        Needs::Card
    }
    fn breaks_build(&self) -> bool {
        true
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        over_builds(self, *context, |build| {
            let Some(backend) = build.backend("CUDA").filter(|backend| !runtime_missing(backend).is_empty()) else {
                return Vec::new();
            };
            let wrong = context.facts.cuda_libraries.iter().find(|library| {
                matches!(library.role, Role::Cudart | Role::Cublas)
                    && library.origin != LibraryOrigin::Build
                    && library.major.is_some()
                    && library.major != backend.runtime_major
            });
            let (Some(library), Some(needed)) = (wrong, backend.runtime_major) else { return Vec::new() };
            vec![
                self.fail(format!(
                    "{} needs the libraries of CUDA {needed}, and this machine has CUDA {}",
                    Context::name_of(build),
                    library.major.unwrap_or_default()
                ))
                .seen(format!("missing: {}", runtime_missing(backend).join(", ")), shown(backend.file.as_deref()))
                .seen(library.name.clone(), library.path.display().to_string())
                .remedies(bring_runtime(build, backend)),
            ]
        })
    }
}
