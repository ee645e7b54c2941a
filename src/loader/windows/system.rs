//! What of the Windows loader's configuration is the machine's: its folders, known DLLs, API sets, `PATH`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::api_sets::ApiSets;
use crate::binary::{self, Machine};
use crate::host::Host;
use crate::host::environment::{PATH, SYSTEM_ROOT};

#[derive(Debug)]
pub(super) struct System {
    /// `C:\Windows`
    pub(super) folder: PathBuf,
    pub(super) known: BTreeSet<String>,
    /// None: `apisetschema.dll` could not be read.
    pub(super) api_sets: Option<ApiSets>,
    pub(super) path: Vec<PathBuf>,
}

impl System {
    /// None: the machine runs no Windows.
    pub(super) fn of(host: &Host) -> Option<Self> {
        let folder = host.text_variable(SYSTEM_ROOT.name).map(|folder| windows_path(&folder));
        let folder =
            folder.or_else(|| (cfg!(windows) && matches!(host, Host::Live)).then(|| PathBuf::from(r"C:\Windows")))?;
        let schema = binary::section(&host.path(folder.join("System32").join("apisetschema.dll")), b".apiset");
        let path = host.text_variable(PATH.name).unwrap_or_default();
        Some(Self {
            known: host.known_dlls(),
            api_sets: schema.and_then(|section| ApiSets::read(&section)),
            path: path.split(';').filter(|folder| !folder.is_empty()).map(windows_path).collect(),
            folder,
        })
    }

    /// Where a process of that processor sees System32.
    pub(super) fn system_folder(&self, machine: Machine) -> PathBuf {
        let of_32_bits = self.folder.join("SysWOW64");
        if machine == Machine::X86 && of_32_bits.is_dir() { of_32_bits } else { self.folder.join("System32") }
    }
}

/// A recorded Windows is looked at on other systems too, where a backslash is a letter.
pub(super) fn windows_path(text: &str) -> PathBuf {
    if cfg!(windows) { PathBuf::from(text) } else { PathBuf::from(text.replace('\\', "/")) }
}
