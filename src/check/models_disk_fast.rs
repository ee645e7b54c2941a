//! Asks whether this holds: models are kept on a fast disk.

use super::{Check, Context, Finding, Group, Remedy, remedy};
use crate::host::facts::{DiskPurpose, DriveKind};

pub(super) struct ModelsDiskFast;

impl Check for ModelsDiskFast {
    fn id(&self) -> &'static str {
        "models-disk-fast"
    }
    fn title(&self) -> &'static str {
        "Models are kept on a fast disk"
    }
    fn explanation(&self) -> &'static str {
        "Loading reads the whole model once. A network or 9p mount (Windows' drives seen from WSL), or a disk \
         with moving parts, makes that minutes: memory mapping asks for it page by page. Inside WSL the \
         distribution's own ext4 disk is five to ten times faster than `/mnt/c`. Where the models must stay, \
         `llama-server --load-mode none` reads them in one go."
    }
    fn group(&self) -> Group {
        Group::Storage
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        let Some(disk) = context.facts.disks.iter().find(|disk| disk.purpose == DiskPurpose::Models) else {
            return vec![self.skip("not looked at")];
        };
        let kind = disk.filesystem.value().map(String::as_str);
        let slow = match (kind, disk.drive.value()) {
            (Some("9p" | "drvfs"), _) => Some("a Windows drive, which WSL reads slowly"),
            (Some("nfs" | "nfs4" | "cifs" | "smb3" | "sshfs" | "fuse.sshfs"), _) | (_, Some(DriveKind::Network)) => {
                Some("a network drive")
            }
            _ if disk.rotational.value() == Some(&true) => Some("a disk with moving parts"),
            (Some(_), _) => None,
            (None, _) => return vec![self.skip("the file system is not known")],
        };
        match slow {
            None => vec![self.pass(disk.filesystem.value().cloned().unwrap_or_default())],
            Some(what) => vec![
                self.warn(format!("Models are kept on {what}: loading takes long"))
                    .seen(disk.filesystem.value().cloned().unwrap_or_default(), disk.path.display().to_string())
                    .remedy(remedy::set(
                        *context,
                        "Keep them on a faster one",
                        "HF_HOME",
                        if context.on_windows() { "D:\\models" } else { "/path/on/a/fast/disk" },
                    ))
                    .remedy(Remedy::command("Or read them in one go", "llama-server --load-mode none ...")),
            ],
        }
    }
}
