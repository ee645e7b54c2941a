//! Remedies that several checks give: the exact command for this distribution and shell.

use super::{Context, Family, Remedy};
use crate::host::facts::GpuProcess;
use crate::manifest::generations::Generation;

const DRIVER_PAGE: &str = "https://www.nvidia.com/drivers";

/// How to install the driver here. Turing and newer take the open kernel modules; older cards end with branch 580.
/// Source: NVIDIA's driver release notes of branches 560 and 590, checked 2026-11-23.
pub(super) fn install_driver(context: Context<'_>) -> Vec<Remedy> {
    driver(context, "the driver")
}

fn driver(context: Context<'_>, what: &str) -> Vec<Remedy> {
    let old_card = context.generations().iter().any(|generation| *generation < Generation::Turing);
    let what = if old_card { "the driver of branch 580, the last for this card" } else { what };
    let title = format!("Install {what}");
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
                "Set `services.xserver.videoDrivers = [ \"nvidia\" ]` and `hardware.graphics.enable = true`, then \
                 rebuild and reboot",
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
    driver(context, "a newer driver")
}

/// The driver's libraries for CUDA programs, which cut-down packages and containers leave out.
pub(super) fn compute_libraries(context: Context<'_>) -> Vec<Remedy> {
    let title = "Install the driver's compute part";
    if context.container().is_some() {
        return vec![Remedy::command(
            "Start the container with the driver's compute part",
            "docker run --gpus all -e NVIDIA_DRIVER_CAPABILITIES=compute,utility ...",
        )];
    }
    let branch = context.facts.driver.version.value().map_or(580, |version| version.branch);
    let command = match context.family() {
        Family::Ubuntu => format!("sudo apt install libnvidia-compute-{branch}"),
        Family::Debian => "sudo apt install libcuda1 libnvidia-ptxjitcompiler1".to_owned(),
        Family::Fedora => "sudo dnf install xorg-x11-drv-nvidia-cuda".to_owned(),
        Family::Arch => "sudo pacman -S nvidia-utils".to_owned(),
        Family::Suse => "sudo zypper install nvidia-compute-G06".to_owned(),
        _ => return install_driver(context),
    };
    vec![Remedy::command(title, command)]
}

/// The official build that every driver since 525 starts.
pub(super) fn take_cuda_12() -> Remedy {
    Remedy::command("Take the build for CUDA 12", "llama-doctor install --backend cuda-12")
}

/// The same remedies, as the second choice behind others.
pub(super) fn or(mut remedies: Vec<Remedy>) -> Vec<Remedy> {
    if let Some(first) = remedies.first_mut() {
        let mut letters = first.title.chars();
        let lowered: String = letters.next().into_iter().flat_map(char::to_lowercase).chain(letters).collect();
        first.title = format!("Or {lowered}");
    }
    remedies
}

/// Adds an option to the kernel's command line, from the next start on.
pub(super) fn kernel_option(context: Context<'_>, title: &str, option: &str) -> Remedy {
    let edit = format!("sudo sed -i 's/^GRUB_CMDLINE_LINUX=\"/&{option} /' /etc/default/grub");
    match context.family() {
        Family::Ubuntu | Family::Debian => Remedy::command(title, format!("{edit} && sudo update-grub")),
        Family::Fedora | Family::RedHat => {
            Remedy::command(title, format!("sudo grubby --update-kernel=ALL --args={option}"))
        }
        Family::Suse => Remedy::command(title, format!("{edit} && sudo grub2-mkconfig -o /boot/grub2/grub.cfg")),
        Family::Arch => Remedy::command(title, format!("{edit} && sudo grub-mkconfig -o /boot/grub/grub.cfg")),
        Family::Nixos => Remedy::advice(format!("{title}: `boot.kernelParams = [ \"{option}\" ]`")),
        Family::Alpine | Family::Windows | Family::Other => {
            Remedy::advice(format!("{title}: add `{option}` to the kernel's command line"))
        }
    }
}

/// The official container image, for systems that cannot run the archives.
pub(super) fn official_image() -> Remedy {
    Remedy::command(
        "Use the official image",
        "docker run --gpus all -p 8080:8080 -v ~/models:/models \
         ghcr.io/ggml-org/llama.cpp:server-cuda -m /models/...",
    )
}

/// Ends a process, or lets a server that has a command for it give the memory back.
pub(super) fn end(context: Context<'_>, process: &GpuProcess) -> Remedy {
    let name = process.name.to_lowercase();
    if name.starts_with("ollama") {
        return Remedy::command("Let Ollama give the memory back", "ollama stop MODEL");
    }
    let command = if context.on_windows() { "Stop-Process -Id" } else { "kill" };
    Remedy::command(format!("End {}, if you do not need it", process.name), format!("{command} {}", process.pid))
}

/// Sets a variable for the programs that are started next.
pub(super) fn set(context: Context<'_>, title: &str, name: &str, value: &str) -> Remedy {
    if context.on_windows() {
        return Remedy::command(title, format!("setx {name} '{value}'"));
    }
    Remedy::command(title, format!("export {name}={value}"))
}

/// Takes the folders whose name holds `sign` out of `LD_LIBRARY_PATH`.
pub(super) fn drop_from_library_path(sign: &str) -> Remedy {
    Remedy::command(
        "Take the folder out, here and where it is set",
        format!("export LD_LIBRARY_PATH=$(echo \"$LD_LIBRARY_PATH\" | tr ':' '\\n' | grep -v {sign} | paste -sd:)"),
    )
}

/// Takes a variable out of the shell that starts the server.
pub(super) fn unset(context: Context<'_>, name: &str) -> Remedy {
    if context.on_windows() {
        return Remedy::command(
            format!("Remove `{name}` here, and from System Properties > Environment Variables"),
            format!("Remove-Item Env:{name}"),
        );
    }
    Remedy::command(format!("Remove `{name}` here, and from the file that sets it"), format!("unset {name}"))
}

/// The packages of libraries that llama.cpp needs: Debian's, Fedora's, Arch's, SUSE's, Alpine's.
const PACKAGES: &[(&str, [&str; 5])] = &[
    ("libssl.so", ["libssl3", "openssl-libs", "openssl", "libopenssl3", "libssl3"]),
    ("libcrypto.so", ["libssl3", "openssl-libs", "openssl", "libopenssl3", "libcrypto3"]),
    ("libcurl.so", ["libcurl4", "libcurl", "curl", "libcurl4", "libcurl"]),
    ("libgomp.so", ["libgomp1", "libgomp", "gcc-libs", "libgomp1", "libgomp"]),
    ("libomp.so", ["libomp5", "libomp", "openmp", "libomp-devel", "openmp"]),
    ("libstdc++.so", ["libstdc++6", "libstdc++", "gcc-libs", "libstdc++6", "libstdc++"]),
    ("libgcc_s.so", ["libgcc-s1", "libgcc", "gcc-libs", "libgcc_s1", "libgcc"]),
    ("libvulkan.so", ["libvulkan1", "vulkan-loader", "vulkan-icd-loader", "libvulkan1", "vulkan-loader"]),
];

/// How to bring a library of the system.
pub(super) fn library(context: Context<'_>, name: &str) -> Remedy {
    if let Some((_, packages)) = PACKAGES.iter().find(|(start, _)| name.starts_with(start)) {
        return package(context, "Install it", *packages);
    }
    let title = format!("Find the package that holds `{name}`, and install it");
    match context.family() {
        Family::Ubuntu | Family::Debian => Remedy::command(title, format!("apt-file search {name}")),
        Family::Fedora | Family::RedHat => Remedy::command("Install it", format!("sudo dnf install '{name}()(64bit)'")),
        Family::Arch => Remedy::command(title, format!("pacman -F {name}")),
        Family::Suse => Remedy::command(title, format!("zypper search --provides '{name}()(64bit)'")),
        Family::Alpine => Remedy::command("Install it", format!("sudo apk add so:{name}")),
        Family::Nixos | Family::Windows | Family::Other => Remedy::advice(title),
    }
}

/// The command that installs a package of the distribution, by its names there: Debian's, Fedora's, Arch's, SUSE's,
/// Alpine's.
pub(super) fn package(context: Context<'_>, title: &str, names: [&str; 5]) -> Remedy {
    let [debian, fedora, arch, suse, alpine] = names;
    // An image runs as root, has no sudo, and its package lists are as old as it is.
    let container = context.container().is_some();
    let root = if container { "" } else { "sudo " };
    match context.family() {
        Family::Ubuntu | Family::Debian if container => {
            Remedy::command(title, format!("apt-get update && apt-get install -y {debian}"))
        }
        Family::Ubuntu | Family::Debian => Remedy::command(title, format!("sudo apt install {debian}")),
        Family::Fedora | Family::RedHat => Remedy::command(title, format!("{root}dnf install {fedora}")),
        Family::Arch => Remedy::command(title, format!("{root}pacman -S {arch}")),
        Family::Suse => Remedy::command(title, format!("{root}zypper install {suse}")),
        Family::Alpine => Remedy::command(title, format!("{root}apk add {alpine}")),
        Family::Nixos | Family::Windows | Family::Other => {
            Remedy::advice(format!("{title}: `{debian}` in Debian's naming"))
        }
    }
}
