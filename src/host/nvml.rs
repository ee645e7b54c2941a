//! What NVML says of the driver and the GPUs. No GPU, no driver and a half-broken driver are ordinary answers.

use std::ffi::OsString;
use std::path::PathBuf;

use nvml_wrapper::enum_wrappers::device::{Clock, ComputeMode, TemperatureSensor};
use nvml_wrapper::enums::device::UsedGpuMemory;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};

use super::Host;
use super::cuda_order::Ranked;
use super::facts::{DriverFacts, Fact, Gpu, GpuOrigin, GpuProcess, Origin, PcieLink, UnreadableGpu};
use super::nvml_code::{code_of, in_words};
use crate::units::{Bytes, ComputeCapability, CudaVersion};

/// The driver's facts, and the GPUs in PCI order with how fast each is.
pub(super) fn observe(host: &Host) -> (DriverFacts, Vec<Ranked>) {
    if !matches!(host, Host::Live) {
        return (DriverFacts::default(), Vec::new());
    }
    match open(host) {
        Ok((nvml, library)) => read(host, &nvml, library),
        Err((code, reason)) => {
            let unknown = || reason.clone();
            let facts = DriverFacts {
                version: Fact::unknown(unknown()),
                cuda: Fact::unknown(unknown()),
                nvml: Fact::unknown(unknown()),
                nvml_code: code,
                unreadable: Vec::new(),
            };
            (facts, Vec::new())
        }
    }
}

/// Loads the first NVML that is there. A library that loads and then refuses ends the search: it is the driver's own answer.
fn open(host: &Host) -> Result<(Nvml, OsString), (Option<u32>, String)> {
    let mut reasons = Vec::new();
    for library in super::platform::nvml_libraries(host) {
        match Nvml::builder().lib_path(&library).init() {
            Ok(nvml) => return Ok((nvml, library)),
            Err(NvmlError::LibloadingError(error)) => {
                reasons.push(format!("`{}` does not load: {error}", library.display()));
            }
            Err(error) => return Err((code_of(&error), in_words(&error))),
        }
    }
    tracing::debug!(?reasons, "no NVML");
    Err((None, reasons.into_iter().next().unwrap_or_else(|| "no NVML library is known for this system".to_owned())))
}

fn read(host: &Host, nvml: &Nvml, library: OsString) -> (DriverFacts, Vec<Ranked>) {
    let mut facts = DriverFacts {
        version: match nvml.sys_driver_version() {
            Ok(text) => text.parse().map_or_else(
                |error: crate::units::ParseUnitError| Fact::unknown(error.to_string()),
                |version| Fact::known(version, Origin::Nvml),
            ),
            Err(error) => Fact::unknown(in_words(&error)),
        },
        cuda: match nvml.sys_cuda_driver_version() {
            Ok(number) => CudaVersion::from_integer(number).map_or_else(
                || Fact::unknown(format!("the driver says `{number}`, which is no CUDA version")),
                |version| Fact::known(version, Origin::Nvml),
            ),
            Err(error) => Fact::unknown(in_words(&error)),
        },
        nvml: Fact::known(
            super::platform::loaded_library(host, &library).unwrap_or(PathBuf::from(library)),
            Origin::Nvml,
        ),
        nvml_code: None,
        unreadable: Vec::new(),
    };
    let count = match nvml.device_count() {
        Ok(count) => count,
        Err(error) => {
            facts.nvml_code = code_of(&error);
            facts.unreadable.push(UnreadableGpu { index: 0, code: code_of(&error), reason: in_words(&error) });
            0
        }
    };
    let mut gpus = Vec::new();
    for index in 0..count {
        match nvml.device_by_index(index).and_then(|device| read_card(host, nvml, &device)) {
            Ok(cards) => gpus.extend(cards),
            Err(error) => {
                facts.unreadable.push(UnreadableGpu { index, code: code_of(&error), reason: in_words(&error) });
            }
        }
    }
    (facts, gpus)
}

/// One card: itself, or its MIG instances when it is split.
fn read_card(host: &Host, nvml: &Nvml, device: &Device<'_>) -> Result<Vec<Ranked>, NvmlError> {
    let card = read_gpu(host, nvml, device)?;
    if card.gpu.mig_enabled.value() != Some(&true) {
        return Ok(vec![card]);
    }
    let places = device.mig_device_count().unwrap_or(0);
    let instances: Vec<Ranked> = (0..places)
        .filter_map(|index| device.mig_device_by_index(index).ok())
        .filter_map(|instance| {
            let (total, free) = memory(nvml, &instance).ok()?;
            let gpu = Gpu {
                name: instance.name().unwrap_or_else(|_| format!("{} MIG", card.gpu.name)),
                uuid: fact(instance.uuid()),
                total,
                free,
                ..card.gpu.clone()
            };
            Some(Ranked { gpu, speed: card.speed, mig_instance: true })
        })
        .collect();
    Ok(if instances.is_empty() { vec![card] } else { instances })
}

fn read_gpu(host: &Host, nvml: &Nvml, device: &Device<'_>) -> Result<Ranked, NvmlError> {
    // A lost card fails at its first question.
    let name = device.name()?;
    let (total, free) = match memory(nvml, device) {
        // A chip that shares the machine's memory (GB10, Jetson) has none of its own to report.
        Err(NvmlError::NotSupported) => shared_memory(host).ok_or(NvmlError::NotSupported)?,
        answer => answer?,
    };
    let capability = device.cuda_compute_capability().ok().and_then(|capability| {
        Some(ComputeCapability::new(capability.major.try_into().ok()?, capability.minor.try_into().ok()?))
    });
    let gpu = Gpu {
        memory_bandwidth: fact(device.memory_bus_width().and_then(|bits| {
            // Two transfers a clock: NVML's memory clock is half the effective rate for every memory kind.
            Ok(u64::from(bits) / 8 * u64::from(device.max_clock_info(Clock::Memory)?) * 2_000_000)
        })),
        uuid: fact(device.uuid()),
        pci_bus_id: fact(device.pci_info().map(|pci| pci.bus_id)),
        pcie: fact(pcie_link(device)),
        mig_enabled: fact(device.mig_mode().map(|mode| mode.current == 1)),
        ecc_enabled: fact(device.is_ecc_enabled().map(|mode| mode.currently_enabled)),
        retirement_pending: fact(device.are_pages_pending_retired()),
        display_active: fact(device.is_display_active()),
        processes: fact(processes(host, nvml, device)),
        compute_mode: fact(device.compute_mode().map(|mode| {
            match mode {
                ComputeMode::Default => "default",
                ComputeMode::ExclusiveThread => "exclusive-thread",
                ComputeMode::Prohibited => "prohibited",
                ComputeMode::ExclusiveProcess => "exclusive-process",
            }
            .to_owned()
        })),
        throttle_bits: fact(device.current_throttle_reasons().map(|reasons| reasons.bits())),
        temperature_celsius: fact(device.temperature(TemperatureSensor::Gpu)),
        utilization_percent: fact(device.utilization_rates().map(|rates| rates.gpu)),
        power_limit_watts: fact(device.enforced_power_limit().map(|milliwatts| milliwatts / 1000)),
        power_limit_default_watts: fact(device.power_management_limit_default().map(|milliwatts| milliwatts / 1000)),
        bar1_total: fact(device.bar1_memory_info().map(|bar| Bytes(bar.total))),
        driver_model: driver_model(device),
        virtualization: virtualization(device),
        ..Gpu::new(String::new(), GpuOrigin::Nvml, name, capability, total, free)
    };
    let cores = u64::from(device.num_cores().unwrap_or(0));
    let clock = u64::from(device.max_clock_info(Clock::SM).unwrap_or(0));
    Ok(Ranked { gpu, speed: cores * clock, mig_instance: false })
}

/// Total and free. Drivers before 510 know only the first form of the question.
fn memory(nvml: &Nvml, device: &Device<'_>) -> Result<(Bytes, Bytes), NvmlError> {
    match device.memory_info() {
        Ok(info) => return Ok((Bytes(info.total), Bytes(info.free))),
        Err(NvmlError::FailedToLoadSymbol(_) | NvmlError::FunctionNotFound | NvmlError::UnexpectedVariant(25)) => {}
        Err(error) => return Err(error),
    }
    let ask = nvml_wrapper::error::nvml_sym(nvml.lib().nvmlDeviceGetMemoryInfo.as_ref())?;
    #[expect(unsafe_code, reason = "the wrapper has no safe form of the old question")]
    // SAFETY: all-zero is a valid value of this struct of integers; the handle belongs to `nvml`, which outlives the call.
    let info = unsafe {
        let mut info = std::mem::zeroed();
        nvml_wrapper::error::nvml_try(ask(device.handle(), &raw mut info))?;
        info
    };
    Ok((Bytes(info.total), Bytes(info.free)))
}

/// What such a chip can use is what the system has: llama.cpp reckons so too.
/// Source: llama.cpp ggml-cuda.cu at b11434, `ggml_backend_cuda_get_available_uma_memory`.
fn shared_memory(host: &Host) -> Option<(Bytes, Bytes)> {
    let text = host.read_to_string("/proc/meminfo").ok()?;
    let field = |name: &str| {
        let line = text.lines().find(|line| line.split(':').next() == Some(name))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kibibytes| Bytes(kibibytes << 10))
    };
    Some((field("MemTotal")?, field("MemAvailable")?))
}

fn pcie_link(device: &Device<'_>) -> Result<PcieLink, NvmlError> {
    Ok(PcieLink {
        generation: device.current_pcie_link_gen()?,
        width: device.current_pcie_link_width()?,
        max_generation: device.max_pcie_link_gen()?,
        max_width: device.max_pcie_link_width()?,
    })
}

fn processes(host: &Host, nvml: &Nvml, device: &Device<'_>) -> Result<Vec<GpuProcess>, NvmlError> {
    let compute = device.running_compute_processes()?;
    let graphics = device.running_graphics_processes()?;
    let graphics = graphics.into_iter().map(|process| (process, true));
    let mut found: Vec<GpuProcess> = Vec::new();
    for (process, graphics) in compute.into_iter().map(|process| (process, false)).chain(graphics) {
        if found.iter().any(|known| known.pid == process.pid) {
            continue;
        }
        let used = match process.used_gpu_memory {
            UsedGpuMemory::Used(bytes) => Some(Bytes(bytes)),
            UsedGpuMemory::Unavailable => None,
        };
        found.push(GpuProcess { pid: process.pid, name: process_name(host, nvml, process.pid), used, graphics });
    }
    Ok(found)
}

/// The program's file name alone: a command line can hold what nobody should publish.
fn process_name(host: &Host, nvml: &Nvml, pid: u32) -> String {
    let name = host
        .read_to_string(format!("/proc/{pid}/comm"))
        .map_or_else(|_| nvml.sys_process_name(pid, 256).unwrap_or_default(), |name| name.trim().to_owned());
    let file = name.rsplit(['/', '\\']).next().unwrap_or_default();
    if file.is_empty() { "unknown".to_owned() } else { file.to_owned() }
}

#[cfg(windows)]
fn driver_model(device: &Device<'_>) -> Fact<String> {
    use nvml_wrapper::enum_wrappers::device::DriverModel;
    match device.driver_model() {
        Ok(state) => {
            Fact::known(if state.current == DriverModel::WDDM { "wddm" } else { "tcc" }.to_owned(), Origin::Nvml)
        }
        // 2 is MCDM, the compute-only model that came after the wrapper's list.
        Err(NvmlError::UnexpectedVariant(2)) => Fact::known("mcdm".to_owned(), Origin::Nvml),
        Err(error) => Fact::unknown(in_words(&error)),
    }
}

#[cfg(not(windows))]
fn driver_model(_device: &Device<'_>) -> Fact<String> {
    Fact::unknown("only Windows has driver models")
}

#[cfg(target_os = "linux")]
fn virtualization(device: &Device<'_>) -> Fact<String> {
    fact(device.virtualization_mode().map(|mode| format!("{mode:?}").to_ascii_lowercase()))
}

#[cfg(not(target_os = "linux"))]
fn virtualization(_device: &Device<'_>) -> Fact<String> {
    Fact::unknown("NVML says it on Linux only")
}

fn fact<T>(answer: Result<T, NvmlError>) -> Fact<T> {
    match answer {
        Ok(value) => Fact::known(value, Origin::Nvml),
        Err(error) => Fact::unknown(in_words(&error)),
    }
}
