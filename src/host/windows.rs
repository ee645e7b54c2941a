//! Windows: what the system and its registry say. No program is started for it.

mod antivirus;
pub(super) mod counters;
mod driver;
mod file_version;
mod registry;
mod system;
mod volume;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

pub(super) use driver::{cards, container, disk, jit_cache, kernel_driver, user_driver, wsl};
pub(super) use file_version::file_version;
pub(super) use system::{known_dlls, system};

use super::Host;

/// Where NVML can be: System32, and the folder of drivers before 2017. By full path: a name alone would also be looked
/// for in the current folder.
pub(super) fn nvml_libraries(host: &Host) -> Vec<OsString> {
    let programs = host
        .variable(super::environment::PROGRAM_FILES.name)
        .map(|programs| Path::new(&programs).join("NVIDIA Corporation").join("NVSMI").join("nvml.dll"));
    std::iter::once(system::system_folder().join("nvml.dll")).chain(programs).map(PathBuf::into_os_string).collect()
}

/// Libraries are named by their full path here already.
pub(super) fn loaded_library(_host: &Host, name: &OsStr) -> Option<PathBuf> {
    Some(PathBuf::from(name))
}
