//! The llama.cpp builds on this machine: what each is, which backends it has, and whether CUDA works in it.

pub mod archive;
pub mod at_hand;
mod backend;
pub mod classify;
pub mod cuda_libraries;
pub mod discover;
pub mod examine;
mod member;
mod needs;
mod official;
pub(crate) mod places;
pub mod processor;
pub mod prove;
pub mod survey;
pub mod verdict;
pub mod version;

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::binary::fatbin::Target;
use crate::loader::Dependency;
use crate::probe::Token;
use crate::units::{BuildTag, ComputeCapability, CudaVersion};

/// Where a build comes from, as far as its files tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BuildKind {
    /// An archive of the project's own releases, installed by us or unpacked by hand.
    Official,
    PythonWheel,
    /// An npm package with a `.node` addon.
    Node,
    Conda,
    Homebrew,
    Nix,
    Scoop,
    Winget,
    /// The installer at llama.app.
    LlamaApp,
    LmStudio,
    Ollama,
    Jan,
    TextGenerationWebui,
    SelfBuilt,
    /// One library by itself.
    Library,
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BackendState {
    /// It was loaded in a process and listed a device whose code it has.
    Works,
    /// Everything it needs is found, or it was loaded; whether it computes was not shown.
    Loads,
    /// It is there and cannot be loaded, or has no code for any GPU of this machine.
    Blocked,
    /// The build has no such backend.
    Absent,
}

/// Whether a backend's code runs on one GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Runs {
    Native,
    /// Compiled by the driver at first use.
    Jit,
    No,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PerGpu {
    /// `CUDA0`
    pub gpu: String,
    pub runs: Runs,
    pub reason: String,
}

/// One ggml backend of a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Backend {
    /// `CUDA`, `CPU`, `Vulkan`…
    pub name: String,
    /// The file that holds it; absent if the build has none.
    pub file: Option<PathBuf>,
    pub state: BackendState,
    /// The one reason for the state.
    pub reason: String,
    /// Libraries that are not found.
    #[serde(default)]
    pub missing: Vec<String>,
    /// The CUDA major version that it is linked with.
    #[serde(default)]
    pub runtime_major: Option<u32>,
    #[serde(default)]
    pub sass: Vec<Target>,
    #[serde(default)]
    pub ptx: Vec<Target>,
    /// The PTX language version; a driver must know it to compile.
    #[serde(default)]
    pub ptx_version: Option<CudaVersion>,
    /// GPU code packed with zstd; none where there is no GPU code.
    #[serde(default)]
    pub compressed: Option<bool>,
    #[serde(default)]
    pub per_gpu: Vec<PerGpu>,
    /// K and V cache types with fast attention kernels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fa_quants: Option<String>,
    /// The version of ggml's interface to backends: as the loaded backend told it, else read from its code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_version: Option<u32>,
    /// What the loader would do with every library it needs.
    #[serde(default)]
    pub dependencies: Vec<Dependency>,
}

/// A device that the loaded build listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Device {
    /// `CUDA0`
    pub name: String,
    pub description: String,
    pub backend: String,
    /// `gpu`, `igpu`, `cpu`, `accel`
    pub kind: String,
    pub free_bytes: u64,
    pub total_bytes: u64,
    #[serde(default)]
    pub compute_capability: Option<ComputeCapability>,
}

/// One llama.cpp build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Build {
    pub path: PathBuf,
    pub kind: BuildKind,
    /// As people write it: `b11434`, or `0.5.0-dev`.
    pub version: Option<String>,
    #[serde(default)]
    pub tag: Option<BuildTag>,
    #[serde(default)]
    pub commit: Option<String>,
    #[serde(default)]
    pub ggml_version: Option<String>,
    /// `llama-server`, if the build has one.
    #[serde(default)]
    pub server: Option<PathBuf>,
    pub backends: Vec<Backend>,
    /// Libraries that `llama-server` itself needs and that are not found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub server_missing: Vec<String>,
    /// Architectures of models on this machine that the build does not know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown_architectures: Vec<String>,
    /// What `llama_print_system_info` printed when the build was loaded.
    #[serde(default)]
    pub system_info: Option<String>,
    #[serde(default)]
    pub devices: Vec<Device>,
    /// The copies of CUDA's libraries that the loaded build really took.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mapped: Vec<PathBuf>,
    /// What the loaded code was compiled for and the processor lacks: `AVX_VNNI`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub processor_lacks: Vec<String>,
    /// A token of a small model for each device, where there was one to try.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<Token>,
    /// Files of other builds among its own, files that should be there and are not: one sentence each.
    #[serde(default)]
    pub problems: Vec<String>,
    /// Whether a process loaded it, and what happened.
    #[serde(default)]
    pub probe: Option<String>,
}

impl Backend {
    /// A backend that a build does not have.
    pub(crate) fn absent(name: &str, reason: String) -> Self {
        Self {
            name: name.to_owned(),
            file: None,
            state: BackendState::Absent,
            reason,
            missing: Vec::new(),
            runtime_major: None,
            sass: Vec::new(),
            ptx: Vec::new(),
            ptx_version: None,
            compressed: None,
            per_gpu: Vec::new(),
            fa_quants: None,
            api_version: None,
            dependencies: Vec::new(),
        }
    }
}

impl Build {
    pub fn backend(&self, name: &str) -> Option<&Backend> {
        self.backends.iter().find(|backend| backend.name == name)
    }

    /// Whether no file of it holds CUDA.
    pub fn lacks_cuda(&self) -> bool {
        self.backend("CUDA").is_none_or(|backend| backend.state == BackendState::Absent)
    }
}
