//! Copies of the Visual C++ runtime that lie beside a build: Windows loads them before the system's own.

use std::path::PathBuf;

use super::facts::Fact;
use super::windows_facts::RuntimeCopy;

/// The libraries whose age decides.
#[cfg(windows)]
const NAMES: [&str; 3] = ["msvcp140.dll", "vcruntime140.dll", "vcruntime140_1.dll"];

/// The copies directly in `folders`, with their versions.
#[cfg(windows)]
pub fn runtime_copies(folders: &[PathBuf]) -> Fact<Vec<RuntimeCopy>> {
    let paths = folders.iter().flat_map(|folder| NAMES.map(|name| folder.join(name)));
    let with_version =
        paths.filter_map(|path| Some(RuntimeCopy { version: super::platform::file_version(&path)?, path }));
    Fact::known(with_version.collect(), super::facts::Origin::File)
}

/// Other systems have no such runtime.
#[cfg(not(windows))]
pub fn runtime_copies(_folders: &[PathBuf]) -> Fact<Vec<RuntimeCopy>> {
    Fact::unknown("only Windows' programs have such a runtime")
}
