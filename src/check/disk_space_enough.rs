//! Asks whether this holds: there is room for a build and a model.

use super::{Check, Context, Finding, Group, Remedy};
use crate::host::facts::DiskPurpose;

pub(super) struct DiskSpaceEnough;

impl Check for DiskSpaceEnough {
    fn id(&self) -> &'static str {
        "disk-space-enough"
    }
    fn title(&self) -> &'static str {
        "There is room for a build and a model"
    }
    fn explanation(&self) -> &'static str {
        "A CUDA build with its libraries takes about 1.5 GiB, a model 4 to 40 GiB. Downloads and installations check \
         the room before they begin; a disk that is full in the middle of other work is known beforehand here."
    }
    fn group(&self) -> Group {
        Group::Storage
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        let mut findings = Vec::new();
        for disk in &context.facts.disks {
            let least = if disk.purpose == DiskPurpose::Models { 5.0 } else { 2.0 };
            let Some(free) = disk.free.value() else { continue };
            if free.gib() < least {
                let what = if disk.purpose == DiskPurpose::Models { "models" } else { "builds" };
                findings.push(
                    self.warn(format!("Only {free} is free for {what}"))
                        .seen(format!("{free} free"), disk.path.display().to_string())
                        .remedy(Remedy::command(
                            "See what takes the room",
                            format!("du -sh {}/*", disk.path.display()),
                        )),
                );
            }
        }
        if findings.is_empty() {
            let free = context.facts.disks.iter().find_map(|disk| disk.free.value());
            findings.push(
                free.map_or_else(|| self.skip("the free space is not known"), |free| self.pass(format!("{free} free"))),
            );
        }
        findings
    }
}
