//! What a file is, read from its bytes without running it: ELF or PE, what it needs, which CUDA code it carries.
//!
//! Nothing here trusts the file: every offset is checked, every table is capped, and a file that lies about itself
//! gives a [`BinaryError`]. Only headers, name tables and code containers' headers are read, so the size of the
//! file does not matter.

mod backend_api;
pub mod elf;
pub mod fatbin;
pub mod pe;
pub mod side_by_side;
pub mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Seek};
use std::path::Path;

use object::read::{ReadCache, ReadCacheOps, ReadRef};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use fatbin::CudaCode;

#[derive(Debug, Error)]
pub enum BinaryError {
    #[error("{0}")]
    Unreadable(std::io::Error),
    #[error("neither an ELF nor a PE file")]
    NotABinary,
    #[error("a damaged {format} file: {what}")]
    Damaged { format: &'static str, what: String },
}

impl BinaryError {
    fn damaged(format: &'static str, what: impl Into<String>) -> Self {
        Self::Damaged { format, what: what.into() }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Linux
    Elf,
    /// Windows
    Pe,
}

/// The processor that a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Machine {
    #[serde(rename = "x86")]
    X86,
    #[serde(rename = "x86_64")]
    X86_64,
    #[serde(rename = "aarch64")]
    Aarch64,
    #[serde(rename = "other")]
    Other,
}

impl Machine {
    /// As Rust and `uname -m` name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::X86 => "x86",
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
            Self::Other => "another processor",
        }
    }
}

/// The symbol versions that a file wants of one library: `GLIBC_2.34` of `libc.so.6`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RequiredVersions {
    pub library: String,
    pub versions: Vec<String>,
}

/// What a library or program says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Image {
    pub format: Format,
    pub machine: Machine,
    /// SONAME, or the name in a DLL's export table.
    pub name: Option<String>,
    /// Libraries that must be there when it is loaded, in the file's order.
    pub needed: Vec<String>,
    /// Windows: libraries wanted at the first call only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub delayed: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rpath: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runpath: Vec<String>,
    /// Linux programs: the loader that starts them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interpreter: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub required_versions: Vec<RequiredVersions>,
    /// Symbol versions that it defines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub provided_versions: Vec<String>,
    /// Windows: the version resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_version: Option<String>,
    /// Windows: the assemblies that its side-by-side manifest asks for; none without a manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assemblies: Option<Vec<side_by_side::Assembly>>,
    /// GPU code, if there is any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cuda: Option<CudaCode>,
    /// Exported functions whose names tell what the file is; filled by [`Depth::Sampled`].
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub exports: BTreeSet<String>,
    /// Versions that it exports: `llama_version`, `ggml_version`, `LLAMA_BUILD_NUMBER`, and by the name of a backend's
    /// registration (`ggml_backend_cuda_reg`) the version of ggml's interface; filled by [`Depth::Sampled`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub constants: BTreeMap<String, String>,
    /// Linux: functions of ggml and llama that it wants of others, and those that it has for others; filled by [`Depth::Sampled`].
    #[serde(skip)]
    pub wanted: BTreeSet<String>,
    #[serde(skip)]
    pub offered: BTreeSet<String>,
    /// What its texts tell; filled by [`Depth::Sampled`].
    #[serde(default)]
    pub texts: text::Texts,
}

/// How much of a file to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// What the loader reads: machine, needs, versions.
    Links,
    /// Also exported names, telling texts, and the first container of GPU code; for files that cannot be sought in cheaply.
    Sampled,
    /// Also all containers of GPU code.
    Everything,
}

/// Reads the file at `path`.
pub fn read_file(path: &Path, depth: Depth) -> Result<Image, BinaryError> {
    let file = fs_err::File::open(path).map_err(BinaryError::Unreadable)?;
    if !file.metadata().map_err(BinaryError::Unreadable)?.is_file() {
        return Err(BinaryError::NotABinary);
    }
    read(file.into_file(), depth)
}

/// Reads an image from anything that can seek.
pub fn read(source: impl Read + Seek, depth: Depth) -> Result<Image, BinaryError> {
    let cache = ReadCache::new(source);
    read_from(&cache, depth)
}

/// The section of that name of a PE file, if the file can be read and has it.
pub fn section(path: &Path, name: &[u8; 7]) -> Option<Vec<u8>> {
    let cache = open(path).ok()?;
    pe::section(&cache, name).ok()?.map(<[u8]>::to_vec)
}

/// The functions that the PE file at `path` imports from `library` by name.
pub fn imported_functions(path: &Path, library: &str) -> Result<BTreeSet<String>, BinaryError> {
    pe::imported_functions(&open(path)?, library)
}

/// The functions that the PE file at `path` exports by name.
pub fn exported_names(path: &Path) -> Result<BTreeSet<String>, BinaryError> {
    pe::exported_names(&open(path)?)
}

fn open(path: &Path) -> Result<ReadCache<std::fs::File>, BinaryError> {
    let file = fs_err::File::open(path).map_err(BinaryError::Unreadable)?;
    Ok(ReadCache::new(file.into_file()))
}

fn read_from<R: ReadCacheOps>(cache: &ReadCache<R>, depth: Depth) -> Result<Image, BinaryError> {
    let magic = cache.read_bytes_at(0, 4).map_err(|()| BinaryError::NotABinary)?;
    match magic {
        [0x7f, b'E', b'L', b'F'] => elf::read(cache, depth),
        [b'M', b'Z', ..] => pe::read(cache, depth),
        _ => Err(BinaryError::NotABinary),
    }
}

/// Exported functions that only return a constant text, and exported numbers.
const VERSION_FUNCTIONS: [&str; 3] = ["llama_version", "ggml_version", "ggml_commit"];
const VERSION_NUMBERS: [&str; 1] = ["LLAMA_BUILD_NUMBER"];
/// The code of such a function is no longer than this.
const VERSION_FUNCTION_BYTES: u64 = 20;

/// The address of the text that a function returns, where all it does is return one. `address` is the function's own.
fn returned_text_address(code: &[u8], address: u64, machine: Machine) -> Option<u64> {
    match machine {
        Machine::X86_64 => {
            const END_BRANCH: &[u8] = &[0xf3, 0x0f, 0x1e, 0xfa];
            const LOAD_ADDRESS: &[u8] = &[0x48, 0x8d, 0x05];
            let skipped = if code.starts_with(END_BRANCH) { END_BRANCH.len() } else { 0 };
            let offset = code.get(skipped..)?.strip_prefix(LOAD_ADDRESS)?.get(..5)?;
            let (offset, rest) = offset.split_at(4);
            let is_return = rest == [0xc3];
            let offset = i64::from(i32::from_le_bytes(offset.try_into().ok()?));
            let next = address.checked_add((skipped + LOAD_ADDRESS.len() + 4) as u64)?;
            is_return.then(|| next.checked_add_signed(offset)).flatten()
        }
        _ => None,
    }
}

/// A C function of ggml or llama.
fn is_of_llama(symbol: &str) -> bool {
    ["ggml_", "gguf_", "llama_", "mtmd_"].iter().any(|prefix| symbol.starts_with(prefix))
}

/// Exports worth remembering: they tell a ggml backend, libllama, cudart, cuBLAS or the driver.
fn is_telling(export: &str) -> bool {
    const WHOLE: [&str; 8] = [
        "llama_print_system_info",
        "llama_version",
        "llama_model_load_from_file",
        "ggml_version",
        "cudaRuntimeGetVersion",
        "cublasGetVersion_v2",
        "cuDriverGetVersion",
        "nvmlInit_v2",
    ];
    WHOLE.contains(&export)
        || export.strip_prefix("ggml_backend_").is_some_and(|rest| {
            rest.ends_with("_reg") && rest.matches('_').count() == 1 || matches!(rest, "init" | "score" | "load_all")
        })
}
