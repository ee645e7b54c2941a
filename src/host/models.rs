//! The model files on this machine, by their first bytes, and what downloads left behind.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::Host;
use super::facts::{Fact, ModelFile, ModelFileKind, ModelHeader, Origin, PartialDownload};
use crate::gguf::{FileBytes, GgufError, Header, ShardName, Value};
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
    let (header, truncated_by) = if kind == ModelFileKind::Gguf { read_header(path) } else { (None, None) };
    Some(ModelFile {
        path: path.to_owned(),
        size: Bytes(size),
        kind,
        gguf_version,
        missing_shards: missing_shards(path),
        truncated_by,
        header,
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

/// What the header tells, and how many announced bytes the file lacks.
fn read_header(path: &Path) -> (Option<ModelHeader>, Option<Bytes>) {
    let Ok(bytes) = FileBytes::open(path) else { return (None, None) };
    let present = crate::gguf::Bytes::len(&bytes);
    match Header::read(&bytes) {
        Ok(header) => {
            let missing = header.announced_bytes().saturating_sub(present);
            (Some(told(&header, path)), (missing > 0).then_some(Bytes(missing)))
        }
        Err(GgufError::HeaderCut { wanted, .. }) => (None, Some(Bytes(wanted))),
        // Old and new versions have a check of their own.
        Err(GgufError::Io(_) | GgufError::Version1 | GgufError::UnknownVersion(_)) => (None, None),
        Err(error) => (Some(ModelHeader { problem: Some(error.to_string()), ..ModelHeader::default() }), None),
    }
}

fn told(header: &Header, path: &Path) -> ModelHeader {
    let architecture = header.metadata.get("general.architecture").and_then(Value::as_text).map(str::to_owned);
    let prefix = architecture.clone().unwrap_or_default();
    let number = |name: &str| header.metadata.get(&format!("{prefix}.{name}")).and_then(Value::as_u64);
    let split = path.file_name().and_then(|name| ShardName::parse(&name.to_string_lossy())).is_some();
    // Layers that Nemotron's search removed keep their number and have no tensor (llama.cpp src/models/deci.cpp).
    let counted = !split && architecture.as_deref() != Some("deci");
    // A model may come without the layers that only predict further tokens.
    let layers = number("block_count").unwrap_or(0).saturating_sub(number("nextn_predict_layers").unwrap_or(0));
    ModelHeader {
        vocabulary: header.metadata.contains_key("tokenizer.ggml.model"),
        embedding_length: number("embedding_length"),
        missing_layers: if counted { missing_layers(header, layers) } else { 0 },
        projector_widths: if prefix == "clip" { widths(header) } else { Vec::new() },
        architecture,
        problem: None,
    }
}

/// How many of the layers have no tensor at all. A model whose tensors are not named by layers lacks none.
fn missing_layers(header: &Header, announced: u64) -> u64 {
    let number = |name: &str| name.strip_prefix("blk.")?.split('.').next()?.parse::<u64>().ok();
    let present: BTreeSet<u64> = header.tensors.iter().filter_map(|tensor| number(&tensor.name)).collect();
    if present.is_empty() {
        return 0;
    }
    announced.saturating_sub(present.range(..announced).count() as u64)
}

fn widths(header: &Header) -> Vec<u64> {
    let all: BTreeSet<u64> = header.tensors.iter().flat_map(|tensor| tensor.dims).filter(|width| *width > 1).collect();
    all.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gguf::{Tensor, TensorType};

    fn header(entries: &[(&str, Value)], tensors: &[(&str, u64)]) -> Header {
        let tensor = |(name, width): &(&str, u64)| Tensor {
            name: (*name).into(),
            dims: [*width, 1, 1, 1],
            tensor_type: TensorType::F32,
            offset: 0,
            bytes: 4 * width,
            shard: 0,
        };
        Header {
            version: 3,
            metadata: entries.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect(),
            tensors: tensors.iter().map(tensor).collect(),
            alignment: 32,
            data_offset: 0,
        }
    }

    #[test]
    fn a_header_tells_what_checks_ask() {
        let text = |text: &str| Value::Text(text.into());
        let entries = [
            ("general.architecture", text("llama")),
            ("llama.block_count", Value::Unsigned(3)),
            ("llama.embedding_length", Value::Unsigned(64)),
            ("tokenizer.ggml.model", text("gpt2")),
        ];
        let whole = header(&entries, &[("token_embd.weight", 64), ("blk.0.x", 64), ("blk.1.x", 64), ("blk.2.x", 64)]);
        let facts = told(&whole, Path::new("m.gguf"));
        assert_eq!((facts.architecture.as_deref(), facts.vocabulary), (Some("llama"), true));
        assert_eq!((facts.embedding_length, facts.missing_layers), (Some(64), 0));
        let cut = header(&entries, &[("blk.0.x", 64), ("blk.7.x", 64)]);
        assert_eq!(told(&cut, Path::new("m.gguf")).missing_layers, 2);
        assert_eq!(told(&cut, Path::new("m-00001-of-00002.gguf")).missing_layers, 0, "the rest is in the other part");
        assert_eq!(told(&header(&entries, &[("x", 64)]), Path::new("m.gguf")).missing_layers, 0);
        let projector = header(&[("general.architecture", text("clip"))], &[("mm.2.weight", 64), ("v.x", 32)]);
        assert_eq!(told(&projector, Path::new("mmproj.gguf")).projector_widths, [32, 64]);
    }

    #[test]
    fn a_file_that_ends_in_its_header_is_cut_and_one_that_cannot_be_read_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.gguf");
        let mut bytes = b"GGUF\x03\0\0\0".to_vec();
        bytes.extend(0_u64.to_le_bytes());
        bytes.extend(1_u64.to_le_bytes());
        let counts = bytes.len();
        bytes.extend(40_u64.to_le_bytes());
        bytes.extend(b"the beginning of a key");
        fs_err::write(&path, &bytes).unwrap();
        let file = model(&path).unwrap();
        assert!(file.truncated_by.is_some() && file.header.is_none(), "{file:?}");
        bytes.truncate(counts);
        bytes.extend(4_u64.to_le_bytes());
        bytes.extend(b"key1");
        bytes.extend(99_u32.to_le_bytes());
        fs_err::write(&path, &bytes).unwrap();
        let problem = model(&path).unwrap().header.unwrap().problem.unwrap();
        assert!(problem.contains("unknown value type 99"), "{problem}");
    }
}
