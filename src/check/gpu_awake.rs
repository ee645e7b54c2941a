//! Asks whether this holds: the card is awake.

use super::{Check, Context, Finding, Group, Needs, Remedy};
use crate::host::facts::PciGpu;

pub(super) struct GpuAwake;

impl Check for GpuAwake {
    fn id(&self) -> &'static str {
        "gpu-awake"
    }
    fn title(&self) -> &'static str {
        "The card is awake"
    }
    fn explanation(&self) -> &'static str {
        "Laptops with two graphics chips put NVIDIA's card to sleep. The first program that uses CUDA wakes it, \
         which takes seconds. The state is read from a file that does not wake it. Normal, and worth a word only \
         when the driver does not see the card because of it."
    }
    fn group(&self) -> Group {
        Group::Hardware
    }
    fn needs(&self) -> Needs {
        Needs::Driver
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        let asleep = |card: &&PciGpu| card.runtime_status.as_deref() == Some("suspended");
        let cards = context.pci_gpus();
        if cards.is_empty() {
            return vec![self.skip("no PCI bus to look at")];
        }
        if !cards.iter().any(|card| asleep(&card)) {
            return vec![self.pass("no card sleeps")];
        }
        if !context.facts.gpus.is_empty() {
            return vec![self.pass("a card sleeps when idle: the first start takes some seconds more")];
        }
        vec![
            self.warn("The card sleeps, and the driver does not show it")
                .seen("runtime_status is suspended", "/sys/bus/pci/devices")
                .remedy(Remedy::command("Wake it", "nvidia-smi"))
                .remedy(Remedy::command(
                    "If it stays away, keep it from deep sleep, then restart",
                    "echo 'options nvidia NVreg_DynamicPowerManagement=0x00' \
                 | sudo tee /etc/modprobe.d/nvidia-power.conf",
                )),
        ]
    }
}
