//! Asks whether this holds: the build's files belong together.

use super::over_builds::over_builds;
use super::{Check, Context, Finding, Group, Remedy};
use crate::build::BackendState;

pub(super) struct BuildFilesConsistent;

impl Check for BuildFilesConsistent {
    fn id(&self) -> &'static str {
        "build-files-consistent"
    }
    fn title(&self) -> &'static str {
        "The build's files belong together"
    }
    fn explanation(&self) -> &'static str {
        "Two llama.cpp versions unpacked over each other, stale libraries in `/usr/local/lib`, or files that an \
         antivirus removed: `undefined symbol`, `incompatible API version`, `failed to find ggml_backend_init`. \
         All files of one build carry one version."
    }
    fn group(&self) -> Group {
        Group::Builds
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        over_builds(self, *context, |build| {
            let Some(problem) = build.problems.first() else { return Vec::new() };
            let works = build.backend("CUDA").is_some_and(|backend| backend.state == BackendState::Works);
            let summary = format!("{} is damaged: {problem}", Context::name_of(build));
            let mut finding = if works { self.warn(summary) } else { self.fail(summary) };
            for further in build.problems.iter().skip(1).take(3) {
                finding = finding.seen(further.clone(), build.path.display().to_string());
            }
            vec![finding.remedy(Remedy::command("Install it into an empty folder", "llama-doctor install"))]
        })
    }
}
