//! Asks whether this holds: builds and downloads have a folder that can be written.

use super::{Check, Context, Finding, Group, Remedy};
use crate::host::facts::DiskPurpose;

pub(super) struct StoreWritable;

impl Check for StoreWritable {
    fn id(&self) -> &'static str {
        "store-writable"
    }
    fn title(&self) -> &'static str {
        "Builds and downloads have a folder that can be written"
    }
    fn explanation(&self) -> &'static str {
        "Builds, downloads and caches of llama-doctor lie in one folder (`--home`, `LLAMA_DOCTOR_HOME`). It must \
         be writable for this user; a run with `sudo` once can leave it owned by root."
    }
    fn group(&self) -> Group {
        Group::Storage
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        let Some(disk) = context.facts.disks.iter().find(|disk| disk.purpose == DiskPurpose::Store) else {
            return vec![self.skip("not looked at")];
        };
        match disk.writable.value() {
            None => vec![self.skip("not known")],
            Some(true) => vec![self.pass(disk.path.display().to_string())],
            Some(false) => vec![
                self.warn(format!("`{}` cannot be written", disk.path.display()))
                    .remedy(Remedy::command("Make it yours", format!("sudo chown -R $USER {}", disk.path.display())))
                    .remedy(Remedy::advice("Or choose another folder with `--home DIR`")),
            ],
        }
    }
}
