//! Asks whether this holds: the build's CUDA backend works.

use super::over_builds::{over_builds, shown};
use super::{Check, Context, Finding, Group, Needs, Remedy};
use crate::build::BackendState;

pub(super) struct CudaBackendWorks;

impl Check for CudaBackendWorks {
    fn id(&self) -> &'static str {
        "cuda-backend-works"
    }
    fn title(&self) -> &'static str {
        "The build's CUDA backend works"
    }
    fn explanation(&self) -> &'static str {
        "The proof: a child process loaded the build, and its CUDA backend listed the GPU. Where it did not, and \
         no earlier check found why, the loader's own message stands here."
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
            if backend.state != BackendState::Blocked {
                return Vec::new();
            }
            vec![
                self.fail(format!("{} cannot use the GPU: {}", Context::name_of(build), backend.reason))
                    .seen(
                        build.probe.clone().unwrap_or_else(|| "read, not run".to_owned()),
                        shown(backend.file.as_deref()),
                    )
                    .remedy(Remedy::command("Try the official build", "llama-doctor install")),
            ]
        })
    }
}
