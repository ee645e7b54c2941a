//! Asks whether this holds: no old Visual C++ runtime lies beside the build.

use super::vc_runtime_current::too_old;
use super::{Check, Context, Finding, Group, Remedy};
use crate::host::facts::Fact;

pub(super) struct VcRuntimeNotShadowed;

impl Check for VcRuntimeNotShadowed {
    fn id(&self) -> &'static str {
        "vc-runtime-not-shadowed"
    }
    fn title(&self) -> &'static str {
        "No old Visual C++ runtime lies beside the build"
    }
    fn explanation(&self) -> &'static str {
        "Windows takes a library from the program's own folder before its own. An old `msvcp140.dll` that another program \
         or archive left beside llama.cpp brings back the crash that a current runtime had mended (0xC0000005 in \
         MSVCP140.dll). Detected by the version of each copy in the build's folder. Programs that inject such a copy \
         into others (Citrix did) are seen only while llama.cpp runs: Process Explorer shows whose it is."
    }
    fn group(&self) -> Group {
        Group::Builds
    }
    fn breaks_build(&self) -> bool {
        true
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        let Some(windows) = context.windows() else { return vec![self.skip("a matter of Windows")] };
        let copies = match &windows.runtime_copies {
            Fact::Unknown { unknown } => return vec![self.skip(unknown.clone())],
            Fact::Known { value, .. } => value,
        };
        let old: Vec<_> = copies.iter().filter(|copy| too_old(&copy.version)).collect();
        let Some(first) = old.first() else { return vec![self.pass("none is older than the system's needs to be")] };
        let mut finding =
            self.fail(format!("An old Visual C++ runtime lies beside the build and is loaded: {}", first.version));
        for copy in &old {
            finding = finding.seen(copy.version.clone(), copy.path.display().to_string());
        }
        let paths: Vec<String> = old.iter().map(|copy| format!("'{}'", copy.path.display())).collect();
        vec![finding.remedy(Remedy::command(
            "Take the copies away: Windows has its own",
            format!("Remove-Item {}", paths.join(", ")),
        ))]
    }
}
