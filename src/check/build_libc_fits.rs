//! Asks whether this holds: the system's C libraries are new enough for the build.

use super::over_builds::{over_builds, shown};
use super::{Check, Context, Finding, Group, Needs, Remedy, remedy};
use crate::loader::DependencyState;

pub(super) struct BuildLibcFits;

impl Check for BuildLibcFits {
    fn id(&self) -> &'static str {
        "build-libc-fits"
    }
    fn title(&self) -> &'static str {
        "The system's C libraries are new enough for the build"
    }
    fn explanation(&self) -> &'static str {
        "A backend names the versions of glibc and libstdc++ that it needs. Official Linux CUDA builds need glibc \
         2.39 (Ubuntu 24.04). On an older system the CUDA backend does not load, and release builds do not say \
         so. Read from the file before anything runs."
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
            let old = backend.dependencies.iter().find(|dependency| {
                dependency.state == DependencyState::Unusable
                    && (dependency.detail.contains("GLIBC") || dependency.detail.contains("CXXABI"))
            });
            old.map_or_else(Vec::new, |dependency| {
                vec![
                    self.fail(format!(
                        "{} was built for a newer system: its CUDA backend does not load",
                        Context::name_of(build)
                    ))
                    .seen(dependency.detail.clone(), shown(backend.file.as_deref()))
                    .remedy(remedy::official_image())
                    .remedy(Remedy::command("Or conda-forge's build", "conda install -c conda-forge llama.cpp"))
                    .remedy(Remedy::command("Or the Vulkan build", "llama-doctor install --backend vulkan")),
                ]
            })
        })
    }
}
