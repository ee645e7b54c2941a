//! The layers of an image, laid over each other as a container would see them, of which only llama.cpp and CUDA are kept.

use std::path::Path;

use super::installed;
use crate::archive::{self, Limits};
use crate::host::replace;
use crate::install::InstallError;
use crate::install::fetch::Archive;
use crate::install::receipt::Receipt;
use crate::source::container::place;

/// Marks what a lower layer has at this name as deleted, and everything below it.
/// Source: OCI image layer specification, "Whiteouts".
const WHITEOUT: &str = ".wh.";
/// In a folder: all that lower layers have in it is deleted.
const OPAQUE: &str = ".wh..wh..opq";

pub(super) fn fill(staging: &Path, archives: &[Archive], receipt: &mut Receipt) -> Result<(), InstallError> {
    for layer in archives {
        let folder = staging.with_extension("layer");
        if folder.exists() {
            replace::remove_folder(&folder)?;
        }
        let unpacked = archive::unpack_chosen(&layer.path, &folder, &Limits::default(), &place)?;
        // What a layer deletes is of the layers below, wherever in the archive the mark stands.
        for name in unpacked.files.keys().filter(|name| is_mark(name)) {
            let (parent, base) = name.rsplit_once('/').unwrap_or(("", name));
            let inside = if parent.is_empty() { String::new() } else { format!("{parent}/") };
            match base.strip_prefix(WHITEOUT) {
                _ if base == OPAQUE => forget(staging, receipt, &|known| known.starts_with(&inside))?,
                Some(deleted) => {
                    let deleted = format!("{inside}{deleted}");
                    let below = format!("{deleted}/");
                    forget(staging, receipt, &|known| *known == deleted || known.starts_with(&below))?;
                }
                None => {}
            }
        }
        for (name, file) in unpacked.files.into_iter().filter(|(name, _)| !is_mark(name)) {
            not_through_a_link(receipt, layer, &name)?;
            forget(staging, receipt, &|known| *known == name)?;
            let target = staging.join(&name);
            if let Some(parent) = target.parent() {
                fs_err::create_dir_all(parent)?;
            }
            replace::rename(&folder.join(&name), &target)?;
            receipt.files.insert(name, installed(&file));
        }
        for (name, to) in unpacked.links {
            not_through_a_link(receipt, layer, &name)?;
            forget(staging, receipt, &|known| *known == name)?;
            if let Some(parent) = staging.join(&name).parent() {
                fs_err::create_dir_all(parent)?;
            }
            // Moved, not made again: the archive module has proven where it leads.
            fs_err::rename(folder.join(&name), staging.join(&name))?;
            receipt.links.insert(name, to);
        }
        replace::remove_folder(&folder)?;
        receipt.ingredients.push(layer.ingredient.clone());
    }
    Ok(())
}

fn is_mark(name: &str) -> bool {
    name.rsplit('/').next().is_some_and(|base| base.starts_with(WHITEOUT))
}

fn forget(staging: &Path, receipt: &mut Receipt, is_gone: &dyn Fn(&String) -> bool) -> Result<(), InstallError> {
    let gone: Vec<String> =
        receipt.files.keys().chain(receipt.links.keys()).filter(|name| is_gone(name)).cloned().collect();
    for name in gone {
        receipt.files.remove(&name);
        receipt.links.remove(&name);
        replace::remove_file(&staging.join(&name))?;
    }
    Ok(())
}

/// Within a layer the archive is proven; across layers, a folder may have been made a link by one below.
fn not_through_a_link(receipt: &Receipt, layer: &Archive, name: &str) -> Result<(), InstallError> {
    let mut folders = name.match_indices('/').map(|(end, _)| &name[..end]);
    match folders.find(|folder| receipt.links.contains_key(*folder)) {
        None => Ok(()),
        Some(link) => Err(archive::Error::Refused {
            archive: layer.ingredient.name.clone(),
            entry: name.to_owned(),
            refusal: archive::Refusal::ThroughLink(link.to_owned()),
        }
        .into()),
    }
}
