//! Asks whether this holds: paths are short, or long ones are allowed.

use super::{Check, Context, Finding, Group, Remedy};

pub(super) struct LongPathsEnabled;

/// Source: <https://learn.microsoft.com/windows/win32/fileio/maximum-file-path-limitation>, checked 2026-11-23.
const ALLOW_LONG_PATHS: &str =
    r"reg add HKLM\SYSTEM\CurrentControlSet\Control\FileSystem /v LongPathsEnabled /t REG_DWORD /d 1 /f";

impl Check for LongPathsEnabled {
    fn id(&self) -> &'static str {
        "long-paths-enabled"
    }
    fn title(&self) -> &'static str {
        "Paths are short, or long ones are allowed"
    }
    fn explanation(&self) -> &'static str {
        "Windows limits paths to 260 characters unless `LongPathsEnabled` is set; llama.cpp looks for its \
         backends through a call with that limit. Models in the Hugging Face cache have long paths."
    }
    fn group(&self) -> Group {
        Group::System
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        let Some(windows) = context.windows() else { return vec![self.skip("a matter of Windows")] };
        match windows.long_paths.value() {
            None => vec![self.skip("Windows does not say")],
            Some(true) => vec![self.pass("long paths are allowed")],
            Some(false) => {
                // A build's folder and its longest file name add about 90 characters.
                let long = context.facts.disks.iter().find(|disk| disk.path.as_os_str().len() > 150);
                match long {
                    None => vec![self.pass("long paths are off, and ours are short")],
                    Some(disk) => vec![
                        self.warn("Long paths are off, and a folder's path is long")
                            .seen(
                                disk.path.display().to_string(),
                                format!("{} characters", disk.path.as_os_str().len()),
                            )
                            .remedy(Remedy::command("Allow them, as administrator", ALLOW_LONG_PATHS)),
                    ],
                }
            }
        }
    }
}
