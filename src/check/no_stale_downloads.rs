//! Asks whether this holds: no abandoned downloads take room.

use super::{Check, Context, Finding, Group, Remedy, counted};
use crate::host::facts::PartialDownload;
use crate::units::Bytes;

pub(super) struct NoStaleDownloads;

/// Files beyond these are only counted.
const MOST_SHOWN: usize = 4;
const DAY_SECONDS: u64 = 86_400;

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
        let stale: Vec<&PartialDownload> =
            context.facts.partial_downloads.iter().filter(|partial| partial.age_seconds > DAY_SECONDS).collect();
        if stale.is_empty() {
            return vec![self.pass("none")];
        }
        let total = Bytes(stale.iter().map(|partial| partial.size.0).sum());
        let mut finding = self.warn(format!("Abandoned downloads hold {total}"));
        for partial in stale.iter().take(MOST_SHOWN) {
            let age_days = partial.age_seconds / DAY_SECONDS;
            let seen = format!("{}, {}", partial.size, counted(age_days, "day old", "days old"));
            finding = finding.seen(seen, partial.path.display().to_string());
        }
        if stale.iter().any(|partial| partial.ours) {
            finding = finding.remedy(Remedy::automatic("Set ours aside"));
        }
        let of_others: Vec<String> = stale
            .iter()
            .filter(|partial| !partial.ours)
            .take(MOST_SHOWN)
            .map(|partial| format!("'{}'", partial.path.display()))
            .collect();
        if !of_others.is_empty() {
            let command = if context.on_windows() {
                format!("Remove-Item {}", of_others.join(", "))
            } else {
                format!("rm {}", of_others.join(" "))
            };
            finding = finding.remedy(Remedy::command("Remove those of other programs, if none is running", command));
        }
        vec![finding]
    }
}
