//! The layers of an image, laid over each other as a container would see them, of which only llama.cpp and CUDA are kept.

use std::path::Path;

use super::installed;
use crate::archive::{self, Limits};
use crate::host::replace;
use crate::install::InstallError;
use crate::install::fetch::Archive;
use crate::install::receipt::Receipt;
use crate::source::container::place;

/// Marks a file of a lower layer as deleted (OCI image layer specification).
const WHITEOUT: &str = ".wh.";

pub(super) fn fill(staging: &Path, archives: &[Archive], receipt: &mut Receipt) -> Result<(), InstallError> {
    for layer in archives {
        let folder = staging.with_extension("layer");
        if folder.exists() {
            replace::remove_folder(&folder)?;
        }
        let unpacked = archive::unpack_chosen(&layer.path, &folder, &Limits::default(), &place)?;
        for (name, file) in unpacked.files {
            let (parent, base) = name.rsplit_once('/').unwrap_or(("", &name));
            if let Some(deleted) = base.strip_prefix(WHITEOUT) {
                let deleted = if parent.is_empty() { deleted.to_owned() } else { format!("{parent}/{deleted}") };
                forget(staging, receipt, &deleted)?;
                continue;
            }
            forget(staging, receipt, &name)?;
            let target = staging.join(&name);
            if let Some(parent) = target.parent() {
                fs_err::create_dir_all(parent)?;
            }
            replace::rename(&folder.join(&name), &target)?;
            receipt.files.insert(name, installed(&file));
        }
        for (name, to) in unpacked.links {
            forget(staging, receipt, &name)?;
            // Moved, not made again: the archive module has proven where it leads.
            fs_err::rename(folder.join(&name), staging.join(&name))?;
            receipt.links.insert(name, to);
        }
        replace::remove_folder(&folder)?;
        receipt.ingredients.push(layer.ingredient.clone());
    }
    Ok(())
}

fn forget(staging: &Path, receipt: &mut Receipt, name: &str) -> Result<(), InstallError> {
    if receipt.files.remove(name).is_some() || receipt.links.remove(name).is_some() {
        fs_err::remove_file(staging.join(name))?;
    }
    Ok(())
}
