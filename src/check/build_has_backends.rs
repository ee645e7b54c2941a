//! Asks whether this holds: the build has its backends beside it.

use super::over_builds::over_builds;
use super::{Check, Context, Finding, Group, Remedy};
use crate::build::BackendState;

pub(super) struct BuildHasBackends;

impl Check for BuildHasBackends {
    fn id(&self) -> &'static str {
        "build-has-backends"
    }
    fn title(&self) -> &'static str {
        "The build has its backends beside it"
    }
    fn explanation(&self) -> &'static str {
        "llama.cpp loads its backends (`libggml-cpu-*.so`, `libggml-cuda.so`) from the folder of the program that \
         runs, and from nowhere else. A `llama-server` that was copied out of its folder alone says `no backends \
         are loaded`. A symbolic link to it works on Linux; on Windows it does not."
    }
    fn group(&self) -> Group {
        Group::Builds
    }
    fn breaks_build(&self) -> bool {
        true
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        over_builds(self, *context, |build| {
            let present = build.backends.iter().any(|backend| backend.state != BackendState::Absent);
            if present {
                return Vec::new();
            }
            vec![
                self.fail(format!("{} has no backends beside it: it can compute nothing", Context::name_of(build)))
                    .seen("no ggml backend", build.path.display().to_string())
                    .remedy(Remedy::advice(
                        "Keep the whole folder of the archive together, and link to the program in it",
                    ))
                    .remedy(Remedy::command("Or install it anew", "llama-doctor install")),
            ]
        })
    }
}
