//! Asks whether this holds: the GPU has memory left for a model.

use super::{Check, Context, Finding, Group, Needs, Remedy, remedy};
use crate::host::facts::{Gpu, GpuProcess};
use crate::units::Bytes;

pub(super) struct VramAvailable;

impl Check for VramAvailable {
    fn id(&self) -> &'static str {
        "vram-available"
    }
    fn title(&self) -> &'static str {
        "The GPU has memory left for a model"
    }
    fn explanation(&self) -> &'static str {
        "Programs, browsers and the desktop hold GPU memory. When more than half of a card is taken, or less than \
         2 GiB is left, a plan for this card shrinks to the rest. The driver lists who holds it; Windows does not \
         say how much each holds."
    }
    fn group(&self) -> Group {
        Group::Memory
    }
    fn needs(&self) -> Needs {
        Needs::Driver
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        let mut findings = Vec::new();
        for gpu in context.visible_gpus().filter(|gpu| crowded(gpu)) {
            let used = used(gpu);
            let summary = format!("{used} of {}'s {} are in use", gpu.id, gpu.total);
            let nothing_left = gpu.free.0 < gpu.total.0 / 20;
            let mut finding = if nothing_left { self.fail(summary) } else { self.warn(summary) };
            let mut holders: Vec<&GpuProcess> = gpu.processes.value().into_iter().flatten().collect();
            holders.sort_by_key(|process| std::cmp::Reverse(process.used));
            for process in holders.iter().take(4) {
                let held = process.used.map_or_else(|| "an unknown amount".to_owned(), |used| used.to_string());
                finding = finding.seen(format!("{} holds {held}", process.name), format!("process {}", process.pid));
            }
            let remedy = match holders.first().filter(|process| !process.graphics) {
                Some(process) => remedy::end(*context, process),
                None => Remedy::advice("End what you do not need, then plan again"),
            };
            findings.push(finding.remedy(remedy));
        }
        if findings.is_empty() {
            let free: Vec<String> =
                context.visible_gpus().map(|gpu| format!("{} of {} free", gpu.free, gpu.total)).collect();
            findings.push(self.pass(free.join(", ")));
        }
        findings
    }
}

fn used(gpu: &Gpu) -> Bytes {
    Bytes(gpu.total.0.saturating_sub(gpu.free.0))
}

/// Whether a plan for the card suffers from what it holds already.
pub(super) fn crowded(gpu: &Gpu) -> bool {
    // A card smaller than 4 GiB with a desktop on it has always little left.
    let full = gpu.free.gib() < 2.0 && used(gpu).0 > gpu.total.0 / 3;
    gpu.total.0 > 0 && (full || used(gpu).0 > gpu.total.0 / 2)
}
