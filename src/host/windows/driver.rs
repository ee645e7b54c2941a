//! The driver's libraries, its cache and the disks: what Linux asks of other places.

use std::path::{Path, PathBuf};

use super::system::system_folder;
use crate::host::Host;
use crate::host::facts::{Container, Disk, DiskPurpose, Fact, JitCache, KernelDriver, Origin, PciGpu, UserDriver, Wsl};
use crate::units::Bytes;

/// Windows lists its cards in the registry, with what it calls them.
pub(in crate::host) fn cards(_host: &Host) -> Fact<Vec<PciGpu>> {
    Fact::unknown("Windows lists cards in its registry")
}

/// Windows loads its kernel driver itself.
pub(in crate::host) fn kernel_driver(_host: &Host) -> KernelDriver {
    KernelDriver::default()
}

pub(in crate::host) fn user_driver(_host: &Host) -> UserDriver {
    let library = |name: &str| {
        let path = system_folder().join(name);
        if path.exists() {
            Fact::known(path, Origin::File)
        } else {
            Fact::unknown(format!("`{}` does not exist", path.display()))
        }
    };
    UserDriver {
        libcuda: library("nvcuda.dll"),
        library_version: Fact::unknown("Windows keeps library and kernel driver in step"),
        jit_compiler: Fact::unknown("it lies in the driver store"),
        other_libcuda: Vec::new(),
    }
}

pub(in crate::host) fn container(_host: &Host) -> Container {
    Container::default()
}

pub(in crate::host) fn wsl(_host: &Host, _libraries: &[PathBuf]) -> Option<Wsl> {
    None
}

pub(in crate::host) fn disk(_host: &Host, purpose: DiskPurpose, path: &Path) -> Disk {
    Disk {
        purpose,
        path: path.to_owned(),
        free: disk_free(path),
        filesystem: super::volume::filesystem(path),
        noexec: Fact::known(false, Origin::OperatingSystem),
        writable: writable(path),
        rotational: super::volume::rotational(path),
        drive: super::volume::drive(path),
    }
}

/// What this user may still write to the disk of `path`.
pub(super) fn disk_free(path: &Path) -> Fact<Bytes> {
    crate::host::disk::free(path).map_or_else(
        |error| Fact::unknown(format!("free space of `{}`: {error}", path.display())),
        |free| Fact::known(free, Origin::OperatingSystem),
    )
}

/// Access lists are too many to be read right: a file that Windows deletes on closing is the question itself.
fn writable(path: &Path) -> Fact<bool> {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let Some(folder) = absolute.ancestors().find(|folder| folder.is_dir()) else {
        return Fact::unknown(format!("`{}` is on no disk that is there", path.display()));
    };
    match tempfile::tempfile_in(folder) {
        Ok(_) => Fact::known(true, Origin::OperatingSystem),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            Fact::known(false, Origin::OperatingSystem)
        }
        Err(error) => Fact::unknown(error.to_string()),
    }
}

/// Source: CUDA C++ Programming Guide, environment variables `CUDA_CACHE_*`, checked 2026-11-23.
pub(in crate::host) fn jit_cache(host: &Host) -> Fact<JitCache> {
    let own = || Some(PathBuf::from(host.variable("APPDATA")?).join("NVIDIA").join("ComputeCache"));
    let Some(path) = host.variable("CUDA_CACHE_PATH").map(PathBuf::from).or_else(own) else {
        return Fact::unknown("neither `APPDATA` nor `CUDA_CACHE_PATH` is set");
    };
    let cache = JitCache {
        writable: true,
        disabled: host.text_variable("CUDA_CACHE_DISABLE").is_some_and(|value| value == "1"),
        max_size: host.text_variable("CUDA_CACHE_MAXSIZE").and_then(|value| value.parse().ok()),
        path,
    };
    Fact::known(cache, Origin::Environment)
}
