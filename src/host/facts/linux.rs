//! What is known of a Linux machine's driver, containers and WSL.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Fact;
use crate::units::DriverVersion;

/// A display device of NVIDIA as the PCI bus lists it. Nothing here wakes a sleeping card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PciGpu {
    /// `0000:01:00.0`
    pub address: String,
    /// PCI device number in hexadecimal: `2204`
    pub device: String,
    /// The kernel driver bound to it: `nvidia`, `nouveau`, `vfio-pci`
    #[serde(default)]
    pub driver: Option<String>,
    /// `active`, `suspended`
    #[serde(default)]
    pub runtime_status: Option<String>,
}

/// The kernel's side of NVIDIA's driver.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KernelDriver {
    #[serde(default)]
    pub module_loaded: Fact<bool>,
    /// Of the module that is loaded.
    #[serde(default)]
    pub module_version: Fact<DriverVersion>,
    /// Whether the loaded module is the open one.
    #[serde(default)]
    pub open_module: Fact<bool>,
    /// The module's file for the kernel that runs; empty when there is none.
    #[serde(default)]
    pub module_files: Fact<Vec<PathBuf>>,
    /// Kernels on this machine that do have the module.
    #[serde(default)]
    pub other_kernels_with_module: Vec<String>,
    #[serde(default)]
    pub uvm_loaded: Fact<bool>,
    #[serde(default)]
    pub nouveau_loaded: Fact<bool>,
    #[serde(default)]
    pub secure_boot: Fact<bool>,
    /// `/dev/nvidiactl`, `/dev/nvidia0`, `/dev/nvidia-uvm`: those that exist.
    #[serde(default)]
    pub device_nodes: Fact<Vec<DeviceNode>>,
    /// The driver's lines of the kernel log: Xid errors and NVRM messages.
    #[serde(default)]
    pub messages: Fact<Vec<String>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeviceNode {
    pub path: PathBuf,
    /// Whether this user may read and write it.
    pub accessible: bool,
    /// `0660 root:video`
    #[serde(default)]
    pub mode: String,
}

/// The driver's libraries for programs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UserDriver {
    /// What the loader gives for `libcuda.so.1` or `nvcuda.dll`, links resolved.
    #[serde(default)]
    pub libcuda: Fact<PathBuf>,
    /// The version in the libraries' file names.
    #[serde(default)]
    pub library_version: Fact<DriverVersion>,
    /// `libnvidia-ptxjitcompiler.so.1`, links resolved.
    #[serde(default)]
    pub jit_compiler: Fact<PathBuf>,
    /// Further copies of `libcuda.so.1` in the usual places.
    #[serde(default)]
    pub other_libcuda: Vec<PathBuf>,
}

/// The container that the program runs in, and what it was given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Container {
    /// `docker`, `podman`, `kubernetes`, `lxc`, `flatpak`, `snap`, or another word that names it; absent outside.
    #[serde(default)]
    pub kind: Option<String>,
    /// Bytes that may be locked in memory (`ulimit -l`); unlimited is unknown with that reason.
    #[serde(default)]
    pub memlock_limit: Fact<crate::units::Bytes>,
    /// On a host: the tools that give GPUs to containers.
    #[serde(default)]
    pub tools: Option<ContainerTools>,
}

/// What a host has to give its GPUs to containers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ContainerTools {
    pub docker: bool,
    pub podman: bool,
    /// `nvidia-ctk` or `nvidia-container-runtime` on the path.
    pub toolkit: bool,
    /// Whether Docker's `daemon.json` names the nvidia runtime.
    #[serde(default)]
    pub docker_runtime: Fact<bool>,
    /// Driver libraries that CDI specifications name and that do not exist: the specification is stale.
    #[serde(default)]
    pub cdi_missing_files: Vec<PathBuf>,
    #[serde(default)]
    pub cdi_specifications: Vec<PathBuf>,
}

/// Windows' Linux.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Wsl {
    /// 1 or 2
    pub version: u32,
    /// Whether `/dev/dxg` exists.
    pub dxg: bool,
    /// Whether Windows' driver put libcuda into `/usr/lib/wsl/lib`.
    pub driver_libraries: bool,
    /// Linux driver libraries that were installed inside, where they hide Windows' ones.
    #[serde(default)]
    pub linux_driver: Vec<PathBuf>,
}
