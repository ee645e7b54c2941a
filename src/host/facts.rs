//! What was learned of one machine, and how: the value that `check --save` writes and `--facts` reads.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::host::windows_facts::WindowsFacts;
use crate::units::{Bytes, ComputeCapability, CudaVersion, DriverVersion};

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

/// Where the figures of a GPU come from, as the contract names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum GpuOrigin {
    Nvml,
    Simulated,
    Recorded,
}

/// A process that holds memory of a GPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GpuProcess {
    pub pid: u32,
    pub name: String,
    /// Absent where the driver does not say (Windows' WDDM).
    pub used: Option<Bytes>,
    pub graphics: bool,
}

/// One NVIDIA GPU, numbered as CUDA numbers it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Gpu {
    /// CUDA's name for it in llama.cpp: `CUDA0`; of a GPU that `CUDA_VISIBLE_DEVICES` hides: `hidden`.
    pub id: String,
    pub origin: GpuOrigin,
    pub name: String,
    pub compute_capability: Option<ComputeCapability>,
    pub total: Bytes,
    /// Free before any CUDA context of ours exists.
    pub free: Bytes,
    /// Peak memory bandwidth in bytes a second, where known.
    pub memory_bandwidth: Fact<u64>,
    #[serde(default)]
    pub uuid: Fact<String>,
    /// `00000000:01:00.0`
    #[serde(default)]
    pub pci_bus_id: Fact<String>,
    #[serde(default)]
    pub pcie: Fact<PcieLink>,
    #[serde(default)]
    pub mig_enabled: Fact<bool>,
    #[serde(default)]
    pub ecc_enabled: Fact<bool>,
    #[serde(default)]
    pub display_active: Fact<bool>,
    #[serde(default)]
    pub processes: Fact<Vec<GpuProcess>>,
    /// Whether `CUDA_VISIBLE_DEVICES` lets CUDA programs see it.
    #[serde(default = "visible")]
    pub visible: bool,
}

const fn visible() -> bool {
    true
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PcieLink {
    pub generation: u32,
    pub width: u32,
    pub max_generation: u32,
    pub max_width: u32,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DriverFacts {
    /// What NVML says; under WSL it is the Windows driver's version.
    #[serde(default)]
    pub version: Fact<DriverVersion>,
    /// The newest CUDA that this driver runs.
    #[serde(default)]
    pub cuda: Fact<CudaVersion>,
    /// How NVML answered: the library that was loaded, or the reason in words.
    #[serde(default)]
    pub nvml: Fact<PathBuf>,
    /// NVML's return code when it failed (18 = library and kernel module differ).
    #[serde(default)]
    pub nvml_code: Option<u32>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OperatingSystem {
    #[default]
    Linux,
    Windows,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HostFacts {
    pub operating_system: OperatingSystem,
    /// `Debian GNU/Linux 12 (bookworm)`
    #[serde(default)]
    pub distribution: Fact<String>,
    #[serde(default)]
    pub kernel: Fact<String>,
    /// `x86_64`, `aarch64`
    pub architecture: String,
    /// `glibc 2.36`
    #[serde(default)]
    pub libc: Fact<String>,
    #[serde(default)]
    pub cpu: Fact<String>,
    #[serde(default)]
    pub physical_cores: Fact<u32>,
    #[serde(default)]
    pub memory_total: Fact<Bytes>,
    #[serde(default)]
    pub memory_available: Fact<Bytes>,
    #[serde(default)]
    pub store_disk_free: Fact<Bytes>,
    /// What only Windows has; absent elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub windows: Option<WindowsFacts>,
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
