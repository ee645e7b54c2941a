//! Whether CUDA code runs on one GPU under one driver: native, compiled by the driver, or not, and the one reason.
//!
//! Arithmetic over `manifests/cuda.toml`; no IO.

use super::{PerGpu, Runs};
use crate::binary::fatbin::{CudaCode, Target};
use crate::host::facts::{DriverFacts, Facts, Gpu, OperatingSystem};
use crate::manifest::cuda::{Cuda, cuda};
use crate::units::{ComputeCapability, CudaVersion, DriverVersion};

/// What the driver of a machine can do, as far as known.
#[derive(Debug, Clone, Copy, Default)]
pub struct Driver {
    pub version: Option<DriverVersion>,
    /// The newest CUDA it runs; told by the driver, or else derived from its version.
    pub cuda: Option<CudaVersion>,
    pub system: OperatingSystem,
}

impl Driver {
    /// `system` is the one that the driver's version counts for: Windows under WSL.
    pub fn from_facts(facts: &DriverFacts, system: OperatingSystem) -> Self {
        let version = facts.version.value().copied();
        let told = facts.cuda.value().copied();
        let derived = || version.and_then(|version| cuda().of_driver(version, system));
        Self { version, cuda: told.or_else(derived), system }
    }

    /// The driver of the machine. WSL tells the Windows driver's version, which counts as such.
    pub fn of_machine(facts: &Facts) -> Self {
        let system = if facts.wsl.is_some() { OperatingSystem::Windows } else { facts.host.operating_system };
        Self::from_facts(&facts.driver, system)
    }

    fn named(&self) -> String {
        match (self.version, self.cuda) {
            (Some(version), Some(cuda)) => format!("driver {version} runs CUDA up to {cuda}"),
            (None, Some(cuda)) => format!("the driver runs CUDA up to {cuda}"),
            (Some(version), None) => format!("the driver is {version}"),
            (None, None) => "no driver was found".to_owned(),
        }
    }
}

/// The verdict for one GPU. `runtime_major` is the CUDA major version that the backend is linked with.
pub fn judge(code: &CudaCode, runtime_major: Option<u32>, gpu: &Gpu, driver: &Driver) -> PerGpu {
    let (runs, reason) = match gpu.compute_capability {
        Some(capability) => judge_capability(code, runtime_major, capability, driver),
        None => (Runs::No, "the GPU's compute capability is not known".to_owned()),
    };
    PerGpu { gpu: gpu.id.clone(), runs, reason }
}

/// As [`judge`], for a GPU of which only the compute capability is known.
pub fn judge_capability(
    code: &CudaCode,
    runtime_major: Option<u32>,
    capability: ComputeCapability,
    driver: &Driver,
) -> (Runs, String) {
    let rules = cuda();
    if let Some(target) = native_target(&code.sass, capability) {
        let text = format!("native code for {target}");
        return match obstacle(code, runtime_major, capability, driver, rules) {
            Some(obstacle) => (Runs::No, format!("{text}, but {obstacle}")),
            None => (Runs::Native, with_need(text, code, runtime_major, driver, rules)),
        };
    }
    let Some(target) = ptx_target(&code.ptx, capability) else {
        return (Runs::No, no_code(code, runtime_major, capability, rules));
    };
    let text = format!("no native code for {capability}; PTX for {target}");
    if let Some(obstacle) = obstacle(code, runtime_major, capability, driver, rules) {
        return (Runs::No, format!("{text}, but {obstacle}"));
    }
    let Some(ptx) = code.ptx_version else {
        return (Runs::Jit, format!("{text}, which the driver compiles at first use"));
    };
    match (rules.toolkit_of_ptx(ptx), driver.cuda) {
        (Some(toolkit), Some(runs)) if runs < toolkit.version => {
            let least =
                toolkit.driver(driver.system).map_or_else(String::new, |driver| format!(" ({driver} or newer)"));
            let need = format!("PTX {ptx} needs a driver for CUDA {}{least}", toolkit.version);
            (Runs::No, format!("{text}, but {need}; {}", driver.named()))
        }
        (Some(_), Some(_)) => (Runs::Jit, format!("{text}, which the driver compiles at first use")),
        (Some(toolkit), None) => {
            (Runs::Jit, format!("{text}; needs a driver for CUDA {} or newer, none was found", toolkit.version))
        }
        // Newer than the table: only the driver itself can tell.
        (None, _) => (Runs::Jit, format!("{text}, if the driver knows PTX {ptx}")),
    }
}

/// Native code runs on its own generation, and on later ones of the same major version unless it is exact.
fn native_target(sass: &[Target], capability: ComputeCapability) -> Option<Target> {
    sass.iter()
        .filter(|target| {
            if target.exact {
                target.capability == capability
            } else {
                target.capability.major == capability.major && target.capability.minor <= capability.minor
            }
        })
        .max()
        .copied()
}

/// The driver compiles PTX of any generation that is not newer than the GPU.
fn ptx_target(ptx: &[Target], capability: ComputeCapability) -> Option<Target> {
    ptx.iter()
        .filter(|target| if target.exact { target.capability == capability } else { target.capability <= capability })
        .max()
        .copied()
}

/// What keeps the driver from running any code of the file, native or not.
fn obstacle(
    code: &CudaCode,
    runtime_major: Option<u32>,
    capability: ComputeCapability,
    driver: &Driver,
    rules: &Cuda,
) -> Option<String> {
    let runs = driver.cuda?;
    if let Some(generation) = rules.generation(capability)
        && let Some(first) = generation.first_toolkit.filter(|first| runs < *first)
    {
        let least = rules.toolkit(first).and_then(|toolkit| toolkit.driver(driver.system));
        let least = least.map_or_else(String::new, |least| format!(" ({least} or newer)"));
        let name = &generation.name;
        return Some(format!("{name} cards need a driver for CUDA {first}{least}; {}", driver.named()));
    }
    if let Some(major) = runtime_major
        && runs.major < major
    {
        let least =
            rules.oldest_driver(major, driver.system).map_or_else(String::new, |least| format!(" ({least} or newer)"));
        return Some(format!("CUDA {major} needs a driver for CUDA {major}.0{least}; {}", driver.named()));
    }
    if code.compressed && runs < rules.compression.cuda {
        let least = match driver.system {
            OperatingSystem::Linux => rules.compression.linux_driver,
            OperatingSystem::Windows => rules.compression.windows_driver,
        };
        return Some(format!("its code is compressed, which needs driver {least} or newer; {}", driver.named()));
    }
    None
}

/// Without a driver the verdict is conditional, and says so.
fn with_need(text: String, code: &CudaCode, runtime_major: Option<u32>, driver: &Driver, rules: &Cuda) -> String {
    if driver.cuda.is_some() {
        return text;
    }
    let of_major = runtime_major.map(|major| CudaVersion::new(major, 0));
    let of_compression = code.compressed.then_some(rules.compression.cuda);
    match of_major.max(of_compression) {
        Some(least) => format!("{text}; needs a driver for CUDA {least} or newer, none was found"),
        None => text,
    }
}

fn no_code(code: &CudaCode, runtime_major: Option<u32>, capability: ComputeCapability, rules: &Cuda) -> String {
    let list = |targets: &[Target]| targets.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let has = match (code.sass.is_empty(), code.ptx.is_empty()) {
        (true, true) => "it holds no GPU code".to_owned(),
        (false, true) => format!("it has native code for {} and no PTX", list(&code.sass)),
        (true, false) => format!("it has only PTX, for {}", list(&code.ptx)),
        (false, false) => format!("it has native code for {} and PTX for {}", list(&code.sass), list(&code.ptx)),
    };
    let ended = rules.generation(capability).and_then(|generation| {
        let (last, major) = (generation.last_toolkit_major?, runtime_major?);
        (major > last)
            .then(|| format!("; CUDA {major} dropped {} ({capability}): use a CUDA {last} build", generation.name))
    });
    format!("no code for {capability}: {has}{}", ended.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(list: &str) -> Vec<Target> {
        list.split_whitespace().map(|text| text.parse().unwrap()).collect()
    }

    /// Official `ubuntu-cuda-12.8`.
    fn cuda_12_8() -> CudaCode {
        CudaCode {
            sass: targets("8.6 8.9 12.0a"),
            ptx: targets("5.0 6.1 7.0 7.5 8.0 9.0"),
            ptx_version: Some(CudaVersion::new(8, 7)),
            compressed: true,
            containers: 143,
            uneven: false,
        }
    }

    /// Official `cuda-13.4`.
    fn cuda_13_4() -> CudaCode {
        CudaCode {
            sass: targets("8.6 8.9 12.0a 12.1a"),
            ptx: targets("7.5 8.0 9.0"),
            ptx_version: Some(CudaVersion::new(9, 4)),
            ..cuda_12_8()
        }
    }

    fn driver(cuda: &str) -> Driver {
        Driver { version: None, cuda: Some(cuda.parse().unwrap()), system: OperatingSystem::Linux }
    }

    fn runs(code: &CudaCode, major: u32, gpu: &str, cuda: &str) -> (Runs, String) {
        judge_capability(code, Some(major), gpu.parse().unwrap(), &driver(cuda))
    }

    #[test]
    fn native_code_needs_only_the_major_version() {
        assert_eq!(runs(&cuda_13_4(), 13, "8.6", "13.0").0, Runs::Native);
        assert_eq!(runs(&cuda_13_4(), 13, "8.7", "13.0").0, Runs::Native);
        assert_eq!(runs(&cuda_13_4(), 13, "12.1", "13.0").0, Runs::Native);
        let (no, why) = runs(&cuda_13_4(), 13, "8.6", "12.8");
        assert_eq!(no, Runs::No);
        assert!(why.contains("CUDA 13 needs a driver for CUDA 13.0 (580.65.06 or newer)"), "{why}");
    }

    #[test]
    fn ptx_needs_a_driver_as_new_as_the_toolkit() {
        let (no, why) = runs(&cuda_13_4(), 13, "7.5", "13.0");
        assert_eq!(no, Runs::No);
        assert!(why.contains("PTX 9.4 needs a driver for CUDA 13.4 (616.00 or newer)"), "{why}");
        assert_eq!(runs(&cuda_13_4(), 13, "7.5", "13.4").0, Runs::Jit);
        assert_eq!(runs(&cuda_12_8(), 12, "7.5", "13.0").0, Runs::Jit);
        assert_eq!(runs(&cuda_12_8(), 12, "6.1", "12.6").0, Runs::No);
    }

    #[test]
    fn exact_targets_serve_no_later_gpu() {
        assert_eq!(runs(&cuda_12_8(), 12, "12.0", "13.0").0, Runs::Native);
        // GB10 cannot use 120a, and falls back to PTX.
        assert_eq!(runs(&cuda_12_8(), 12, "12.1", "13.0").0, Runs::Jit);
        // 8.6 never runs on 8.0.
        assert_eq!(runs(&cuda_12_8(), 12, "8.0", "13.0").0, Runs::Jit);
    }

    #[test]
    fn compressed_code_needs_a_driver_that_unpacks_it() {
        let (no, why) = runs(&cuda_12_8(), 12, "8.6", "12.2");
        assert_eq!(no, Runs::No);
        assert!(why.contains("550.54.14"), "{why}");
        let plain = CudaCode { compressed: false, ..cuda_12_8() };
        assert_eq!(runs(&plain, 12, "8.6", "12.2").0, Runs::Native);
    }

    #[test]
    fn a_card_that_is_newer_than_the_driver_is_named() {
        let (no, why) = runs(&cuda_12_8(), 12, "12.0", "12.6");
        assert_eq!(no, Runs::No);
        assert!(why.contains("Blackwell cards need a driver for CUDA 12.8 (570.26 or newer)"), "{why}");
        assert_eq!(runs(&cuda_12_8(), 12, "12.0", "12.8").0, Runs::Native);
    }

    #[test]
    fn a_dropped_generation_is_named() {
        let (no, why) = runs(&cuda_13_4(), 13, "6.1", "13.0");
        assert_eq!(no, Runs::No);
        assert!(why.contains("CUDA 13 dropped Pascal"), "{why}");
    }

    #[test]
    fn without_a_driver_the_verdict_is_conditional() {
        let none = Driver::default();
        let (native, why) = judge_capability(&cuda_12_8(), Some(12), "8.6".parse().unwrap(), &none);
        assert_eq!(native, Runs::Native);
        assert!(why.contains("needs a driver for CUDA 12.4 or newer, none was found"), "{why}");
    }
}
