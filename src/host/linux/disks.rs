//! The file systems under the folders that matter, and the driver's cache of compiled kernels.

use std::path::{Path, PathBuf};

use super::system::free_space;
use crate::host::Host;
use crate::host::facts::{Disk, DiskPurpose, DriveKind, Fact, JitCache, Origin};

pub(in crate::host) fn disk(host: &Host, purpose: DiskPurpose, path: &Path) -> Disk {
    let existing = path.ancestors().find(|ancestor| host.path(ancestor).exists()).unwrap_or(Path::new("/"));
    let mounts = host.read_to_string("/proc/self/mounts");
    let mount = mounts.as_ref().ok().and_then(|text| mount_of(text, existing));
    let unknown = || mounts.as_ref().err().map_or_else(|| "no mount holds it".to_owned(), ToString::to_string);
    Disk {
        purpose,
        path: path.to_owned(),
        free: free_space(host, path),
        filesystem: mount
            .as_ref()
            .map_or_else(|| Fact::unknown(unknown()), |mount| Fact::known(mount.kind.clone(), Origin::Procfs)),
        noexec: mount
            .as_ref()
            .map_or_else(|| Fact::unknown(unknown()), |mount| Fact::known(mount.noexec, Origin::Procfs)),
        writable: Fact::known(super::kernel_driver::accessible(&host.path(existing)), Origin::File),
        drive: mount
            .as_ref()
            .map_or_else(|| Fact::unknown(unknown()), |mount| Fact::known(drive_kind(&mount.kind), Origin::Procfs)),
        rotational: mount.as_ref().map_or_else(|| Fact::unknown(unknown()), |mount| rotational(host, &mount.device)),
    }
}

/// By the file system: what lies on other machines, and in memory.
fn drive_kind(filesystem: &str) -> DriveKind {
    match filesystem {
        "nfs" | "nfs4" | "cifs" | "smb3" | "sshfs" | "fuse.sshfs" | "ceph" | "fuse.glusterfs" | "lustre" | "afs" => {
            DriveKind::Network
        }
        "tmpfs" | "ramfs" => DriveKind::Memory,
        "iso9660" | "udf" => DriveKind::Optical,
        _ => DriveKind::Fixed,
    }
}

struct Mount {
    device: String,
    kind: String,
    noexec: bool,
}

/// The longest mount point above the path; of equal ones the last, which hides the others.
fn mount_of(mounts: &str, path: &Path) -> Option<Mount> {
    mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ');
            let (device, point, kind, options) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
            let point = point.replace("\\040", " ");
            path.starts_with(&point).then(|| {
                let noexec = options.split(',').any(|option| option == "noexec");
                (point.len(), Mount { device: device.to_owned(), kind: kind.to_owned(), noexec })
            })
        })
        .max_by_key(|(length, _)| *length)
        .map(|(_, mount)| mount)
}

/// From `/sys/block`: the disk of a partition is the device whose name the partition's begins with.
fn rotational(host: &Host, device: &str) -> Fact<bool> {
    let Some(name) = device.strip_prefix("/dev/") else { return Fact::unknown("not on a disk of its own") };
    // Hypervisors show every disk as one with moving parts.
    if host.read_to_string("/proc/cpuinfo").is_ok_and(|text| text.contains(" hypervisor ")) {
        return Fact::unknown("a virtual machine does not know its disk");
    }
    let disks = fs_err::read_dir(host.path("/sys/block")).into_iter().flatten().flatten();
    let disk = disks
        .map(|disk| disk.file_name().to_string_lossy().into_owned())
        .filter(|disk| name.starts_with(disk.as_str()))
        .max_by_key(String::len);
    match disk.and_then(|disk| host.read_to_string(format!("/sys/block/{disk}/queue/rotational")).ok()) {
        Some(text) => Fact::known(text.trim() == "1", Origin::Sysfs),
        None => Fact::unknown("the kernel does not say"),
    }
}

/// Source: CUDA C++ Programming Guide, environment variables `CUDA_CACHE_*`, checked 2026-11-23.
pub(in crate::host) fn jit_cache(host: &Host) -> Fact<JitCache> {
    let from_variable = host.variable("CUDA_CACHE_PATH").map(PathBuf::from);
    let Some(path) = from_variable.or_else(|| Some(PathBuf::from(host.variable("HOME")?).join(".nv/ComputeCache")))
    else {
        return Fact::unknown("neither `HOME` nor `CUDA_CACHE_PATH` is set: the driver keeps nothing");
    };
    let existing = path.ancestors().find(|ancestor| host.path(ancestor).exists()).unwrap_or(Path::new("/"));
    let cache = JitCache {
        writable: super::kernel_driver::accessible(&host.path(existing)),
        disabled: host.text_variable("CUDA_CACHE_DISABLE").is_some_and(|value| value == "1"),
        max_size: host.text_variable("CUDA_CACHE_MAXSIZE").and_then(|value| value.parse().ok()),
        path,
    };
    Fact::known(cache, Origin::File)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_mount_wins() {
        let mounts =
            "/dev/sda1 / ext4 rw 0 0\ntmpfs /tmp tmpfs rw,noexec 0 0\n/dev/sdb1 /mnt/my\\040disk vfat rw 0 0\n";
        assert_eq!(mount_of(mounts, Path::new("/tmp/x")).unwrap().kind, "tmpfs");
        assert!(mount_of(mounts, Path::new("/tmp/x")).unwrap().noexec);
        assert_eq!(mount_of(mounts, Path::new("/tmpx")).unwrap().kind, "ext4");
        assert_eq!(mount_of(mounts, Path::new("/mnt/my disk/a")).unwrap().kind, "vfat");
    }
}
