//! Asks whether this holds: no folder of ours lies in a cloud folder.

use std::path::Path;

use super::{Check, Context, Finding, Group, remedy};
use crate::host::facts::DiskPurpose;

pub(super) struct FoldersNotSynced;

impl Check for FoldersNotSynced {
    fn id(&self) -> &'static str {
        "folders-not-synced"
    }
    fn title(&self) -> &'static str {
        "Models and builds are kept outside of cloud folders"
    }
    fn explanation(&self) -> &'static str {
        "OneDrive uploads what lies in its folder, and may keep only a placeholder here: a model is then downloaded again \
         when it is loaded, and llama.cpp's memory mapping waits for every page of it. Models and builds belong into a \
         folder of this machine alone."
    }
    fn group(&self) -> Group {
        Group::Storage
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        if !context.on_windows() {
            return vec![self.skip("a matter of Windows")];
        }
        let Some(cloud) = context.variable("OneDrive").filter(|folder| !folder.is_empty()) else {
            return vec![self.skip("OneDrive is not set up")];
        };
        let inside = context.facts.disks.iter().find(|disk| lies_in(&disk.path, cloud));
        let Some(disk) = inside else { return vec![self.pass("none lies in OneDrive")] };
        let (what, variable) = match disk.purpose {
            DiskPurpose::Models => ("Models are", "HF_HOME"),
            _ => ("Builds are", "LLAMA_DOCTOR_HOME"),
        };
        vec![
            self.warn(format!("{what} kept in OneDrive's folder, which may hold placeholders only"))
                .seen(disk.path.display().to_string(), format!("OneDrive={cloud}"))
                .remedy(remedy::set(*context, "Keep them elsewhere", variable, r"C:\models")),
        ]
    }
}

/// Windows' paths, compared on any system: neither case nor the kind of slash matters.
fn lies_in(path: &Path, folder: &str) -> bool {
    let plain = |text: &str| text.replace('/', "\\").trim_end_matches('\\').to_ascii_lowercase();
    plain(&path.to_string_lossy()).starts_with(&format!("{}\\", plain(folder)))
}
