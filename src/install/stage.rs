//! Archives made into one folder, out of sight, with a receipt of every file.

mod layers;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::InstallError;
use super::fetch::Archive;
use super::receipt::{InstalledFile, Receipt, SCHEMA};
use super::store::{Installed, Store, StoreLock};
use crate::archive::{self, Limits};
use crate::host::{disk, replace};
use crate::manifest::releases::Role;
use crate::units::Bytes;

/// What official archives unpack to, at most, over what they pack: compressed GPU code shrinks little, C++ more.
const USUAL_RATIO: u64 = 5;

/// Whether there is room for archives of this many bytes and for what they unpack to: said before the first byte comes.
pub fn check_room(store: &Store, packed: u64) -> Result<(), InstallError> {
    room(store, Bytes(packed.saturating_mul(USUAL_RATIO + 1)))
}

fn room(store: &Store, needed: Bytes) -> Result<(), InstallError> {
    let free = disk::free(&store.builds())?;
    if free < needed {
        return Err(InstallError::NoSpace { folder: store.builds(), needed, free });
    }
    Ok(())
}

/// Unpacks a build and what lies beside it, and makes it visible in the store. Nothing is put to use.
pub fn install(
    store: &Store,
    tag: &str,
    backend: &str,
    archives: &[Archive],
    lock: &StoreLock,
) -> Result<Installed, InstallError> {
    let is_layers = archives.iter().all(|archive| archive.role == Role::Layer);
    let fill = if is_layers { layers::fill } else { fill };
    install_with(store, tag, backend, archives, fill, lock)
}

type Fill = fn(&Path, &[Archive], &mut Receipt) -> Result<(), InstallError>;

fn install_with(
    store: &Store,
    tag: &str,
    backend: &str,
    archives: &[Archive],
    fill: Fill,
    lock: &StoreLock,
) -> Result<Installed, InstallError> {
    let packed: u64 = archives.iter().map(|archive| archive.ingredient.size).sum();
    room(store, Bytes(packed.saturating_mul(USUAL_RATIO)))?;
    let id = format!("{tag}-{backend}");
    let staging = store.staging(&id)?;
    let mut receipt = Receipt {
        schema: SCHEMA.to_owned(),
        id,
        tag: tag.to_owned(),
        backend: backend.to_owned(),
        installed: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        ingredients: Vec::new(),
        files: BTreeMap::new(),
        links: BTreeMap::new(),
        repaired: Vec::new(),
        cuda: None,
    };
    let result = fill(&staging, archives, &mut receipt);
    if let Err(error) = result {
        // The error at hand matters more than a folder that the next run clears.
        let _ = store.clear_leftovers(lock);
        return Err(error);
    }
    store.commit(&staging, receipt)
}

fn fill(staging: &Path, archives: &[Archive], receipt: &mut Receipt) -> Result<(), InstallError> {
    let (builds, runtimes): (Vec<_>, Vec<_>) = archives.iter().partition(|archive| archive.role == Role::Build);
    for build in builds {
        // Unpacking makes the folder itself.
        fs_err::remove_dir(staging)?;
        let unpacked = archive::unpack(&build.path, staging, &Limits::default())?;
        receipt.files.extend(unpacked.files.into_iter().map(|(name, file)| (name, installed(&file))));
        receipt.links.extend(unpacked.links);
        receipt.repaired.extend(unpacked.repaired);
        receipt.ingredients.push(build.ingredient.clone());
    }
    for runtime in runtimes {
        add_runtime(staging, &staging.with_extension("runtime"), runtime, receipt)?;
    }
    Ok(())
}

/// Puts CUDA's libraries beside the backend that needs them, in the build's `folder`, and writes them down. `scratch`
/// is a folder on the same file system. Gives the files that were not there before.
pub(super) fn add_runtime(
    folder: &Path,
    scratch: &Path,
    runtime: &Archive,
    receipt: &mut Receipt,
) -> Result<Vec<PathBuf>, InstallError> {
    // The loader looks beside the backend that needs them.
    let is_backend = |name: &&String| name.ends_with("libggml-cuda.so") || name.ends_with("ggml-cuda.dll");
    let beside = receipt.files.keys().find(is_backend).and_then(|name| name.rsplit_once('/'));
    let beside = beside.map_or_else(String::new, |(folder, _)| format!("{folder}/"));
    if scratch.exists() {
        replace::remove_folder(scratch)?;
    }
    let is_wheel = runtime.path.extension().is_some_and(|extension| extension == "whl");
    let unpacked = if is_wheel {
        archive::unpack_chosen(&runtime.path, scratch, &Limits::default(), &crate::source::pypi::place)?
    } else {
        archive::unpack(&runtime.path, scratch, &Limits::default())?
    };
    let mut added = Vec::new();
    for (name, file) in unpacked.files {
        let base = name.rsplit('/').next().unwrap_or_default();
        let target = format!("{beside}{base}");
        let path = folder.join(&target);
        match receipt.files.get(&target) {
            Some(known) if known.sha256 == file.sha256 && path.exists() => continue,
            Some(known) if known.sha256 != file.sha256 => {
                let one = receipt.ingredients.first().map(|first| first.name.clone()).unwrap_or_default();
                return Err(InstallError::Collision { name: target, one, other: runtime.ingredient.name.clone() });
            }
            Some(_) | None => {}
        }
        replace::rename(&scratch.join(&name), &path)?;
        receipt.files.insert(target, installed(&file));
        added.push(path);
    }
    replace::remove_folder(scratch)?;
    receipt.repaired.extend(unpacked.repaired);
    if !receipt.ingredients.iter().any(|known| known.sha256 == runtime.ingredient.sha256) {
        receipt.ingredients.push(runtime.ingredient.clone());
    }
    Ok(added)
}

fn installed(file: &archive::UnpackedFile) -> InstalledFile {
    InstalledFile { size: file.size, sha256: file.sha256 }
}
