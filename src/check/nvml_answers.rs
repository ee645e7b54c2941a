//! Asks whether this holds: the driver answers.

use super::{Check, Context, Finding, Group, Needs, Remedy, remedy};
use crate::host::facts::Fact;
use crate::host::nvml_code::meaning;

pub(super) struct NvmlAnswers;

impl Check for NvmlAnswers {
    fn id(&self) -> &'static str {
        "nvml-answers"
    }
    fn title(&self) -> &'static str {
        "The driver answers"
    }
    fn explanation(&self) -> &'static str {
        "NVML is the driver's own library for questions; `nvidia-smi` prints its answers. When it refuses, its \
         return code is the best hint there is: 9 means that the kernel driver is not loaded, 4 that this user \
         may not ask, 12 that a library is missing, 999 that the driver itself is confused, often after a suspend \
         or a failed update."
    }
    fn group(&self) -> Group {
        Group::Driver
    }
    fn needs(&self) -> Needs {
        Needs::Card
    }
    fn breaks_driver(&self) -> bool {
        true
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        let driver = &context.facts.driver;
        if let Some(gpu) = driver.unreadable.first() {
            let summary = format!("A card does not answer: {}", gpu.reason);
            let finding = if context.facts.gpus.is_empty() { self.fail(summary) } else { self.warn(summary) };
            return vec![finding.seen(format!("NVML number {}", gpu.index), "NVML").remedy(remedy::reboot())];
        }
        match (&driver.nvml, driver.nvml_code) {
            (Fact::Known { value, .. }, _) => vec![self.pass(value.display().to_string())],
            (Fact::Unknown { .. }, Some(code)) => {
                let finding = self
                    .fail(format!("The driver does not answer: {}", meaning(code)))
                    .seen(format!("NVML {code}"), "NVML");
                let finding = if code == 9 && context.on_windows() {
                    finding.remedies(remedy::install_driver(*context))
                } else if code == 9 && context.on_real_linux() && context.container().is_none() {
                    finding.remedy(Remedy::command("Load the module", "sudo modprobe nvidia"))
                } else if context.container().is_some() {
                    finding.remedy(Remedy::advice(
                        "Restart the container; if that does not help, look at the host's driver",
                    ))
                } else {
                    finding.remedy(remedy::reboot())
                };
                vec![finding]
            }
            (Fact::Unknown { unknown }, None)
                if context.facts.gpus.is_empty() && context.facts.user_driver.libcuda.value().is_none() =>
            {
                let finding =
                    self.fail("The driver's library NVML cannot be loaded").seen(unknown.clone(), "the loader");
                vec![finding.remedies(remedy::install_driver(*context))]
            }
            (Fact::Unknown { unknown }, None) => vec![self.skip(format!("NVML was not asked: {unknown}"))],
        }
    }
}
