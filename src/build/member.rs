//! The files of a build: which may belong to one, and which backends each is or holds.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::binary::Image;
use crate::host::real_path::real_path;

const MOST_ENTRIES: usize = 20_000;

/// One file of a build.
#[derive(Debug, Clone)]
pub struct Member {
    pub path: PathBuf,
    pub image: Image,
}

/// The backends that a file is, or holds.
pub fn backends_in(member: &Member) -> Vec<String> {
    let name = file_name(&member.path);
    match module_name(&name) {
        Some(Module::Backend(backend)) => return vec![backend],
        Some(Module::Plain) => return Vec::new(),
        None => {}
    }
    let exported = member.image.exports.iter().filter_map(|export| {
        let backend = export.strip_prefix("ggml_backend_")?.strip_suffix("_reg")?;
        Some(pretty(backend))
    });
    let mut names: BTreeSet<String> = exported.collect();
    names.extend(member.image.texts.backends.iter().cloned());
    if member.image.cuda.is_some() && (is_of_llama(&name) || !member.image.texts.backends.is_empty()) {
        names.insert("CUDA".to_owned());
    }
    names.into_iter().collect()
}

/// What the name of one of ggml's own libraries promises.
pub(super) enum Module {
    Backend(String),
    /// `libggml-base.so`, `libggml.so`
    Plain,
}

/// `libggml-cuda.so` → CUDA; none for a name that is not ggml's.
pub(super) fn module_name(file: &str) -> Option<Module> {
    let file = file.to_ascii_lowercase();
    let rest = file.strip_prefix("lib").unwrap_or(&file).strip_prefix("ggml")?;
    let end = rest.find(".so").or_else(|| rest.find(".dll"))?;
    let Some(backend) = rest[..end].strip_prefix('-') else { return Some(Module::Plain) };
    let backend = backend.split(['-', '.']).next().unwrap_or_default();
    Some(if backend == "base" { Module::Plain } else { Module::Backend(pretty(backend)) })
}

fn pretty(backend: &str) -> String {
    match backend {
        "cuda" => "CUDA",
        "cpu" => "CPU",
        "vk" | "vulkan" => "Vulkan",
        "hip" => "ROCm",
        "metal" => "Metal",
        "opencl" => "OpenCL",
        "openvino" => "OpenVINO",
        other => return other.to_ascii_uppercase(),
    }
    .to_owned()
}

/// The files in `folder` that may belong to a llama.cpp build: real files, each once, sorted.
pub(super) fn candidates(folder: &Path, deepest: usize) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let (mut waiting, mut seen) = (vec![(folder.to_owned(), 0)], 0);
    while let Some((folder, depth)) = waiting.pop() {
        // A folder that cannot be read holds nothing for us.
        let Ok(entries) = fs_err::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            seen += 1;
            if seen > MOST_ENTRIES {
                return found;
            }
            let Ok(kind) = entry.file_type() else { continue };
            let name = entry.file_name().to_string_lossy().into_owned();
            if kind.is_dir() {
                if depth < deepest && !name.starts_with('.') {
                    waiting.push((entry.path(), depth + 1));
                }
            } else if is_candidate(&name)
                && let Ok(real) = real_path(&entry.path())
            {
                found.insert(real);
            }
        }
    }
    found
}

/// Whether a file of this name may be part of a llama.cpp build.
pub(super) fn is_candidate(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let is_extension = [".node", ".pyd"].iter().any(|suffix| lower.ends_with(suffix));
    is_extension || (is_library_name(&lower) && is_of_llama(&lower)) || is_program(&lower)
}

pub(super) fn is_library_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.contains(".so.") || [".so", ".dll", ".pyd"].iter().any(|suffix| name.ends_with(suffix))
}

pub(super) fn is_of_llama(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["llama", "ggml", "mtmd"].iter().any(|word| name.contains(word))
}

/// Programs of llama.cpp, under their names of now and before.
pub(super) fn is_program(name: &str) -> bool {
    let stem = name.strip_suffix(".exe").unwrap_or(name);
    !stem.contains('.') && (stem == "llama" || stem.starts_with("llama-"))
}

pub fn main_folder(members: &[Member]) -> Option<PathBuf> {
    let folders: BTreeSet<&Path> = members.iter().filter_map(|member| member.path.parent()).collect();
    let count = |folder: &Path| members.iter().filter(|member| member.path.parent() == Some(folder)).count();
    folders.into_iter().max_by_key(|folder| count(folder)).map(Path::to_owned)
}

pub(super) fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
