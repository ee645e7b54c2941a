//! The model files on this machine, by their first bytes, and what downloads left behind.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::Host;
use super::facts::{Fact, ModelFile, ModelFileKind, Origin, PartialDownload};
use crate::gguf::{FileBytes, Header, ShardName};
use crate::units::Bytes;

/// More than this says nothing new and takes time.
const MOST_FILES: usize = 64;

/// Where models are looked for: the hub's cache and llama.cpp's own.
pub(super) fn folders(host: &Host) -> Vec<PathBuf> {
    let hub = crate::source::hub_cache::HubCache::locate(host).ok().map(|cache| cache.root().to_owned());
    let own = host.variable("LLAMA_CACHE").map(PathBuf::from).or_else(|| {
        if cfg!(windows) {
            return Some(PathBuf::from(host.variable("LOCALAPPDATA")?).join("llama.cpp"));
        }
        let cache = host.variable("XDG_CACHE_HOME").map(PathBuf::from);
        Some(cache.or_else(|| Some(PathBuf::from(host.variable("HOME")?).join(".cache")))?.join("llama.cpp"))
    });
    hub.into_iter().chain(own).collect()
}

pub(super) fn models(folders: &[PathBuf]) -> Fact<Vec<ModelFile>> {
    let mut paths = Vec::new();
    for folder in folders {
        walk(folder, 6, &mut |path| {
            if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf")) {
                paths.push(path.to_owned());
            }
        });
    }
    paths.sort();
    Fact::known(paths.iter().take(MOST_FILES).filter_map(|path| model(path)).collect(), Origin::File)
}

/// Partial files in the caches and in our own store.
pub(super) fn partial_downloads(folders: &[PathBuf], store: &Path) -> Vec<PartialDownload> {
    let mut found = Vec::new();
    let mut look = |folder: &Path, ours: bool| {
        walk(folder, 6, &mut |path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if ![".incomplete", ".downloadInProgress", ".part", ".partial"].iter().any(|end| name.ends_with(end)) {
                return;
            }
            let Ok(data) = fs_err::metadata(path) else { return };
            let age = data.modified().ok().and_then(|time| SystemTime::now().duration_since(time).ok());
            let age_seconds = age.unwrap_or_default().as_secs();
            found.push(PartialDownload { path: path.to_owned(), size: Bytes(data.len()), age_seconds, ours });
        });
    };
    look(store, true);
    for folder in folders {
        look(folder, false);
    }
    found
}

/// Every file below, without following links to folders.
fn walk(folder: &Path, depth: usize, visit: &mut impl FnMut(&Path)) {
    for entry in fs_err::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && depth > 0 => walk(&entry.path(), depth - 1, visit),
            Ok(kind) if !kind.is_dir() => visit(&entry.path()),
            _ => {}
        }
    }
}

fn model(path: &Path) -> Option<ModelFile> {
    let mut file = fs_err::File::open(path).ok()?;
    let size = file.metadata().ok()?.len();
    let mut head = [0; 16];
    let length = file.read(&mut head).ok()?;
    let kind = kind_of(&head[..length]);
    let gguf_version =
        (kind == ModelFileKind::Gguf && length >= 8).then(|| u32::from_le_bytes([head[4], head[5], head[6], head[7]]));
    Some(ModelFile {
        path: path.to_owned(),
        size: Bytes(size),
        kind,
        gguf_version,
        missing_shards: missing_shards(path),
        truncated_by: (kind == ModelFileKind::Gguf).then(|| truncated_by(path)).flatten(),
    })
}

fn kind_of(head: &[u8]) -> ModelFileKind {
    let starts = |signs: &[&str]| signs.iter().any(|sign| head.starts_with(sign.as_bytes()));
    if head.is_empty() {
        ModelFileKind::Empty
    } else if starts(&["GGUF"]) {
        ModelFileKind::Gguf
    } else if starts(&["version https:/"]) {
        ModelFileKind::LfsPointer
    } else if starts(&["<!DO", "<!do", "<htm", "<HTM"]) {
        ModelFileKind::Html
    } else if starts(&["Entry not", "Invalid ", "Access ", "{\"error"]) {
        ModelFileKind::ErrorText
    } else if starts(&["PK\u{3}\u{4}"]) {
        ModelFileKind::Zip
    } else if starts(&["tjgg", "lmgg", "fmgg"]) {
        ModelFileKind::OldGgml
    } else {
        ModelFileKind::Other
    }
}

fn missing_shards(path: &Path) -> Vec<String> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let (Some(shard), Some(folder)) = (ShardName::parse(&name), path.parent()) else { return Vec::new() };
    // Said once, at the first shard that is there.
    let present = |number: u32| folder.join(shard.sibling(number)).exists();
    if (1..shard.number).any(present) {
        return Vec::new();
    }
    (1..=shard.count).filter(|number| !present(*number)).map(|number| shard.sibling(number)).take(20).collect()
}

fn truncated_by(path: &Path) -> Option<Bytes> {
    let bytes = FileBytes::open(path).ok()?;
    let header = Header::read(&bytes).ok()?;
    let present = crate::gguf::Bytes::len(&bytes);
    let missing = header.announced_bytes().saturating_sub(present);
    (missing > 0).then_some(Bytes(missing))
}
