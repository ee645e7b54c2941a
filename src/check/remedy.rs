//! Remedies that several checks give: the exact command for this distribution and shell.

use super::{Context, Family, Remedy};
use crate::manifest::generations::Generation;

const DRIVER_PAGE: &str = "https://www.nvidia.com/drivers";

/// How to install the driver here. Turing and newer take the open kernel modules; older cards end with branch 580.
/// Source: NVIDIA's driver release notes of branches 560 and 590, checked 2026-11-23.
pub(super) fn install_driver(context: Context<'_>) -> Vec<Remedy> {
    let old_card = context.generations().iter().any(|generation| *generation < Generation::Turing);
    let title =
        if old_card { "Install the driver of branch 580, the last for this card" } else { "Install the driver" };
    let command = match (context.family(), old_card) {
        (Family::Ubuntu, false) => "sudo ubuntu-drivers install",
        (Family::Ubuntu, true) => "sudo apt install nvidia-driver-580",
        (Family::Debian, false) => "sudo apt install nvidia-open-kernel-dkms nvidia-driver",
        (Family::Debian, true) => "sudo apt install nvidia-driver",
        (Family::Fedora, false) => "sudo dnf install akmod-nvidia xorg-x11-drv-nvidia-cuda",
        (Family::Fedora, true) => "sudo dnf install akmod-nvidia-580xx xorg-x11-drv-nvidia-580xx-cuda",
        (Family::RedHat, false) => "sudo dnf module install nvidia-driver:open-dkms",
        (Family::RedHat, true) => "sudo dnf module install nvidia-driver:580-dkms",
        (Family::Arch, false) => "sudo pacman -S nvidia-open nvidia-utils",
        (Family::Arch, true) => "paru -S nvidia-580xx-dkms nvidia-580xx-utils",
        (Family::Suse, _) => "sudo zypper install nvidia-open-driver-G06-signed-kmp-default nvidia-compute-utils-G06",
        (Family::Nixos, _) => {
            return vec![Remedy::advice(
                "Set `services.xserver.videoDrivers = [ \"nvidia\" ]` and `hardware.graphics.enable = true`, then rebuild and reboot",
            )];
        }
        (Family::Windows, _) => {
            return vec![Remedy::command(
                format!("{title}: Game Ready or Studio, from {DRIVER_PAGE}"),
                format!("start {DRIVER_PAGE}"),
            )];
        }
        (Family::Alpine | Family::Other, _) => {
            return vec![Remedy::advice(format!("{title} as your distribution describes it, or from {DRIVER_PAGE}"))];
        }
    };
    vec![Remedy::command(title, command), reboot()]
}

pub(super) fn reboot() -> Remedy {
    Remedy::command("Restart the machine", "sudo reboot")
}

/// How to bring the driver up to date.
pub(super) fn update_driver(context: Context<'_>) -> Vec<Remedy> {
    if context.facts.wsl.is_some() {
        return vec![
            Remedy::advice(format!("Install a newer driver in Windows, from {DRIVER_PAGE}; none inside WSL")),
            Remedy::command("Then restart WSL, in PowerShell", "wsl --shutdown"),
        ];
    }
    if context.container().is_some() {
        return vec![Remedy::advice("Update the driver on the host: the container borrows it")];
    }
    install_driver(context)
}

/// Takes a variable out of the shell that starts the server.
pub(super) fn unset(context: Context<'_>, name: &str) -> Remedy {
    if context.on_windows() {
        return Remedy::command(
            format!("Remove `{name}` here, and from System Properties › Environment Variables"),
            format!("Remove-Item Env:{name}"),
        );
    }
    Remedy::command(format!("Remove `{name}` here, and from the file that sets it"), format!("unset {name}"))
}

/// The command that installs a package of the distribution, by its names there: Debian's, Fedora's, Arch's, SUSE's, Alpine's.
pub(super) fn package(context: Context<'_>, title: &str, names: [&str; 5]) -> Remedy {
    let [debian, fedora, arch, suse, alpine] = names;
    match context.family() {
        Family::Ubuntu | Family::Debian => Remedy::command(title, format!("sudo apt install {debian}")),
        Family::Fedora | Family::RedHat => Remedy::command(title, format!("sudo dnf install {fedora}")),
        Family::Arch => Remedy::command(title, format!("sudo pacman -S {arch}")),
        Family::Suse => Remedy::command(title, format!("sudo zypper install {suse}")),
        Family::Alpine => Remedy::command(title, format!("sudo apk add {alpine}")),
        Family::Nixos | Family::Windows | Family::Other => {
            Remedy::advice(format!("{title}: `{debian}` in Debian's naming"))
        }
    }
}
