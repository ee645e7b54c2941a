//! `manifests/cuda.toml`: toolkits with their drivers and PTX versions, and NVIDIA's compatibility rules.

use std::sync::LazyLock;

use serde::Deserialize;

use crate::host::facts::OperatingSystem;
use crate::units::{ComputeCapability, CudaVersion, DriverVersion};

/// One CUDA toolkit, the driver it came with and the PTX language it writes.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Toolkit {
    pub version: CudaVersion,
    /// PTX ISA
    pub ptx: CudaVersion,
    #[serde(default)]
    pub linux_driver: Option<DriverVersion>,
    #[serde(default)]
    pub windows_driver: Option<DriverVersion>,
    #[serde(default)]
    pub note: String,
    pub source: String,
    pub checked: String,
}

/// Within one major version, native code runs on every driver from this one on.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MinorVersionCompatibility {
    pub major: u32,
    pub linux_driver: DriverVersion,
    pub windows_driver: DriverVersion,
    pub source: String,
    pub checked: String,
}

/// The first driver that unpacks zstd-compressed code.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compression {
    pub cuda: CudaVersion,
    pub linux_driver: DriverVersion,
    pub windows_driver: DriverVersion,
    pub source: String,
    pub checked: String,
}

/// A generation of GPUs.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Generation {
    pub name: String,
    pub compute_capabilities: Vec<ComputeCapability>,
    /// The last CUDA major version that compiles for it, where that has an end.
    #[serde(default)]
    pub last_toolkit_major: Option<u32>,
    /// The last driver branch that supports it, where that has an end.
    #[serde(default)]
    pub last_driver_branch: Option<u32>,
    /// A driver for an older CUDA does not know these cards.
    pub first_toolkit: Option<CudaVersion>,
    pub source: String,
    pub checked: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cuda {
    /// Newest first.
    #[serde(rename = "toolkit")]
    pub toolkits: Vec<Toolkit>,
    pub minor_version_compatibility: Vec<MinorVersionCompatibility>,
    pub compression: Compression,
    #[serde(rename = "generation")]
    pub generations: Vec<Generation>,
}

/// Parsed once; the test below proves that the embedded file parses.
#[expect(clippy::expect_used, reason = "the file is embedded and a test parses it")]
static CUDA: LazyLock<Cuda> =
    LazyLock::new(|| toml::from_str(include_str!("../../manifests/cuda.toml")).expect("manifests/cuda.toml parses"));

pub fn cuda() -> &'static Cuda {
    &CUDA
}

impl Cuda {
    /// The oldest toolkit that writes this PTX version: a driver must be as new to compile it.
    pub fn toolkit_of_ptx(&self, ptx: CudaVersion) -> Option<&Toolkit> {
        self.toolkits.iter().rev().find(|toolkit| toolkit.ptx >= ptx)
    }

    pub fn toolkit(&self, version: CudaVersion) -> Option<&Toolkit> {
        self.toolkits.iter().find(|toolkit| toolkit.version == version)
    }

    /// The newest CUDA that a driver of this version runs, as far as the table tells.
    pub fn of_driver(&self, version: DriverVersion, system: OperatingSystem) -> Option<CudaVersion> {
        self.toolkits
            .iter()
            .find(|toolkit| toolkit.driver(system).is_some_and(|least| version >= least))
            .map(|toolkit| toolkit.version)
    }

    pub fn generation(&self, capability: ComputeCapability) -> Option<&Generation> {
        self.generations.iter().find(|generation| generation.compute_capabilities.contains(&capability))
    }

    /// The oldest driver for native code of a CUDA major version.
    pub fn oldest_driver(&self, major: u32, system: OperatingSystem) -> Option<DriverVersion> {
        let row = self.minor_version_compatibility.iter().find(|row| row.major == major)?;
        Some(match system {
            OperatingSystem::Linux => row.linux_driver,
            OperatingSystem::Windows => row.windows_driver,
        })
    }
}

impl Toolkit {
    pub const fn driver(&self, system: OperatingSystem) -> Option<DriverVersion> {
        match system {
            OperatingSystem::Linux => self.linux_driver,
            OperatingSystem::Windows => self.windows_driver,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_fall_down_the_table() {
        for pair in cuda().toolkits.windows(2) {
            assert!(pair[0].version > pair[1].version && pair[0].ptx >= pair[1].ptx);
            if let (Some(newer), Some(older)) = (pair[0].linux_driver, pair[1].linux_driver) {
                assert!(newer > older, "{}", pair[0].version);
            }
        }
        assert!(cuda().toolkits.iter().all(|toolkit| !toolkit.source.is_empty() && !toolkit.checked.is_empty()));
    }

    #[test]
    fn drivers_and_ptx_find_their_toolkit() {
        let driver = |text: &str| text.parse::<DriverVersion>().unwrap();
        let linux = OperatingSystem::Linux;
        assert_eq!(cuda().of_driver(driver("535.183.01"), linux), Some(CudaVersion::new(12, 2)));
        assert_eq!(cuda().of_driver(driver("580.95.05"), linux), Some(CudaVersion::new(13, 0)));
        assert_eq!(cuda().of_driver(driver("616.92"), OperatingSystem::Windows), Some(CudaVersion::new(13, 4)));
        assert_eq!(cuda().toolkit_of_ptx(CudaVersion::new(8, 5)).unwrap().version, CudaVersion::new(12, 5));
        assert!(cuda().toolkit_of_ptx(CudaVersion::new(9, 9)).is_none());
        assert_eq!(cuda().generation(ComputeCapability::new(6, 1)).unwrap().last_toolkit_major, Some(12));
    }
}
