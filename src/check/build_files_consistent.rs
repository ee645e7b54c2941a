//! Asks whether this holds: the build's files belong together.

use super::over_builds::over_builds;
use super::{Check, Context, Finding, Group, Remedy, antivirus_left_files};
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
            let explained = antivirus_left_files::vanished(*context);
            let problems: Vec<&String> = build.problems.iter().filter(|problem| !explained.contains(problem)).collect();
            let Some(problem) = problems.first() else { return Vec::new() };
            let works = build.backend("CUDA").is_some_and(|backend| backend.state == BackendState::Works);
            let summary = format!("{} is damaged: {problem}", Context::name_of(build));
            let mut finding = if works { self.warn(summary) } else { self.fail(summary) };
            for further in problems.iter().skip(1).take(3) {
                finding = finding.seen((*further).clone(), build.path.display().to_string());
            }
            let of_links = problems.iter().all(|problem| problem.starts_with("the link"));
            vec![
                finding
                    .remedies(of_links.then(|| Remedy::automatic("Repair the links in our own store")))
                    .remedy(Remedy::command("Install it into an empty folder", "llama-doctor install")),
            ]
        })
    }
}
