//! Asks whether this holds: Secure Boot lets the driver's module in.

use super::{Check, Context, Family, Finding, Group, Needs, Remedy, remedy};

pub(super) struct SecureBootBlocksModule;

impl Check for SecureBootBlocksModule {
    fn id(&self) -> &'static str {
        "secure-boot-blocks-module"
    }
    fn title(&self) -> &'static str {
        "Secure Boot lets the driver's module in"
    }
    fn explanation(&self) -> &'static str {
        "With Secure Boot on, the kernel loads only modules signed by a key that the firmware knows. A module \
         that DKMS built is signed by the machine's own key, which must be enrolled once at the firmware's \
         screen. Detected by Secure Boot on, a module file present, and no module loaded; the kernel log says \
         `Key was rejected by service`.\n\nEnrol the key (the machine asks for a password at the next start), or \
         use the distribution's signed modules. Switching Secure Boot off works too."
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
        let kernel = &context.facts.kernel_driver;
        if context.container().is_some() || !context.on_real_linux() || kernel.module_loaded.value() == Some(&true) {
            return vec![self.skip("the module is loaded, or not this system's own")];
        }
        match kernel.secure_boot.value() {
            None => return vec![self.skip("the firmware's setting cannot be read; `mokutil --sb-state` tells it")],
            Some(false) => return vec![self.pass("Secure Boot is off")],
            Some(true) => {}
        }
        let key = match context.family() {
            Family::Ubuntu => "/var/lib/shim-signed/mok/MOK.der",
            Family::Fedora | Family::RedHat => "/etc/pki/akmods/certs/public_key.der",
            _ => "/var/lib/dkms/mok.pub",
        };
        vec![
            self.fail("Secure Boot keeps the driver's module out: its key is not enrolled")
                .seen("Secure Boot is on, the module is on the disk, and it is not loaded", "/sys/firmware/efi/efivars")
                .remedy(Remedy::command(
                    "Enrol the key; the next start asks for the password you choose",
                    format!("sudo mokutil --import {key}"),
                ))
                .remedy(remedy::reboot()),
        ]
    }
}
