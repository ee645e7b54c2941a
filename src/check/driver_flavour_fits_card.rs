//! Asks whether this holds: the driver's module is of the kind the card needs.

use super::{Check, Context, Family, Finding, Group, Needs, Remedy, remedy};
use crate::host::facts::PciGpu;
use crate::manifest::generations::{Generation, generation_of_device};

pub(super) struct DriverFlavourFitsCard;

impl Check for DriverFlavourFitsCard {
    fn id(&self) -> &'static str {
        "driver-flavour-fits-card"
    }
    fn title(&self) -> &'static str {
        "The driver's module is of the kind the card needs"
    }
    fn explanation(&self) -> &'static str {
        "NVIDIA's kernel module comes in two kinds. The open one knows Turing (RTX 20, GTX 16) and newer; \
         Blackwell (RTX 50) works with the open one alone. With the wrong kind the module loads and finds no \
         card. Detected from the PCI device number and from the module's own version text."
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
        let Some(open) = context.facts.kernel_driver.open_module.value() else {
            return vec![self.skip("no module of NVIDIA's is loaded")];
        };
        let of_bus = |card: &PciGpu| generation_of_device(&card.device);
        let generations: Vec<Generation> = context.pci_gpus().iter().filter_map(of_bus).collect();
        if generations.is_empty() {
            return vec![self.skip("the card's generation is not known")];
        }
        let wrong = generations.iter().find(|generation| {
            if *open { **generation < Generation::Turing } else { **generation >= Generation::Blackwell }
        });
        let Some(generation) = wrong else {
            return vec![self.pass(if *open { "the open module" } else { "the closed module" })];
        };
        let (here, needed) = if *open { ("open", "closed") } else { ("closed", "open") };
        let command = match (context.family(), *open) {
            (Family::Ubuntu, false) => "sudo apt install nvidia-driver-580-open",
            (Family::Ubuntu, true) => "sudo apt install nvidia-driver-580",
            (Family::Debian, false) => "sudo apt install nvidia-open-kernel-dkms",
            (Family::Debian, true) => "sudo apt install nvidia-kernel-dkms",
            (Family::Arch, false) => "sudo pacman -S nvidia-open",
            (Family::Arch, true) => "paru -S nvidia-580xx-dkms",
            (Family::Fedora | Family::RedHat, false) => "sudo dnf install akmod-nvidia-open",
            (Family::Fedora | Family::RedHat, true) => "sudo dnf install akmod-nvidia-580xx",
            _ => "",
        };
        vec![
            self.fail(format!(
                "A {} card needs the {needed} kernel module, and the {here} one is loaded",
                generation.name()
            ))
            .seen(format!("the {here} module"), "/proc/driver/nvidia/version")
            .remedy(Remedy::command(format!("Install the driver with the {needed} module"), command))
            .remedy(remedy::reboot()),
        ]
    }
}
