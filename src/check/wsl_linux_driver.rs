//! Asks whether this holds: no Linux driver is installed inside WSL.

use super::{Check, Context, Family, Finding, Group, Remedy};

pub(super) struct WslLinuxDriver;

impl Check for WslLinuxDriver {
    fn id(&self) -> &'static str {
        "wsl-linux-driver"
    }
    fn title(&self) -> &'static str {
        "No Linux driver is installed inside WSL"
    }
    fn explanation(&self) -> &'static str {
        "WSL uses Windows' driver through `/usr/lib/wsl/lib`. A Linux driver package inside the distribution puts \
         its own `libcuda.so.1` in front of it, which finds no kernel module and fails. The `cuda` and \
         `cuda-drivers` packages of the Linux repositories bring one along; `cuda-toolkit-*` does not.\n\nRemove \
         the driver packages only; the toolkit may stay."
    }
    fn group(&self) -> Group {
        Group::Containers
    }
    fn breaks_driver(&self) -> bool {
        true
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        let Some(wsl) = &context.facts.wsl else { return vec![self.skip("not WSL")] };
        if context.container().is_some() {
            return vec![self.skip("a container's libraries are mounted by its runtime")];
        }
        let Some(library) = wsl.linux_driver.first() else { return vec![self.pass("only Windows' driver is here")] };
        let command = match context.family() {
            Family::Fedora | Family::RedHat => "sudo dnf remove 'nvidia-driver*' 'libnvidia*'",
            Family::Arch => "sudo pacman -R nvidia-utils",
            _ => "sudo apt purge 'libnvidia-*' 'nvidia-driver-*' cuda-drivers",
        };
        vec![
            self.fail("A Linux driver is installed inside WSL and hides Windows' one")
                .seen("a whole driver library outside /usr/lib/wsl", library.display().to_string())
                .remedy(Remedy::command("Remove the driver's packages, not the toolkit's", command))
                .remedy(Remedy::command("Then refresh the loader's cache", "sudo ldconfig")),
        ]
    }
}
