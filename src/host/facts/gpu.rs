//! What is known of the GPUs and of the driver that answers for them.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Fact;
use crate::units::{Bytes, ComputeCapability, CudaVersion, DriverVersion};

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
    #[serde(default)]
    pub memory_bandwidth: Fact<u64>,
    #[serde(default)]
    pub uuid: Fact<String>,
    /// `00000000:01:00.0`
    #[serde(default)]
    pub pci_bus_id: Fact<String>,
    #[serde(default)]
    pub pcie: Fact<PcieLink>,
    /// Whether MIG splits the card; of a MIG instance itself: true.
    #[serde(default)]
    pub mig_enabled: Fact<bool>,
    #[serde(default)]
    pub ecc_enabled: Fact<bool>,
    /// Whether memory pages wait for a reset to be retired or remapped.
    #[serde(default)]
    pub retirement_pending: Fact<bool>,
    #[serde(default)]
    pub display_active: Fact<bool>,
    #[serde(default)]
    pub processes: Fact<Vec<GpuProcess>>,
    /// `default`, `exclusive-process`, `exclusive-thread` or `prohibited`.
    #[serde(default)]
    pub compute_mode: Fact<String>,
    /// NVML's clock event bits: 0x4 power cap, 0x8 hardware slowdown, 0x20 and 0x40 heat, 0x80 power brake.
    #[serde(default)]
    pub throttle_bits: Fact<u64>,
    #[serde(default)]
    pub temperature_celsius: Fact<u32>,
    /// Share of the last sample period in which a kernel ran, in percent.
    #[serde(default)]
    pub utilization_percent: Fact<u32>,
    #[serde(default)]
    pub power_limit_watts: Fact<u32>,
    #[serde(default)]
    pub power_limit_default_watts: Fact<u32>,
    #[serde(default)]
    pub bar1_total: Fact<Bytes>,
    /// Windows: `wddm`, `tcc` or `mcdm`.
    #[serde(default)]
    pub driver_model: Fact<String>,
    /// `none`, `passthrough`, `vgpu`, `host-vgpu` or `host-vsga`.
    #[serde(default)]
    pub virtualization: Fact<String>,
    /// Whether `CUDA_VISIBLE_DEVICES` lets CUDA programs see it.
    #[serde(default = "visible")]
    pub visible: bool,
}

const fn visible() -> bool {
    true
}

impl Gpu {
    /// A GPU of which only the essentials are known.
    pub fn new(
        id: impl Into<String>,
        origin: GpuOrigin,
        name: impl Into<String>,
        compute_capability: Option<ComputeCapability>,
        total: Bytes,
        free: Bytes,
    ) -> Self {
        Self {
            id: id.into(),
            origin,
            name: name.into(),
            compute_capability,
            total,
            free,
            memory_bandwidth: Fact::default(),
            uuid: Fact::default(),
            pci_bus_id: Fact::default(),
            pcie: Fact::default(),
            mig_enabled: Fact::default(),
            ecc_enabled: Fact::default(),
            retirement_pending: Fact::default(),
            display_active: Fact::default(),
            processes: Fact::default(),
            compute_mode: Fact::default(),
            throttle_bits: Fact::default(),
            temperature_celsius: Fact::default(),
            utilization_percent: Fact::default(),
            power_limit_watts: Fact::default(),
            power_limit_default_watts: Fact::default(),
            bar1_total: Fact::default(),
            driver_model: Fact::default(),
            virtualization: Fact::default(),
            visible: true,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PcieLink {
    pub generation: u32,
    pub width: u32,
    pub max_generation: u32,
    pub max_width: u32,
}

/// A GPU that NVML counts and then cannot open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UnreadableGpu {
    /// NVML's number of it.
    pub index: u32,
    /// NVML's return code (15 = lost).
    pub code: Option<u32>,
    pub reason: String,
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
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<UnreadableGpu>,
}

/// What the CUDA driver API answered in a child process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DriverApi {
    /// The library that the loader gave for `libcuda.so.1` or `nvcuda.dll`.
    pub library: PathBuf,
    /// `cuInit`'s return code; absent when the child died or hung before it answered.
    pub init: Option<u32>,
    /// What became of the child when it did not answer.
    #[serde(default)]
    pub died: Option<String>,
    #[serde(default)]
    pub cuda: Option<CudaVersion>,
    /// In CUDA's order, after `CUDA_VISIBLE_DEVICES`.
    #[serde(default)]
    pub devices: Vec<DriverApiDevice>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DriverApiDevice {
    pub name: String,
    pub compute_capability: Option<ComputeCapability>,
    /// `0000:01:00.0`
    pub pci_bus_id: Option<String>,
    pub total: Option<Bytes>,
}
