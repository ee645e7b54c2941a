//! Asks whether this holds: no abandoned downloads take room.

use super::{Check, Context, Finding, Group, Remedy};
use crate::host::facts::{PartialDownload};
use crate::units::{Bytes};

pub(super) struct NoStaleDownloads;

impl Check for NoStaleDownloads {
    fn id(&self) -> &'static str {
        "no-stale-downloads"
    }
    fn title(&self) -> &'static str {
        "No abandoned downloads take room"
    }
    fn explanation(&self) -> &'static str {
        "Downloads that did not end leave partial files: ours go on where they stopped, those of other tools \
         sometimes block every further attempt (a full-sized `*.downloadInProgress` makes llama.cpp's own \
         downloader fail with 416). Older than a day, nothing is likely to need them."
    }
    fn group(&self) -> Group {
        Group::Storage
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        let stale: Vec<&PartialDownload> = context.facts.partial_downloads.iter().filter(|partial| partial.age_seconds > 86_400).collect();
        let Some(first) = stale.first() else { return vec![self.pass("none")] };
        let total = Bytes(stale.iter().map(|partial| partial.size.0).sum());
        let finding = self
            .warn(format!("{} abandoned downloads hold {total}", stale.len()))
            .seen(format!("{}, {} days old", first.size, first.age_seconds / 86_400), first.path.display().to_string());
        let (remove, quoted) = if context.on_windows() { ("Remove-Item", format!("'{}'", first.path.display())) } else { ("rm", format!("'{}'", first.path.display())) };
        vec![if stale.iter().all(|partial| partial.ours) {
            finding.remedy(Remedy::automatic("Remove them"))
        } else {
            finding.remedy(Remedy::command("Remove it, if no download of it is running", format!("{remove} {quoted}")))
        }]
    }
}
