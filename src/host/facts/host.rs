//! What is known of the computer itself.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Fact;
use crate::host::windows_facts::WindowsFacts;
use crate::units::Bytes;

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
    /// `Debian GNU/Linux 12 (bookworm)`, `Windows 11 Pro 24H2`
    #[serde(default)]
    pub distribution: Fact<String>,
    /// os-release's `ID`, then the words of `ID_LIKE`: `ubuntu debian`; remedies are chosen by it.
    #[serde(default)]
    pub distribution_ids: Fact<String>,
    #[serde(default)]
    pub kernel: Fact<String>,
    /// `x86_64`, `aarch64`
    pub architecture: String,
    /// `glibc 2.36`, `musl`
    #[serde(default)]
    pub libc: Fact<String>,
    /// Linux: the newest `GLIBCXX_` version of the C++ library that the loader finds, `3.4.30`; `none` without one.
    #[serde(default)]
    pub libstdcxx: Fact<String>,
    #[serde(default)]
    pub cpu: Fact<String>,
    /// The instruction sets that llama.cpp's CPU code chooses among: `sse4_2 avx avx2 fma f16c bmi2 avx512f`.
    #[serde(default)]
    pub cpu_features: Fact<Vec<String>>,
    #[serde(default)]
    pub physical_cores: Fact<u32>,
    #[serde(default)]
    pub memory_total: Fact<Bytes>,
    #[serde(default)]
    pub memory_available: Fact<Bytes>,
    #[serde(default)]
    pub swap_total: Fact<Bytes>,
    /// What the control group (a container's limit) leaves; unlimited is unknown with that reason.
    #[serde(default)]
    pub cgroup_memory_limit: Fact<Bytes>,
    /// Processors that the control group allows.
    #[serde(default)]
    pub cgroup_cpu_limit: Fact<f64>,
    #[serde(default)]
    pub store_disk_free: Fact<Bytes>,
    /// Whether the machine runs on battery.
    #[serde(default)]
    pub on_battery: Fact<bool>,
    /// What the system does with the processor's clock: Linux' governor, or Windows' power plan. `dynamic` where the
    /// processor itself decides, whatever the governor is called.
    #[serde(default)]
    pub power_plan: Fact<String>,
    /// What only Windows has; absent elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub windows: Option<WindowsFacts>,
}

/// What a folder is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DiskPurpose {
    /// Builds and downloads of ours.
    Store,
    /// The Hugging Face cache.
    Models,
    Temporary,
}

/// The file system under a folder that matters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Disk {
    pub purpose: DiskPurpose,
    pub path: PathBuf,
    #[serde(default)]
    pub free: Fact<Bytes>,
    /// `ext4`, `9p`, `vfat`, `ntfs`
    #[serde(default)]
    pub filesystem: Fact<String>,
    /// Mounted so that nothing on it can be executed.
    #[serde(default)]
    pub noexec: Fact<bool>,
    /// Whether this user may write there, or create the folder.
    #[serde(default)]
    pub writable: Fact<bool>,
    /// Whether it is a disk with moving parts.
    #[serde(default)]
    pub rotational: Fact<bool>,
    #[serde(default)]
    pub drive: Fact<DriveKind>,
}

/// How a disk is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DriveKind {
    Fixed,
    Removable,
    Network,
    Optical,
    /// A part of the RAM.
    Memory,
}

/// Where the driver keeps what it compiled from PTX.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JitCache {
    pub path: PathBuf,
    pub writable: bool,
    /// `CUDA_CACHE_DISABLE=1`
    #[serde(default)]
    pub disabled: bool,
    /// `CUDA_CACHE_MAXSIZE`, when set
    #[serde(default)]
    pub max_size: Option<Bytes>,
}
