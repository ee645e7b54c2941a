//! Asks whether this holds: llama-server's own libraries are found.

use super::over_builds::{is_openmp, over_builds};
use super::{Check, Context, Finding, Group, Remedy, remedy};

pub(super) struct ServerLibrariesPresent;

impl Check for ServerLibrariesPresent {
    fn id(&self) -> &'static str {
        "server-libraries-present"
    }
    fn title(&self) -> &'static str {
        "llama-server's own libraries are found"
    }
    fn explanation(&self) -> &'static str {
        "Besides its backends `llama-server` needs libraries of the system: official Linux builds are linked with \
         OpenSSL 3 (`libssl.so.3`), older ones with `libcurl.so.4`. Small images lack them, and the program ends with \
         `error while loading shared libraries` before it says anything of its own."
    }
    fn group(&self) -> Group {
        Group::Builds
    }
    fn breaks_build(&self) -> bool {
        true
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        over_builds(self, *context, |build| {
            let of_backends = |name: &String| build.backends.iter().any(|backend| backend.missing.contains(name));
            let missing: Vec<&String> = build
                .server_missing
                .iter()
                .filter(|name| !of_backends(name) && !is_openmp(name) && !is_of_visual_cpp(name))
                .collect();
            let Some(first) = missing.first() else { return Vec::new() };
            let names: Vec<&str> = missing.iter().map(|name| name.as_str()).collect();
            let finding = self
                .fail(format!(
                    "llama-server of {} does not start: it lacks {}",
                    Context::name_of(build),
                    names.join(", ")
                ))
                .seen("read, not run", build.server.as_ref().unwrap_or(&build.path).display().to_string());
            vec![if first.contains("ggml") || first.contains("llama") || first.contains("mtmd") {
                finding
                    .remedy(Remedy::automatic("Repair the links in our own store"))
                    .remedy(Remedy::command("Or unpack the archive anew into an empty folder", "llama-doctor install"))
            } else {
                finding.remedy(remedy::library(*context, first))
            }]
        })
    }
}

/// The Visual C++ runtime has checks of its own.
fn is_of_visual_cpp(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["msvcp", "vcruntime", "concrt", "ucrtbase"].iter().any(|start| name.starts_with(start))
}
