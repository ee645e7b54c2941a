//! Asks whether this holds: no antivirus has removed files of llama.cpp.

use super::{Check, Context, Finding, Group, Remedy, counted};
use crate::build::BackendState;
use crate::host::facts::Fact;

pub(super) struct AntivirusLeftFiles;

impl Check for AntivirusLeftFiles {
    fn id(&self) -> &'static str {
        "antivirus-left-files"
    }
    fn title(&self) -> &'static str {
        "No antivirus has removed files of llama.cpp"
    }
    fn explanation(&self) -> &'static str {
        "Microsoft Defender and others at times take a new llama.cpp build for malware (`Wacatac.B!ml`) and \
         remove files after they were unpacked. Compare the file's digest with the release's before you restore \
         it."
    }
    fn group(&self) -> Group {
        Group::Builds
    }
    fn breaks_build(&self) -> bool {
        true
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        let Some(windows) = context.windows() else { return vec![self.skip("a matter of Windows")] };
        let remembered = windows.quarantined.value().map_or(&[][..], Vec::as_slice);
        let vanished = vanished(*context);
        let first = match (remembered, &windows.quarantined) {
            ([first, ..], _) => self
                .warn(format!(
                    "An antivirus removed {} of llama.cpp",
                    counted(remembered.len() as u64, "file", "files")
                ))
                .seen(first.clone(), "antivirus history"),
            (_, _) if !vanished.is_empty() => {
                let works = context
                    .build_to_run()
                    .and_then(|build| build.backend("CUDA"))
                    .is_some_and(|backend| backend.state == BackendState::Works);
                let count = counted(vanished.len() as u64, "file", "files");
                let summary =
                    format!("{count} of the build vanished, and {} is watching", watching(*context).join(", "));
                let finding = if works { self.warn(summary) } else { self.fail(summary) };
                finding.seen(vanished[0].clone(), "compared with what was installed")
            }
            (_, Fact::Unknown { unknown }) => {
                return vec![self.skip(format!("{unknown}; look with `Get-MpThreatDetection`"))];
            }
            (_, Fact::Known { .. }) => return vec![self.pass("none")],
        };
        vec![first.remedy(Remedy::command("See its reason", "Get-MpThreatDetection | Select-Object -First 3")).remedy(
            Remedy::command("Then install it anew: every file is checked by its digest", "llama-doctor install"),
        )]
    }
}

/// The antivirus programs that watch files here.
fn watching(context: Context<'_>) -> Vec<&str> {
    let programs = context.windows().and_then(|windows| windows.antivirus.value());
    programs.into_iter().flatten().filter(|program| program.enabled).map(|program| program.name.as_str()).collect()
}

/// Files that were installed and are not there any more, where an antivirus watches: what one leaves of a build.
pub(super) fn vanished(context: Context<'_>) -> Vec<&String> {
    if watching(context).is_empty() {
        return Vec::new();
    }
    let problems = context.build_to_run().into_iter().flat_map(|build| &build.problems);
    problems.filter(|problem| problem.ends_with(" is missing")).collect()
}
