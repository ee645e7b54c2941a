//! Asks whether this holds: the build's other libraries are found.

use super::over_builds::{is_openmp, is_runtime, over_builds, shown};
use super::{Check, Context, Finding, Group, Needs, Remedy, remedy};

pub(super) struct OtherLibrariesPresent;

impl Check for OtherLibrariesPresent {
    fn id(&self) -> &'static str {
        "other-libraries-present"
    }
    fn title(&self) -> &'static str {
        "The build's other libraries are found"
    }
    fn explanation(&self) -> &'static str {
        "Besides CUDA's own, a backend may need libraries of the system or of its own build: `libssl.so.3`, \
         `libcurl.so.4`, `libggml-base.so.0`. A missing one of the build's own means an archive that lost its \
         symbolic links or a file; a missing one of the system, a package."
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
            let known = |name: &str| {
                let lower = name.to_ascii_lowercase();
                let of_driver = ["libnccl", "libcuda.so", "nvcuda"].iter().any(|start| lower.starts_with(start));
                is_runtime(name) || is_openmp(name) || of_driver
            };
            let missing: Vec<&str> = backend.missing.iter().map(String::as_str).filter(|name| !known(name)).collect();
            let Some(first) = missing.first() else { return Vec::new() };
            let own = first.contains("ggml") || first.contains("llama");
            let finding = self
                .fail(format!("{} lacks {}", Context::name_of(build), missing.join(", ")))
                .seen(format!("wanted by {}", shown(backend.file.as_deref())), "");
            vec![if own {
                finding
                    .remedy(Remedy::automatic("Repair the links in our own store"))
                    .remedy(Remedy::command("Or unpack the archive anew into an empty folder", "llama-doctor install"))
            } else {
                finding.remedy(remedy::library(*context, first))
            }]
        })
    }
}
