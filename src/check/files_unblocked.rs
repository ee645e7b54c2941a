//! Asks whether this holds: Windows has not marked the build's files.

use super::{Check, Context, Finding, Group, Remedy, counted};
use crate::host::facts::Fact;

pub(super) struct FilesUnblocked;

impl Check for FilesUnblocked {
    fn id(&self) -> &'static str {
        "files-unblocked"
    }
    fn title(&self) -> &'static str {
        "Windows has not marked the build's files"
    }
    fn explanation(&self) -> &'static str {
        "Files that a browser downloaded, and what Explorer unpacked from them, carry the Mark of the Web. \
         Windows may ask before each start, or refuse libraries. Installed by llama-doctor they carry none."
    }
    fn group(&self) -> Group {
        Group::Builds
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        let Some(windows) = context.windows() else { return vec![self.skip("a matter of Windows")] };
        match &windows.marked_files {
            Fact::Unknown { unknown } => vec![self.skip(unknown.clone())],
            Fact::Known { value, .. } if value.is_empty() => vec![self.pass("none is marked")],
            Fact::Known { value, .. } => vec![
                self.warn(format!(
                    "Windows has marked {} of the build as downloaded",
                    counted(value.len() as u64, "file", "files")
                ))
                .seen("Zone.Identifier", value[0].display().to_string())
                .remedy(Remedy::automatic("Remove the mark from files of ours"))
                .remedy(Remedy::command("Or in the build's folder", "Get-ChildItem -Recurse | Unblock-File")),
            ],
        }
    }
}
