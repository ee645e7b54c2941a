//! Asks whether this holds: the card lets programs share it.

use super::{Check, Context, Finding, Group, Needs, Remedy};

pub(super) struct ComputeModeShared;

impl Check for ComputeModeShared {
    fn id(&self) -> &'static str {
        "compute-mode-shared"
    }
    fn title(&self) -> &'static str {
        "The card lets programs share it"
    }
    fn explanation(&self) -> &'static str {
        "A card in compute mode `prohibited` takes no CUDA program; in `exclusive-process` it takes one, and the \
         next gets `all CUDA-capable devices are busy or unavailable` (46). The mode is set by an administrator \
         with `nvidia-smi -c`."
    }
    fn group(&self) -> Group {
        Group::Driver
    }
    fn needs(&self) -> Needs {
        Needs::Driver
    }
    fn breaks_driver(&self) -> bool {
        true
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        let mut findings = Vec::new();
        for gpu in context.visible_gpus() {
            match gpu.compute_mode.value().map(String::as_str) {
                Some("prohibited") => findings.push(
                    self.fail(format!("{} takes no CUDA programs: its compute mode is `prohibited`", gpu.id))
                        .remedy(Remedy::command("Set it back", "sudo nvidia-smi -c 0")),
                ),
                Some("exclusive-process" | "exclusive-thread") => findings.push(
                    self.warn(format!("{} takes one CUDA program at a time: its compute mode is exclusive", gpu.id))
                        .remedy(Remedy::command("Set it back, if more than one is wanted", "sudo nvidia-smi -c 0")),
                ),
                _ => {}
            }
        }
        if findings.is_empty() {
            let known = context.visible_gpus().any(|gpu| gpu.compute_mode.value().is_some());
            findings.push(if known { self.pass("shared") } else { self.skip("the driver does not say") });
        }
        findings
    }
}
