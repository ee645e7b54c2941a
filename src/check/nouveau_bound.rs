//! Asks whether this holds: the open-source driver nouveau does not hold the card.

use super::{Check, Context, Family, Finding, Group, Needs, Remedy, remedy};

pub(super) struct NouveauBound;

impl Check for NouveauBound {
    fn id(&self) -> &'static str {
        "nouveau-bound"
    }
    fn title(&self) -> &'static str {
        "The open-source driver nouveau does not hold the card"
    }
    fn explanation(&self) -> &'static str {
        "nouveau and nova drive displays and know no CUDA. While one of them is bound to the card, NVIDIA's own \
         module cannot load. Read from the PCI device's driver link.\n\nKeep nouveau from loading, rebuild the \
         start-up image, install NVIDIA's driver, restart."
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
        if context.container().is_some() || !context.on_real_linux() {
            return vec![self.skip("the driver is not this system's own")];
        }
        let held = context
            .pci_gpus()
            .iter()
            .find(|card| matches!(card.driver.as_deref(), Some("nouveau" | "nova" | "nova_core")));
        let Some(card) = held else { return vec![self.pass("nouveau holds no card")] };
        let update_image = match context.family() {
            Family::Fedora | Family::RedHat | Family::Suse => "sudo dracut --force",
            Family::Arch => "sudo mkinitcpio -P",
            _ => "sudo update-initramfs -u",
        };
        vec![
            self.fail("The open-source driver nouveau holds the card: it knows no CUDA")
                .seen(
                    format!("driver {}", card.driver.as_deref().unwrap_or_default()),
                    format!("/sys/bus/pci/devices/{}/driver", card.address),
                )
                .remedy(Remedy::command(
                    "Keep nouveau from loading",
                    format!(
                        "printf 'blacklist nouveau\\noptions nouveau modeset=0\\n' \
                     | sudo tee /etc/modprobe.d/blacklist-nouveau.conf && {update_image}"
                    ),
                ))
                .remedies(remedy::install_driver(*context)),
        ]
    }
}
