//! Asks whether this holds: the build has a CUDA backend.

use super::over_builds::over_builds;
use super::{Check, Context, Finding, Group, Needs, Remedy};
use crate::build::{BackendState, BuildKind};

pub(super) struct BuildHasCuda;

impl Check for BuildHasCuda {
    fn id(&self) -> &'static str {
        "build-has-cuda"
    }
    fn title(&self) -> &'static str {
        "The build has a CUDA backend"
    }
    fn explanation(&self) -> &'static str {
        "Many packages of llama.cpp have no CUDA in them: Winget's is Vulkan, Homebrew's on Linux and most \
         distributions' are for the processor, the archive `ubuntu-x64` too, and the image `server` without \
         `-cuda`. Told by the files of the build, not by its name."
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
            let holds_any = build.backends.iter().any(|backend| backend.state != BackendState::Absent);
            if !build.lacks_cuda() || !holds_any || build.kind == BuildKind::PythonWheel {
                return Vec::new();
            }
            let names: Vec<&str> = build
                .backends
                .iter()
                .filter(|backend| backend.state != BackendState::Absent)
                .map(|backend| backend.name.as_str())
                .collect();
            let vulkan = build
                .backend("Vulkan")
                .is_some_and(|backend| matches!(backend.state, BackendState::Works | BackendState::Loads));
            let summary = format!("{} has no CUDA backend; it has {}", Context::name_of(build), names.join(", "));
            let finding = if vulkan { self.warn(summary) } else { self.fail(summary) };
            vec![
                finding
                    .seen("no file of a CUDA backend", build.path.display().to_string())
                    .remedy(Remedy::command("Install one with CUDA", "llama-doctor install --backend cuda")),
            ]
        })
    }
}
