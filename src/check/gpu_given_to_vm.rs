//! Asks whether this holds: the card is not reserved for a virtual machine.

use super::{Check, Context, Finding, Group, Needs, Remedy};
use crate::host::facts::PciGpu;

pub(super) struct GpuGivenToVm;

impl Check for GpuGivenToVm {
    fn id(&self) -> &'static str {
        "gpu-given-to-vm"
    }
    fn title(&self) -> &'static str {
        "The card is not reserved for a virtual machine"
    }
    fn explanation(&self) -> &'static str {
        "A card that is bound to `vfio-pci` or `pci-stub` belongs to virtual machines: the host's driver may not \
         touch it, so CUDA does not see it here. Read from the PCI device's driver link.\n\nGive it back in the \
         settings that reserve it (kernel options `vfio-pci.ids=...`, a libvirt hook), or run llama.cpp inside the \
         virtual machine."
    }
    fn group(&self) -> Group {
        Group::Hardware
    }
    fn needs(&self) -> Needs {
        Needs::Card
    }
    fn breaks_driver(&self) -> bool {
        true
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        let reserved = |card: &&PciGpu| matches!(card.driver.as_deref(), Some("vfio-pci" | "pci-stub"));
        let cards = context.pci_gpus();
        if cards.is_empty() {
            return vec![self.skip("no PCI bus to look at")];
        }
        let Some(card) = cards.iter().find(reserved) else { return vec![self.pass("no card is reserved")] };
        let driver = card.driver.as_deref().unwrap_or_default();
        let summary = format!("The card at {} is reserved for virtual machines ({driver})", card.address);
        let finding = if cards.iter().all(|card| reserved(&card)) { self.fail(summary) } else { self.warn(summary) };
        vec![finding.seen(format!("driver {driver}"), format!("/sys/bus/pci/devices/{}/driver", card.address)).remedy(
            Remedy::advice("Take its id out of the kernel option `vfio-pci.ids`, or use it inside the virtual machine"),
        )]
    }
}
