//! Asks whether this holds: the models' disk takes files over 4 GiB.

use super::{Check, Context, Finding, Group, remedy};
use crate::host::facts::DiskPurpose;

pub(super) struct ModelsDiskHoldsLargeFiles;

impl Check for ModelsDiskHoldsLargeFiles {
    fn id(&self) -> &'static str {
        "models-disk-holds-large-files"
    }
    fn title(&self) -> &'static str {
        "The models' disk takes files over 4 GiB"
    }
    fn explanation(&self) -> &'static str {
        "FAT32 (`vfat`) ends every file at 4 GiB: a download of a larger model fails near its end with `File too \
         large`. exFAT, NTFS and Linux' own file systems have no such limit."
    }
    fn group(&self) -> Group {
        Group::Storage
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        let Some(disk) = context.facts.disks.iter().find(|disk| disk.purpose == DiskPurpose::Models) else {
            return vec![self.skip("not looked at")];
        };
        match disk.filesystem.value().map(String::as_str) {
            None => vec![self.skip("the file system is not known")],
            Some("vfat" | "msdos" | "fat") => vec![
                self.warn("Models are kept on a FAT file system: no file there can exceed 4 GiB")
                    .seen("vfat", disk.path.display().to_string())
                    .remedy(remedy::set(
                        *context,
                        "Keep them elsewhere",
                        "HF_HOME",
                        if context.on_windows() { "D:\\models" } else { "/path/on/another/disk" },
                    )),
            ],
            Some(kind) => vec![self.pass(kind)],
        }
    }
}
