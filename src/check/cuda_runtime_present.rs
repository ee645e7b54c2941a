//! Asks whether this holds: the CUDA libraries that the build needs are found.

use super::over_builds::{bring_runtime, over_builds, runtime_missing, shown};
use super::{Check, Context, Finding, Group, Needs};

pub(super) struct CudaRuntimePresent;

impl Check for CudaRuntimePresent {
    fn id(&self) -> &'static str {
        "cuda-runtime-present"
    }
    fn title(&self) -> &'static str {
        "The CUDA libraries that the build needs are found"
    }
    fn explanation(&self) -> &'static str {
        "The CUDA backend needs `libcudart`, `libcublas` and `libcublasLt` (Windows: `cudart64_*.dll`, \
         `cublas64_*.dll`, `cublasLt64_*.dll`). They are not part of the driver; official builds put them into a \
         companion archive (`cudart-*`). Without them release builds load no CUDA, say nothing, and run on the \
         processor. Found by walking the file's own list of libraries as the loader would."
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
            let Some(backend) = build.backend("CUDA") else { return Vec::new() };
            let missing = runtime_missing(backend);
            if missing.is_empty() {
                return Vec::new();
            }
            let are = if missing.len() == 1 { "is" } else { "are" };
            vec![
                self.fail(format!(
                    "{} cannot use the GPU: {} {are} not on this machine",
                    Context::name_of(build),
                    missing.join(" and ")
                ))
                .seen(format!("wanted by {}", shown(backend.file.as_deref())), "")
                .remedies(bring_runtime(build, backend)),
            ]
        })
    }
}
