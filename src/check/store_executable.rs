//! Asks whether this holds: programs in our folder may run.

use super::{Check, Context, Finding, Group, remedy};
use crate::host::facts::DiskPurpose;

pub(super) struct StoreExecutable;

impl Check for StoreExecutable {
    fn id(&self) -> &'static str {
        "store-executable"
    }
    fn title(&self) -> &'static str {
        "Programs in our folder may run"
    }
    fn explanation(&self) -> &'static str {
        "A file system mounted with `noexec` runs no program: `Permission denied` although the file's mode is \
         right. `/tmp`, removable disks and home folders of shared machines are often mounted so."
    }
    fn group(&self) -> Group {
        Group::Storage
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        let Some(disk) = context.facts.disks.iter().find(|disk| disk.purpose == DiskPurpose::Store) else {
            return vec![self.skip("not looked at")];
        };
        match disk.noexec.value() {
            None => vec![self.skip("the mount's options are not known")],
            Some(false) => vec![self.pass("programs may run there")],
            Some(true) => vec![
                self.warn(format!("Programs under `{}` may not run: it is mounted with noexec", disk.path.display()))
                    .remedy(remedy::set(*context, "Choose another folder", "LLAMA_DOCTOR_HOME", "/opt/llama-doctor")),
            ],
        }
    }
}
