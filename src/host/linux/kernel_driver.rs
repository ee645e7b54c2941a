//! The kernel's side of NVIDIA's driver: modules, device nodes, the firmware's Secure Boot, the kernel log.

use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::host::Host;
use crate::host::facts::{DeviceNode, Fact, KernelDriver, Origin};
use crate::units::DriverVersion;

pub(in crate::host) fn kernel_driver(host: &Host) -> KernelDriver {
    let loaded = |module: &str| Fact::known(host.path(format!("/sys/module/{module}")).exists(), Origin::Sysfs);
    let version_text = host.read_to_string("/proc/driver/nvidia/version");
    let release = host.read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let (module_files, other_kernels_with_module) = modules(host, release.trim());
    KernelDriver {
        module_loaded: loaded("nvidia"),
        module_version: match &version_text {
            Ok(text) => module_version(text).map_or_else(
                || Fact::unknown("`/proc/driver/nvidia/version` names no version"),
                |version| Fact::known(version, Origin::Procfs),
            ),
            Err(error) => Fact::unknown(error.to_string()),
        },
        open_module: match &version_text {
            Ok(text) => Fact::known(text.contains("Open Kernel Module"), Origin::Procfs),
            Err(error) => Fact::unknown(error.to_string()),
        },
        module_files,
        other_kernels_with_module,
        uvm_loaded: loaded("nvidia_uvm"),
        nouveau_loaded: loaded("nouveau"),
        secure_boot: secure_boot(host),
        device_nodes: device_nodes(host),
        messages: messages(host),
    }
}

/// `NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.14  Thu Feb 22 …`: the first word that is a version.
fn module_version(text: &str) -> Option<DriverVersion> {
    text.lines().next()?.split_whitespace().find_map(|word| word.parse().ok())
}

/// The module's files for the running kernel, and the other kernels that have one.
fn modules(host: &Host, release: &str) -> (Fact<Vec<PathBuf>>, Vec<String>) {
    let kernels = match fs_err::read_dir(host.path("/lib/modules")) {
        Ok(kernels) => kernels,
        Err(error) => return (Fact::unknown(error.to_string()), Vec::new()),
    };
    let mut here = Vec::new();
    let mut others = Vec::new();
    for kernel in kernels.flatten() {
        let files = nvidia_modules(&kernel.path());
        let name = kernel.file_name().to_string_lossy().into_owned();
        if name == release {
            here = files;
        } else if !files.is_empty() {
            others.push(name);
        }
    }
    others.sort();
    (Fact::known(here, Origin::File), others)
}

/// Looks where distributions put it; a walk through the whole tree would take long.
fn nvidia_modules(kernel: &Path) -> Vec<PathBuf> {
    let folders = [
        "updates/dkms",
        "updates",
        "extra",
        "extra/nvidia",
        "extramodules",
        "kernel/drivers/video",
        "misc",
        "kernel/drivers/video/nvidia",
        "kernel/nvidia-570",
        "kernel/nvidia-580",
        "kernel/nvidia-580-open",
        "weak-updates",
    ];
    let mut found = Vec::new();
    for folder in folders {
        for suffix in ["", ".zst", ".xz", ".gz"] {
            for name in ["nvidia.ko", "nvidia-current.ko"] {
                let file = kernel.join(folder).join(format!("{name}{suffix}"));
                if file.exists() {
                    found.push(file);
                }
            }
        }
    }
    found
}

/// The firmware's variable: four bytes of attributes, then 1 when it is on.
fn secure_boot(host: &Host) -> Fact<bool> {
    let file = host.path("/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c");
    if !host.path("/sys/firmware/efi").exists() {
        return Fact::known(false, Origin::Sysfs);
    }
    match fs_err::read(file) {
        Ok(bytes) => Fact::known(bytes.get(4) == Some(&1), Origin::Sysfs),
        Err(error) => Fact::unknown(error.to_string()),
    }
}

fn device_nodes(host: &Host) -> Fact<Vec<DeviceNode>> {
    let entries = match fs_err::read_dir(host.path("/dev")) {
        Ok(entries) => entries,
        Err(error) => return Fact::unknown(error.to_string()),
    };
    let is_node = |name: &str| {
        name.strip_prefix("nvidia").is_some_and(|rest| {
            matches!(rest, "ctl" | "-uvm" | "-uvm-tools" | "-modeset") || rest.parse::<u32>().is_ok()
        })
    };
    let mut nodes: Vec<DeviceNode> = entries
        .flatten()
        .filter(|entry| is_node(&entry.file_name().to_string_lossy()))
        .map(|entry| {
            let mode = entry.metadata().map_or_else(
                |error| error.to_string(),
                |data| format!("{:04o} {}:{}", data.mode() & 0o7777, data.uid(), data.gid()),
            );
            let path = Path::new("/dev").join(entry.file_name());
            DeviceNode { accessible: accessible(&entry.path()), path, mode }
        })
        .collect();
    nodes.sort_by(|one, other| one.path.cmp(&other.path));
    Fact::known(nodes, Origin::File)
}

/// Asks for the right without opening: opening a device can wake its card.
pub(super) fn accessible(path: &Path) -> bool {
    use std::os::unix::ffi::OsStrExt as _;
    let Ok(path) = std::ffi::CString::new(path.as_os_str().as_bytes()) else { return false };
    #[expect(unsafe_code, reason = "the standard library does not ask for rights")]
    // SAFETY: the path is NUL-terminated.
    let answer = unsafe { libc::access(path.as_ptr(), libc::R_OK | libc::W_OK) };
    answer == 0
}

/// The driver's lines of the kernel log; many systems let only root read it.
fn messages(host: &Host) -> Fact<Vec<String>> {
    if !matches!(host, Host::Live) {
        return Fact::default();
    }
    let opened = std::fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open("/dev/kmsg");
    let mut log = match opened {
        Ok(log) => log,
        Err(error) => return Fact::unknown(format!("the kernel log cannot be read: {error}")),
    };
    let mut found = Vec::new();
    let mut record = vec![0; 8192];
    // Each read gives one record, and the end of the log an error. The cap ends a log that grows as fast as it is read.
    for _ in 0..200_000 {
        match log.read(&mut record) {
            Ok(0) => break,
            Ok(length) => {
                let text = String::from_utf8_lossy(&record[..length]);
                let line = text.split_once(';').map_or("", |(_, message)| message).lines().next().unwrap_or_default();
                if is_of_driver(line) && found.len() < 50 {
                    found.push(line.to_owned());
                }
            }
            // A record that was overwritten meanwhile.
            Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {}
            Err(_) => break,
        }
    }
    Fact::known(found, Origin::File)
}

/// The lines that checks know how to read; driver greetings and the rest of the log are nobody's business.
fn is_of_driver(line: &str) -> bool {
    [
        "NVRM: Xid",
        "requires use of the NVIDIA open kernel modules",
        "is not supported by open nvidia.ko",
        "Legacy drivers",
        "RmInitAdapter failed",
        "power cables",
        "request_free_mem_region",
        "fallen off the bus",
        "Loading of unsigned module is rejected",
    ]
    .iter()
    .any(|sign| line.contains(sign))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_both_modules_are_read() {
        let closed =
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.14  Thu Feb 22 01:44:30 UTC 2024\nGCC version: 13";
        assert_eq!(module_version(closed).unwrap().to_string(), "550.54.14");
        let open = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build";
        assert_eq!(module_version(open).unwrap().to_string(), "580.95.05");
        assert_eq!(module_version(""), None);
    }

    #[test]
    fn only_telling_lines_of_the_log_are_kept() {
        assert!(is_of_driver("NVRM: Xid (PCI:0000:01:00): 79, pid=1, GPU has fallen off the bus."));
        assert!(!is_of_driver("audit: user alice logged in"));
    }
}
