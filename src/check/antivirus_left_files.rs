//! Asks whether this holds: no antivirus has removed files of llama.cpp.

use super::{Check, Context, Finding, Group, Remedy, counted};
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
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        let Some(windows) = context.windows() else { return vec![self.skip("a matter of Windows")] };
        match &windows.quarantined {
            Fact::Unknown { unknown } => vec![self.skip(format!("{unknown}; look with `Get-MpThreatDetection`"))],
            Fact::Known { value, .. } if value.is_empty() => vec![self.pass("none")],
            Fact::Known { value, .. } => vec![
                self.warn(format!(
                    "An antivirus removed {} of llama.cpp",
                    counted(value.len() as u64, "file", "files")
                ))
                .seen(value[0].clone(), "antivirus history")
                .remedy(Remedy::command("See its reason", "Get-MpThreatDetection | Select-Object -First 3"))
                .remedy(Remedy::command(
                    "Then install it anew: every file is checked by its digest",
                    "llama-doctor install",
                )),
            ],
        }
    }
}
