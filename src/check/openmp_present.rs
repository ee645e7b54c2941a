//! Asks whether this holds: the processor's backend finds OpenMP.

use super::over_builds::{is_openmp, over_builds, shown};
use super::{Check, Context, Finding, Group, Remedy, remedy};

pub(super) struct OpenmpPresent;

impl Check for OpenmpPresent {
    fn id(&self) -> &'static str {
        "openmp-present"
    }
    fn title(&self) -> &'static str {
        "The processor's backend finds OpenMP"
    }
    fn explanation(&self) -> &'static str {
        "llama.cpp's processor code needs `libgomp.so.1` (Windows: `libomp.dll`, which official archives \
         contain). Small container images lack it: `no CPU backend found`, and nothing runs, not even on the GPU."
    }
    fn group(&self) -> Group {
        Group::Builds
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        over_builds(self, *context, |build| {
            let lacks = build.backends.iter().find_map(|backend| {
                let library = backend.missing.iter().find(|name| is_openmp(name))?;
                Some((backend, library))
            });
            lacks.map_or_else(Vec::new, |(backend, library)| {
                vec![
                    self.fail(format!(
                        "{} lacks the OpenMP library {library}: its processor backend does not load",
                        Context::name_of(build)
                    ))
                    .seen(format!("wanted by {}", shown(backend.file.as_deref())), "")
                    .remedy(if context.on_windows() {
                        Remedy::command("Install the build anew: it brings the library", "llama-doctor install")
                    } else {
                        remedy::library(*context, library)
                    }),
                ]
            })
        })
    }
}
