//! Asks whether this holds: the card is not a slice of a shared one.

use super::{Check, Context, Finding, Group, Needs, Remedy};
use crate::host::facts::Gpu;

pub(super) struct VgpuLicensed;

impl Check for VgpuLicensed {
    fn id(&self) -> &'static str {
        "vgpu-licensed"
    }
    fn title(&self) -> &'static str {
        "The card is not a slice of a shared one"
    }
    fn explanation(&self) -> &'static str {
        "A virtual GPU (vGPU) is a slice of a card that a hypervisor hands out. Without a licence NVIDIA's driver \
         slows it down after some minutes, and its driver must come from the host's branch. Its memory is fixed \
         by its profile."
    }
    fn group(&self) -> Group {
        Group::Performance
    }
    fn needs(&self) -> Needs {
        Needs::Driver
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        let known: Vec<&Gpu> = context.visible_gpus().filter(|gpu| gpu.virtualization.value().is_some()).collect();
        if known.is_empty() {
            return vec![self.skip("the driver does not say")];
        }
        match known.iter().find(|gpu| gpu.virtualization.value().is_some_and(|mode| mode == "vgpu")) {
            None => vec![self.pass("a whole card")],
            Some(gpu) => vec![
                self.warn(format!("{} is a virtual GPU: without a licence the driver slows it down", gpu.id))
                    .remedy(Remedy::command("See its licence", "nvidia-smi -q | grep -i -A2 license")),
            ],
        }
    }
}
