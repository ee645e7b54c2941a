//! Every GGUF model on this machine, whoever brought it: the hub's cache, llama.cpp's old one, LM Studio, Ollama, and
//! what we pulled into folders.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::receipts::Receipt;
use crate::gguf::Model;
use crate::host::{Host, environment};
use crate::net::digest::Sha256Digest;
use crate::source::hub_cache::{CachedRepository, HubCache};
use crate::source::quantization::{GgufName, Sidecar};
use crate::units::Bytes;

/// Who brought a model here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keeper {
    HuggingFace,
    ModelScope,
    LlamaCpp,
    LmStudio,
    Ollama,
    Folder,
}

impl Keeper {
    pub const fn name(self) -> &'static str {
        match self {
            Self::HuggingFace => "hub cache",
            Self::ModelScope => "ModelScope",
            Self::LlamaCpp => "llama.cpp",
            Self::LmStudio => "LM Studio",
            Self::Ollama => "Ollama",
            Self::Folder => "folder",
        }
    }
}

/// One model, all its shards.
#[derive(Debug, Clone, Serialize)]
pub struct FoundModel {
    /// What `pull` or its keeper calls it: `org/repo:Q4_K_M`, `llama3.2:3b`, or the file's name.
    pub name: String,
    pub keeper: Keeper,
    /// In order; the first is what llama-server is told.
    pub files: Vec<FoundFile>,
    pub bytes: Bytes,
    pub architecture: Option<String>,
    pub quantization: Option<String>,
    /// A projector or draft, which is no model of its own.
    pub sidecar: Option<Sidecar>,
    /// Absent when the model is whole.
    pub problem: Option<String>,
    /// We downloaded all of it, so `remove` may take it away.
    pub removable: bool,
}

#[derive(Debug, Clone, Serialize)]
pub struct FoundFile {
    pub path: PathBuf,
    pub bytes: Bytes,
    /// What its keeper promises.
    pub sha256: Option<Sha256Digest>,
}

/// Looks everywhere. Sorted by keeper and name.
pub fn all(host: &Host, home: &Path, receipts: &[Receipt]) -> Vec<FoundModel> {
    let mut found = Vec::new();
    for cache in HubCache::all(host) {
        for repository in cache.repositories() {
            in_repository(&repository, Keeper::HuggingFace, &mut found);
        }
    }
    for repository in HubCache::at(home.join("modelscope")).repositories() {
        in_repository(&repository, Keeper::ModelScope, &mut found);
    }
    for folder in llama_cpp_folders(host) {
        in_folder(&folder, Keeper::LlamaCpp, &mut found);
    }
    for folder in lm_studio_folders(host) {
        in_folder(&folder, Keeper::LmStudio, &mut found);
    }
    for folder in ollama_folders(host) {
        in_ollama(&folder, &mut found);
    }
    let known: BTreeSet<PathBuf> = found.iter().flat_map(|model| &model.files).map(|file| file.path.clone()).collect();
    in_receipts(receipts, &known, &mut found);
    for model in &mut found {
        remember_digests(model, receipts);
        judge(model, receipts);
    }
    found.sort_by(|one, other| (one.keeper, &one.name).cmp(&(other.keeper, &other.name)));
    found
}

impl FoundModel {
    fn new(name: String, keeper: Keeper, files: Vec<FoundFile>, sidecar: Option<Sidecar>) -> Self {
        Self {
            name,
            keeper,
            bytes: Bytes(files.iter().map(|file| file.bytes.0).sum()),
            files,
            architecture: None,
            quantization: None,
            sidecar,
            problem: None,
            removable: false,
        }
    }

    /// Whether a person who types `text` means this one: its name, its name without the quantization, or a path of it.
    pub fn is_meant_by(&self, text: &str) -> bool {
        let path = std::path::absolute(text).ok();
        self.name.eq_ignore_ascii_case(text)
            || self.name.rsplit_once(':').is_some_and(|(name, _)| name.eq_ignore_ascii_case(text))
            || self.name.rsplit_once('/').is_some_and(|(name, _)| name == text)
            || self.files.iter().any(|file| Some(&file.path) == path.as_ref() || file.path == Path::new(text))
    }
}

/// Without links a file in a snapshot says nothing of its digest: what we pulled, the receipt knows.
fn remember_digests(model: &mut FoundModel, receipts: &[Receipt]) {
    for file in model.files.iter_mut().filter(|file| file.sha256.is_none()) {
        let mut pulled = receipts.iter().rev().flat_map(|receipt| &receipt.files);
        file.sha256 =
            pulled.find(|pulled| pulled.path == file.path && pulled.bytes == file.bytes).and_then(|one| one.sha256);
    }
}

/// Reads the header: architecture, quantization, and whether all is there.
fn judge(model: &mut FoundModel, receipts: &[Receipt]) {
    let Some(first) = model.files.first() else { return };
    match Model::open(&first.path) {
        Ok(header) => {
            model.architecture = header.architecture().map(str::to_owned);
            model.quantization = header.file_type().map(str::to_owned);
        }
        Err(error) => model.problem = Some(error.error.to_string()),
    }
    let tag = GgufName::parse(&first.path.to_string_lossy()).and_then(|name| name.tag);
    // The name knows mixes that the header has no number for, such as `UD-Q4_K_XL`.
    if let Some(tag) = tag.filter(|tag| is_quantization(tag)) {
        model.quantization = Some(tag);
    }
    let is_ours = |path: &PathBuf| {
        receipts.iter().flat_map(|receipt| &receipt.files).any(|pulled| pulled.ours && pulled.path == *path)
    };
    model.removable = model.files.iter().all(|file| is_ours(&file.path));
}

/// `Q4_K_M`, `IQ2_XXS`, `BF16`, `MXFP4`: letters of a family, then a digit.
fn is_quantization(tag: &str) -> bool {
    let family = tag.trim_end_matches(|c: char| !c.is_ascii_digit()).split(|c: char| c.is_ascii_digit()).next();
    family.is_some_and(|family| ["Q", "IQ", "TQ", "F", "BF", "MXFP", "NVFP"].contains(&family))
}

/// A file that may be a shard: its path, length and promised hash, under the name that its keeper shows.
struct Piece {
    shown: String,
    file: FoundFile,
}

/// Puts shards of one model together; `name` makes a model's name of its first file's.
fn assemble(pieces: Vec<Piece>, keeper: Keeper, name: &dyn Fn(&str) -> String, found: &mut Vec<FoundModel>) {
    let mut groups: BTreeMap<(String, u32), Vec<(u32, Piece)>> = BTreeMap::new();
    for piece in pieces {
        if let Some(parsed) = GgufName::parse(&piece.shown) {
            groups.entry((parsed.prefix, parsed.shards)).or_default().push((parsed.shard, piece));
        }
    }
    for mut shards in groups.into_values() {
        shards.sort_by_key(|(shard, _)| *shard);
        let shown = shards[0].1.shown.clone();
        let files = shards.into_iter().map(|(_, piece)| piece.file).collect();
        found.push(FoundModel::new(name(&shown), keeper, files, Sidecar::of(&shown)));
    }
}

fn in_repository(repository: &CachedRepository, keeper: Keeper, found: &mut Vec<FoundModel>) {
    let mut seen = BTreeSet::new();
    for commit in repository.snapshots() {
        let pieces = repository
            .files(&commit)
            .into_iter()
            // The same bytes in an older snapshot are no further model.
            .filter(|file| seen.insert((file.name.clone(), file.blob.clone())))
            .map(|file| Piece {
                shown: file.name.to_string(),
                file: FoundFile { sha256: file.promised_sha256(), bytes: Bytes(file.bytes), path: file.path },
            })
            .collect();
        let prefix = if keeper == Keeper::ModelScope { "ms:" } else { "" };
        let name = |shown: &str| match GgufName::parse(shown).and_then(|name| name.tag) {
            Some(tag) if Sidecar::of(shown).is_none() && is_quantization(&tag) => {
                format!("{prefix}{}:{tag}", repository.id)
            }
            _ => format!("{prefix}{}/{shown}", repository.id),
        };
        assemble(pieces, keeper, &name, found);
    }
}

fn in_folder(folder: &Path, keeper: Keeper, found: &mut Vec<FoundModel>) {
    let mut paths = Vec::new();
    collect(folder, 0, &mut paths);
    let pieces = paths.into_iter().filter_map(|path| {
        let shown = path.strip_prefix(folder).ok()?.to_string_lossy().replace('\\', "/");
        let bytes = fs_err::metadata(&path).ok().filter(std::fs::Metadata::is_file)?.len();
        Some(Piece { shown, file: FoundFile { path, bytes: Bytes(bytes), sha256: None } })
    });
    assemble(pieces.collect(), keeper, &|shown| shown.trim_end_matches(".gguf").to_owned(), found);
}

fn collect(folder: &Path, depth: usize, paths: &mut Vec<PathBuf>) {
    const DEEPEST: usize = 5;
    let Ok(entries) = fs_err::read_dir(folder) else { return };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        if path.extension().is_some_and(|extension| extension == "gguf") {
            paths.push(path);
        } else if depth < DEEPEST && path.is_dir() && !path.is_symlink() {
            collect(&path, depth + 1, paths);
        }
    }
}

/// llama.cpp kept `org_repo_file.gguf` here until March 2026, and still does with what `-mu` fetches (b11434
/// `common/common.cpp:989`).
fn llama_cpp_folders(host: &Host) -> Vec<PathBuf> {
    let folder = |name: &str| host.variable(name).map(PathBuf::from);
    let caches = if cfg!(windows) {
        folder(environment::LOCALAPPDATA.name)
    } else if cfg!(target_os = "macos") {
        host.home().map(|home| home.join("Library").join("Caches"))
    } else {
        folder(environment::XDG_CACHE_HOME.name).or_else(|| Some(host.home()?.join(".cache")))
    };
    caches.map(|caches| caches.join("llama.cpp")).into_iter().collect()
}

/// LM Studio 0.3 and later, and before; the pointer file names another home.
fn lm_studio_folders(host: &Host) -> Vec<PathBuf> {
    let Some(home) = host.home() else { return Vec::new() };
    let pointed = fs_err::read_to_string(home.join(".lmstudio-home-pointer")).ok();
    let pointed = pointed.map(|text| PathBuf::from(text.trim()).join("models")).filter(|path| path.is_absolute());
    let mut folders = vec![home.join(".lmstudio").join("models"), home.join(".cache").join("lm-studio").join("models")];
    folders.extend(pointed);
    folders.sort();
    folders.dedup();
    folders
}

/// `OLLAMA_MODELS`, the user's, and that of the service's own user on Linux.
fn ollama_folders(host: &Host) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> =
        host.variable(environment::OLLAMA_MODELS.name).map(PathBuf::from).into_iter().collect();
    folders.extend(host.home().map(|home| home.join(".ollama").join("models")));
    if cfg!(unix) {
        folders.push(host.path("/usr/share/ollama/.ollama/models"));
    }
    folders.sort();
    folders.dedup();
    folders
}

/// Ollama's manifests are those of container images; the layer of this type is a GGUF file.
#[derive(Deserialize)]
struct OllamaManifest {
    layers: Vec<OllamaLayer>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OllamaLayer {
    media_type: String,
    digest: Sha256Digest,
    size: u64,
}

/// `manifests/HOST/NAMESPACE/NAME/TAG` and `blobs/sha256-…`
fn in_ollama(folder: &Path, found: &mut Vec<FoundModel>) {
    let mut manifests = Vec::new();
    collect_files(&folder.join("manifests"), 0, &mut manifests);
    for path in manifests {
        let Ok(relative) = path.strip_prefix(folder.join("manifests")) else { continue };
        let Ok(text) = fs_err::read_to_string(&path) else { continue };
        let Ok(manifest) = serde_json::from_str::<OllamaManifest>(&text) else { continue };
        let parts: Vec<String> = relative.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        let [host, namespace, name, tag] = &parts[..] else { continue };
        let shown = match (host.as_str(), namespace.as_str()) {
            ("registry.ollama.ai", "library") => format!("{name}:{tag}"),
            ("registry.ollama.ai", _) => format!("{namespace}/{name}:{tag}"),
            _ => format!("{host}/{namespace}/{name}:{tag}"),
        };
        let kinds = [
            ("application/vnd.ollama.image.model", None),
            ("application/vnd.ollama.image.projector", Some(Sidecar::Projector)),
        ];
        for layer in manifest.layers {
            let Some((_, sidecar)) = kinds.iter().find(|(kind, _)| *kind == layer.media_type) else { continue };
            let path = folder.join("blobs").join(format!("sha256-{}", layer.digest));
            let present = fs_err::metadata(&path).map_or(0, |metadata| metadata.len());
            let file = FoundFile { path, bytes: Bytes(layer.size), sha256: Some(layer.digest) };
            let mut model = FoundModel::new(shown.clone(), Keeper::Ollama, vec![file], *sidecar);
            if present != layer.size {
                model.problem = Some(format!("has {present} of {} bytes", layer.size));
            }
            found.push(model);
        }
    }
}

fn collect_files(folder: &Path, depth: usize, paths: &mut Vec<PathBuf>) {
    let Ok(entries) = fs_err::read_dir(folder) else { return };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        if path.is_file() {
            paths.push(path);
        } else if depth < 4 {
            collect_files(&path, depth + 1, paths);
        }
    }
}

/// What we pulled into folders of the user's choice. Files that are gone were removed by their owner.
fn in_receipts(receipts: &[Receipt], known: &BTreeSet<PathBuf>, found: &mut Vec<FoundModel>) {
    for receipt in receipts {
        let pieces = receipt.files.iter().filter(|file| !known.contains(&file.path)).filter_map(|file| {
            let bytes = fs_err::metadata(&file.path).ok()?.len();
            let shown = file.path.file_name()?.to_string_lossy().into_owned();
            Some(Piece { shown, file: FoundFile { path: file.path.clone(), bytes: Bytes(bytes), sha256: file.sha256 } })
        });
        assemble(pieces.collect(), Keeper::Folder, &|shown| shown.trim_end_matches(".gguf").to_owned(), found);
    }
}
