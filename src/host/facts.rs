//! What was learned of one machine, and how: the value that `check --save` writes and `--facts` reads.

mod gpu;
mod host;
mod linux;
mod models;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use gpu::{DriverApi, DriverApiDevice, DriverFacts, Gpu, GpuOrigin, GpuProcess, PcieLink, UnreadableGpu};
pub use host::{Disk, DiskPurpose, DriveKind, HostFacts, JitCache, OperatingSystem};
pub use linux::{Container, ContainerTools, DeviceNode, KernelDriver, PciGpu, UserDriver, Wsl};
pub use models::{ModelFile, ModelFileKind, ModelHeader, PartialDownload};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// How a fact was learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    Nvml,
    DriverApi,
    Sysfs,
    Procfs,
    File,
    Registry,
    LoaderCache,
    ChildProbe,
    Environment,
    OperatingSystem,
    Manifest,
    Simulated,
}

/// One fact: its value and how it was learned, or why it could not be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", untagged)]
pub enum Fact<T> {
    Known { value: T, from: Origin },
    Unknown { unknown: String },
}

impl<T> Fact<T> {
    pub const fn known(value: T, from: Origin) -> Self {
        Self::Known { value, from }
    }

    pub fn unknown(why: impl Into<String>) -> Self {
        Self::Unknown { unknown: why.into() }
    }

    pub const fn value(&self) -> Option<&T> {
        match self {
            Self::Known { value, .. } => Some(value),
            Self::Unknown { .. } => None,
        }
    }

    /// Why the fact is not known.
    pub fn why_unknown(&self) -> Option<&str> {
        match self {
            Self::Known { .. } => None,
            Self::Unknown { unknown } => Some(unknown),
        }
    }
}

impl<T> Default for Fact<T> {
    fn default() -> Self {
        Self::unknown("not looked at")
    }
}

/// Everything that was learned of one machine.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Facts {
    pub schema: String,
    pub host: HostFacts,
    #[serde(default)]
    pub driver: DriverFacts,
    #[serde(default)]
    pub gpus: Vec<Gpu>,
    /// NVIDIA's display devices on the PCI bus (Linux) or in the registry (Windows), whether or not a driver runs them.
    #[serde(default)]
    pub pci: Fact<Vec<PciGpu>>,
    /// The kernel's side of the driver; of Linux alone.
    #[serde(default)]
    pub kernel_driver: KernelDriver,
    /// The driver's libraries.
    #[serde(default)]
    pub user_driver: UserDriver,
    /// What libcuda itself said, in a child process.
    #[serde(default)]
    pub driver_api: Fact<DriverApi>,
    #[serde(default)]
    pub container: Container,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wsl: Option<Wsl>,
    #[serde(default)]
    pub disks: Vec<Disk>,
    #[serde(default)]
    pub jit_cache: Fact<JitCache>,
    /// The environment variables that change what CUDA or llama.cpp does, with their values.
    #[serde(default)]
    pub variables: BTreeMap<String, String>,
    /// llama.cpp's own configuration files that exist here, and the settings in them.
    #[serde(default)]
    pub llama_config: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    pub models: Fact<Vec<ModelFile>>,
    #[serde(default)]
    pub partial_downloads: Vec<PartialDownload>,
    /// Whether 127.0.0.1:8080, llama-server's default, can be listened on.
    #[serde(default)]
    pub default_port_free: Fact<bool>,
    /// Every copy of CUDA's libraries.
    #[serde(default)]
    pub cuda_libraries: Vec<crate::build::cuda_libraries::CudaLibrary>,
    /// The llama.cpp builds, each examined against this machine's GPUs and driver.
    #[serde(default)]
    pub builds: Vec<crate::build::Build>,
    /// Whether the builds were named with `--build` rather than found.
    #[serde(default)]
    pub builds_named: bool,
}

pub const SCHEMA: &str = "llama-doctor/facts/1";

/// A file given as `--facts` is none.
#[derive(Debug, Error)]
pub enum FactsError {
    #[error("{0}")]
    Unreadable(std::io::Error),
    #[error("`{path}` is not a recorded machine: {error}")]
    Malformed { path: PathBuf, error: serde_json::Error },
    #[error("`{path}` has schema `{schema}`, and this program reads `{SCHEMA}`")]
    Schema { path: PathBuf, schema: String },
}

impl Facts {
    /// Writes the machine for [`Facts::load`].
    pub fn save(&self, path: &Path) -> Result<(), FactsError> {
        let mut text = serde_json::to_string_pretty(self)
            .map_err(|error| FactsError::Malformed { path: path.to_owned(), error })?;
        text.push('\n');
        fs_err::write(path, text).map_err(FactsError::Unreadable)
    }

    /// Reads a machine that `check --save` recorded. Its GPUs say that they are recorded.
    pub fn load(path: &Path) -> Result<Self, FactsError> {
        let text = fs_err::read_to_string(path).map_err(FactsError::Unreadable)?;
        let mut facts: Self =
            serde_json::from_str(&text).map_err(|error| FactsError::Malformed { path: path.to_owned(), error })?;
        if facts.schema != SCHEMA {
            return Err(FactsError::Schema { path: path.to_owned(), schema: facts.schema });
        }
        for gpu in &mut facts.gpus {
            gpu.origin = GpuOrigin::Recorded;
        }
        Ok(facts)
    }
}
