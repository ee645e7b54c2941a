//! Asks whether this holds: the Visual C++ runtime is installed and current.

use super::{Check, Context, Finding, Group, Remedy};
use crate::host::facts::Fact;

pub(super) struct VcRuntimeCurrent;

impl Check for VcRuntimeCurrent {
    fn id(&self) -> &'static str {
        "vc-runtime-current"
    }
    fn title(&self) -> &'static str {
        "The Visual C++ runtime is installed and current"
    }
    fn explanation(&self) -> &'static str {
        "llama.cpp's Windows programs need Microsoft's Visual C++ runtime of version 14.40 or newer. Without it \
         they end at once without output (0xC0000135); with an older one they crash in `MSVCP140.dll` \
         (0xC0000005)."
    }
    fn group(&self) -> Group {
        Group::System
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        let Some(windows) = context.windows() else { return vec![self.skip("a matter of Windows")] };
        let version = match &windows.visual_cpp_runtime {
            Fact::Known { value, .. } => value,
            Fact::Unknown { unknown } if unknown == "not looked at" => return vec![self.skip("not looked at")],
            Fact::Unknown { unknown } => {
                return vec![
                    self.fail("The Visual C++ runtime is not installed: llama.cpp ends without a word")
                        .seen(unknown.clone(), "registry")
                        .remedy(Remedy::command("Install it", "winget install Microsoft.VCRedist.2015+.x64")),
                ];
            }
        };
        if too_old(version) {
            return vec![
                self.fail(format!("The Visual C++ runtime {version} is too old: llama.cpp crashes in MSVCP140.dll"))
                    .remedy(Remedy::command("Update it", "winget upgrade Microsoft.VCRedist.2015+.x64")),
            ];
        }
        vec![self.pass(version.clone())]
    }
}

/// Before 14.40 a mutex of newer programs crashes in it.
/// Source: failures.md B11 (llama.cpp issues 10703, 11479).
pub(super) fn too_old(version: &str) -> bool {
    let numbers: Vec<u32> = version.trim_start_matches('v').split('.').map_while(|part| part.parse().ok()).collect();
    matches!(numbers[..], [major, minor, ..] if (major, minor) < (14, 40))
}
