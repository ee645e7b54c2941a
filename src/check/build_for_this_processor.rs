//! Asks whether this holds: the build is for this system and processor.

use super::over_builds::{over_builds, shown};
use super::{Check, Context, Finding, Group, Remedy};
use crate::build::BackendState;

pub(super) struct BuildForThisProcessor;

impl Check for BuildForThisProcessor {
    fn id(&self) -> &'static str {
        "build-for-this-processor"
    }
    fn title(&self) -> &'static str {
        "The build is for this system and processor"
    }
    fn explanation(&self) -> &'static str {
        "A build for Windows does not run on Linux, nor one for ARM on x86-64: `Exec format error`, `not a valid \
         Win32 application` (193), or a backend that is skipped. Read from the file's header. A build that was \
         compiled for one processor alone (`-march=native`, many wheels) ends with `Illegal instruction` on another: \
         what the loaded code was compiled for is compared with what this processor has."
    }
    fn group(&self) -> Group {
        Group::Builds
    }
    fn breaks_build(&self) -> bool {
        true
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        over_builds(self, *context, |build| {
            let foreign = build.backends.iter().find(|backend| {
                backend.state == BackendState::Blocked
                    && (backend.reason.starts_with("it is for ") && backend.reason.contains("this machine is")
                        || backend.reason.starts_with("it is for ") && backend.reason.contains("and this is"))
            });
            if !build.processor_lacks.is_empty() {
                let lacks = build.processor_lacks.join(", ");
                let name = Context::name_of(build);
                let file = build.backend("CPU").and_then(|backend| backend.file.as_deref());
                return vec![
                    self.fail(format!("{name} is compiled for {lacks}, which this processor lacks"))
                        .seen("it ends with an illegal instruction", shown(file))
                        .remedy(Remedy::command("Official builds choose code that fits", "llama-doctor install")),
                ];
            }
            foreign.map_or_else(Vec::new, |backend| {
                vec![
                    self.fail(format!("{} cannot run here: {}", Context::name_of(build), backend.reason))
                        .seen(backend.name.clone(), shown(backend.file.as_deref()))
                        .remedy(Remedy::command("Install the one for this machine", "llama-doctor install")),
                ]
            })
        })
    }
}
