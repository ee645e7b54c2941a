//! Asks whether this holds: the system does not hold the processor back.

use super::{Check, Context, Finding, Group, Remedy};
use crate::host::facts::Fact;

pub(super) struct PowerPlanFast;

impl Check for PowerPlanFast {
    fn id(&self) -> &'static str {
        "power-plan-fast"
    }
    fn title(&self) -> &'static str {
        "The system does not hold the processor back"
    }
    fn explanation(&self) -> &'static str {
        "Whatever runs on the processor (layers that do not fit the card, tokenizing, sampling) runs at its clock. Windows' \
         power saver plan, and Linux' governor `powersave` with the older drivers, keep it at its lowest. With \
         intel_pstate and amd-pstate the governor of that name is the usual one and holds nothing back."
    }
    fn group(&self) -> Group {
        Group::Performance
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        let plan = match &context.facts.host.power_plan {
            Fact::Unknown { unknown } => return vec![self.skip(unknown.clone())],
            Fact::Known { value, .. } => value,
        };
        if !matches!(plan.as_str(), "powersave" | "power saver") {
            return vec![self.pass(plan.clone())];
        }
        vec![if context.on_windows() {
            self.warn("Windows' power saver plan keeps the processor slow")
                .seen(plan.clone(), "registry")
                .remedy(Remedy::command("Choose the balanced plan", "powercfg /setactive SCHEME_BALANCED"))
        } else {
            self.warn("The governor `powersave` keeps the processor at its lowest clock")
                .seen(plan.clone(), "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
                .remedy(Remedy::command(
                    "Let it rise with the load, until the next start",
                    "echo schedutil | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor",
                ))
        }]
    }
}
