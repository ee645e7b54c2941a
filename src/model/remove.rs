//! Taking away what we brought.

use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::failure::Failure;
use crate::host::Host;
use crate::source::hub_cache::{CachedFile, HubCache};

#[derive(Debug, Error)]
pub enum RemoveError {
    #[error("no model on this machine is called `{0}`")]
    Unknown(String),
    #[error("`{name}` was brought by another program ({keeper}), not by `pull`")]
    NotOurs { name: String, keeper: &'static str },
}

/// Removes the files at these paths: those in a hub cache with their blobs, where no other snapshot uses them. Answers
/// the bytes set free.
pub fn remove(host: &Host, home: &Path, paths: &[PathBuf]) -> Result<u64, Failure> {
    let mut freed = 0;
    let mut in_caches = Vec::new();
    let caches = HubCache::all(host).into_iter().chain([HubCache::at(home.join("modelscope"))]);
    for repository in caches.flat_map(|cache| cache.repositories()) {
        let files: Vec<CachedFile> =
            repository.all_files().into_iter().filter(|file| paths.contains(&file.path)).collect();
        if !files.is_empty() {
            in_caches.extend(files.iter().map(|file| file.path.clone()));
            freed += repository.remove(&files)?;
        }
    }
    for path in paths.iter().filter(|path| !in_caches.contains(path)) {
        freed += fs_err::metadata(path)?.len();
        crate::host::replace::remove_file(path)?;
    }
    Ok(freed)
}
