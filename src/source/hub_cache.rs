//! The Hugging Face cache on this disk: one copy of a model for llama.cpp's `-hf`, the Python hub and us.
//!
//! ```text
//! models--org--name/blobs/<sha256 or git sha1>
//!                   refs/main                        the commit, as text
//!                   snapshots/<commit>/<path>        link to the blob; where links are impossible, the file itself
//! .locks/models--org--name/<blob>.lock               held while a blob is written
//! ```

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::repository::RepositoryId;
use crate::host::{Host, environment};

mod link;
mod repository;

pub use repository::{BlobLock, CachedFile, CachedRepository};

#[derive(Debug, Error)]
pub enum HubCacheError {
    #[error("no home folder: there is no place for the model cache")]
    NoHome,
    #[error("another program is writing `{path}`")]
    Locked { path: PathBuf },
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The folder that holds `models--org--name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubCache {
    root: PathBuf,
    /// Whether snapshots may hold links: not where `HF_HUB_DISABLE_SYMLINKS` forbids them.
    links: bool,
}

impl HubCache {
    /// Where llama.cpp looks (b11434 `common/hf-cache.cpp:30-60`); the Python hub agrees but for `LLAMA_CACHE`.
    pub fn locate(host: &Host) -> Result<Self, HubCacheError> {
        Self::candidates(host).into_iter().next().ok_or(HubCacheError::NoHome)
    }

    /// Every cache that one of the programs here may have filled.
    pub fn all(host: &Host) -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        for cache in Self::candidates(host) {
            let real = fs_err::canonicalize(&cache.root).ok();
            let is_known = all.iter().any(|known| fs_err::canonicalize(&known.root).ok() == real);
            if real.is_some() && !is_known {
                all.push(cache);
            }
        }
        all
    }

    fn candidates(host: &Host) -> Vec<Self> {
        let folder = |name: &str| host.variable(name).map(|path| expand_home(host, path.into()));
        let candidates = [
            folder(environment::LLAMA_CACHE.name),
            folder(environment::HF_HUB_CACHE.name),
            folder(environment::HUGGINGFACE_HUB_CACHE.name),
            folder(environment::HF_HOME.name).map(|home| home.join("hub")),
            folder(environment::XDG_CACHE_HOME.name).map(|cache| cache.join("huggingface").join("hub")),
            host.home().map(|home| home.join(".cache").join("huggingface").join("hub")),
        ];
        let links = !host.text_variable(environment::HF_HUB_DISABLE_SYMLINKS.name).is_some_and(|text| is_true(&text));
        candidates.into_iter().flatten().map(|root| Self { root, links }).collect()
    }

    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), links: true }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn repository(&self, id: &RepositoryId) -> CachedRepository {
        let folder = self.root.join(id.folder_name());
        let locks = self.root.join(".locks").join(id.folder_name());
        CachedRepository { locks, id: id.clone(), folder, links: self.links }
    }

    /// Every model repository in the cache, sorted by name.
    pub fn repositories(&self) -> Vec<CachedRepository> {
        let mut found: Vec<_> = entries(&self.root)
            .into_iter()
            .filter_map(|path| RepositoryId::from_folder_name(path.file_name()?.to_str()?))
            .map(|id| self.repository(&id))
            .collect();
        found.sort_by(|one, other| one.id.cmp(&other.id));
        found
    }
}

/// `~/x`, which the Python hub expands too.
pub(crate) fn expand_home(host: &Host, path: PathBuf) -> PathBuf {
    match (path.strip_prefix("~"), host.home()) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path,
    }
}

/// As the Python hub reads its switches.
pub(crate) fn is_true(text: &str) -> bool {
    matches!(text.to_ascii_uppercase().as_str(), "1" | "ON" | "YES" | "TRUE")
}

/// The entries of a folder; one that cannot be read holds nothing for us.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs_err::read_dir(folder) else { return Vec::new() };
    entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_found_as_llama_cpp_finds_it() {
        let locate = |variables: &[(&str, &str)]| {
            let environment = variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
            let host = Host::Recorded { root: "/".into(), environment, outputs: std::collections::BTreeMap::default() };
            HubCache::locate(&host).unwrap().root().to_owned()
        };
        let home = (if cfg!(windows) { "USERPROFILE" } else { "HOME" }, "/home/u");
        assert_eq!(locate(&[home]), Path::new("/home/u/.cache/huggingface/hub"));
        assert_eq!(locate(&[home, ("XDG_CACHE_HOME", "/c")]), Path::new("/c/huggingface/hub"));
        assert_eq!(locate(&[home, ("HF_HOME", "~/hf"), ("XDG_CACHE_HOME", "/c")]), Path::new("/home/u/hf/hub"));
        assert_eq!(locate(&[home, ("HF_HUB_CACHE", "/h"), ("HF_HOME", "/x")]), Path::new("/h"));
        assert_eq!(locate(&[home, ("LLAMA_CACHE", "/l"), ("HF_HUB_CACHE", "/h")]), Path::new("/l"));
    }
}
