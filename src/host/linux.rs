//! Linux: what the kernel, the C library and the distribution say.

mod container;
mod disks;
mod kernel_driver;
mod libstdcxx;
mod pci;
mod system;
mod user_driver;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

pub(super) use container::{container, wsl};
pub(super) use disks::{disk, jit_cache};
pub(super) use kernel_driver::kernel_driver;
pub(super) use pci::cards;
pub(super) use system::system;
pub(super) use user_driver::user_driver;

use super::Host;

/// Where NVML can be: the loader's own choice, WSL's folder, NixOS's folder.
pub(super) fn nvml_libraries(_host: &Host) -> Vec<OsString> {
    ["libnvidia-ml.so.1", "/usr/lib/wsl/lib/libnvidia-ml.so.1", "/run/opengl-driver/lib/libnvidia-ml.so.1"]
        .map(OsString::from)
        .to_vec()
}

/// Only Windows has them.
pub(super) const fn known_dlls() -> Vec<String> {
    Vec::new()
}

/// The file that the loader took for a library that this process has loaded.
pub(super) fn loaded_library(host: &Host, name: &OsStr) -> Option<PathBuf> {
    let name = Path::new(name).file_name()?.to_str()?.split(".so").next()?.to_owned();
    let maps = host.read_to_string("/proc/self/maps").ok()?;
    maps.lines()
        .filter_map(|line| line.find('/').map(|start| &line[start..]))
        .find(|path| Path::new(path).file_name().is_some_and(|file| file.to_string_lossy().starts_with(&name)))
        .map(PathBuf::from)
}
