//! What the child is asked to load.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::build::Build;
use crate::build::places::matching;
use crate::host::Host;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Backends are loaded from here, as the build's own programs would.
    pub folder: PathBuf,
    pub parts: Parts,
    /// Backend modules whose loader message is wanted.
    pub modules: Vec<PathBuf>,
    /// The one file that everything is linked into, in the place of parts.
    #[serde(default)]
    pub linked: Option<PathBuf>,
    /// A library of the program that would load it, which must be there first: `libpython3.12.so.1.0`.
    #[serde(default)]
    pub host_library: Option<PathBuf>,
    /// A small model to compute a token of.
    #[serde(default)]
    pub model: Option<PathBuf>,
}

/// The shared libraries of one build.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parts {
    pub base: Option<PathBuf>,
    pub ggml: Option<PathBuf>,
    pub llama: Option<PathBuf>,
}

impl Request {
    /// None: the build's libraries are linked into its programs, which can only be asked.
    pub fn of(build: &Build, model: Option<&Path>) -> Option<Self> {
        let folder = folder_of(build)?;
        let parts = Parts::in_folder(&folder);
        if parts.ggml.is_none() {
            let linked = linked(build)?;
            return Some(Self {
                host_library: is_of_python(&linked).then(python_library).flatten(),
                linked: Some(linked),
                model: model.map(Path::to_owned),
                folder,
                parts: Parts::default(),
                modules: Vec::new(),
            });
        }
        // Of CPU modules only the fitting one is loaded, and ggml chooses it.
        let modules = build.backends.iter().filter(|backend| backend.name != "CPU");
        let modules = modules.filter_map(|backend| backend.file.clone()).filter(|file| file.parent() == Some(&folder));
        Some(Self {
            parts,
            modules: modules.collect(),
            folder,
            linked: None,
            host_library: None,
            model: model.map(Path::to_owned),
        })
    }
}

/// The library that holds all of the build; a program is none.
fn linked(build: &Build) -> Option<PathBuf> {
    let files = build.backends.iter().filter_map(|backend| backend.file.as_deref());
    let is_library = |file: &&Path| {
        let name = file.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        [".node", ".pyd", ".so", ".dll"].iter().any(|suffix| name.ends_with(suffix)) || name.contains(".so.")
    };
    files.into_iter().find(is_library).map(Path::to_owned)
}

/// `xllamacpp.abi3.so`, `_core.cpython-312-x86_64-linux-gnu.so`
fn is_of_python(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    name.contains(".abi3.") || name.contains(".cpython-")
}

/// Python itself as a library, the newest that is in a usual place.
fn python_library() -> Option<PathBuf> {
    const PLACES: [&str; 5] = [
        "$CONDA_PREFIX/lib/libpython3.*.so.1.0",
        "/usr/lib/x86_64-linux-gnu/libpython3.*.so.1.0",
        "/usr/lib/aarch64-linux-gnu/libpython3.*.so.1.0",
        "/usr/lib64/libpython3.*.so.1.0",
        "~/.pyenv/versions/*/lib/libpython3.*.so.1.0",
    ];
    let minor = |path: &PathBuf| -> Option<u32> {
        let name = path.file_name()?.to_string_lossy().into_owned();
        name.strip_prefix("libpython3.")?.split('.').next()?.parse().ok()
    };
    PLACES.iter().flat_map(|place| matching(&Host::Live, place)).max_by_key(minor)
}

/// The folder that holds the build's libraries or program.
pub(super) fn folder_of(build: &Build) -> Option<PathBuf> {
    let file = build.backends.iter().find_map(|backend| backend.file.as_deref()).or(build.server.as_deref())?;
    file.parent().map(Path::to_owned)
}

impl Parts {
    /// By name: `libggml-base.so.0.26.0`, `libllama.cuda.v0.5.0.so`, `llama.dll`.
    pub fn in_folder(folder: &Path) -> Self {
        let mut parts = Self::default();
        // A folder that cannot be read has no parts.
        let Ok(entries) = fs_err::read_dir(folder) else { return parts };
        let mut names: Vec<String> =
            entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        for name in names {
            let lower = name.to_ascii_lowercase();
            if !(lower.contains(".so") || Path::new(&lower).extension().is_some_and(|extension| extension == "dll")) {
                continue;
            }
            let stem = lower.strip_prefix("lib").unwrap_or(&lower).to_owned();
            let slot = match stem.split('.').next() {
                Some("ggml-base") => &mut parts.base,
                Some("ggml") => &mut parts.ggml,
                Some("llama") => &mut parts.llama,
                _ => continue,
            };
            slot.get_or_insert_with(|| folder.join(&name));
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_known_by_their_names() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["libggml-base.so", "libggml.cuda.v0.5.0.so", "libllama.cuda.v0.5.0.so", "libllama-common.so"] {
            fs_err::write(folder.path().join(name), b"").unwrap();
        }
        let parts = Parts::in_folder(folder.path());
        assert_eq!(parts.base, Some(folder.path().join("libggml-base.so")));
        assert_eq!(parts.ggml, Some(folder.path().join("libggml.cuda.v0.5.0.so")));
        assert_eq!(parts.llama, Some(folder.path().join("libllama.cuda.v0.5.0.so")));
        assert_eq!(Parts::in_folder(&folder.path().join("none")), Parts::default());
    }
}
