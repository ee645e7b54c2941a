//! The computer itself: edition, processor, memory, disk, and the switches that matter to llama.cpp.
#![expect(unsafe_code, reason = "the system answers through C functions only")]

use std::io;
use std::path::{Path, PathBuf};

use windows_sys::Wdk::System::SystemServices::RtlGetVersion;
use windows_sys::Win32::System::Power::{GetSystemPowerStatus, SYSTEM_POWER_STATUS};
use windows_sys::Win32::System::SystemInformation::{
    GetSystemDirectoryW, GlobalMemoryStatusEx, MEMORYSTATUSEX, OSVERSIONINFOW,
};

use super::registry;
use crate::host::Host;
use crate::host::facts::{Fact, HostFacts, OperatingSystem, Origin};
use crate::host::windows_facts::{self, DisplayAdapter, SmartAppControl, WindowsFacts};
use crate::units::Bytes;

const CURRENT_VERSION: &str = r"SOFTWARE\Microsoft\Windows NT\CurrentVersion";
const CONTROL: &str = r"SYSTEM\CurrentControlSet\Control";
/// The device class of display adapters.
/// Source: <https://learn.microsoft.com/windows-hardware/drivers/install/system-defined-device-setup-classes-available-to-vendors>, checked 2026-11-23.
const DISPLAY_CLASS: &str = r"SYSTEM\CurrentControlSet\Control\Class\{4d36e968-e325-11ce-bfc1-08002be10318}";
const VISUAL_CPP_RUNTIME: &str = r"SOFTWARE\Microsoft\VisualStudio\14.0\VC\Runtimes\x64";

pub(in crate::host) fn system(host: &Host, store: &Path) -> HostFacts {
    let memory = memory_status();
    HostFacts {
        operating_system: OperatingSystem::Windows,
        distribution: system_name(),
        distribution_ids: Fact::known("windows".to_owned(), Origin::OperatingSystem),
        kernel: kernel(),
        architecture: std::env::consts::ARCH.to_owned(),
        libc: Fact::unknown("Windows programs bring their C runtime"),
        libstdcxx: Fact::unknown("Windows programs bring their C++ runtime"),
        cpu: cpu_name(),
        cpu_features: Fact::known(cpu_features(), Origin::OperatingSystem),
        physical_cores: sysinfo::System::physical_core_count().map_or_else(
            |error| Fact::unknown(error.to_string()),
            |cores| Fact::known(cores as u32, Origin::OperatingSystem),
        ),
        memory_total: fact(&memory, |memory| memory.ullTotalPhys),
        memory_available: fact(&memory, |memory| memory.ullAvailPhys),
        // The page files are what may be committed beyond the RAM.
        swap_total: fact(&memory, |memory| memory.ullTotalPageFile.saturating_sub(memory.ullTotalPhys)),
        cgroup_memory_limit: Fact::unknown("Windows has no control groups"),
        cgroup_cpu_limit: Fact::unknown("Windows has no control groups"),
        store_disk_free: super::driver::disk_free(store),
        on_battery: on_battery(),
        power_plan: power_plan(),
        windows: Some(windows_facts(host, &memory)),
    }
}

fn windows_facts(host: &Host, memory: &io::Result<MEMORYSTATUSEX>) -> WindowsFacts {
    WindowsFacts {
        display_adapters: display_adapters(),
        visual_cpp_runtime: visual_cpp_runtime(),
        // 2 is on, 1 off; absent where neither the card nor the driver offers it.
        hardware_scheduling: switch(&format!(r"{CONTROL}\GraphicsDrivers"), "HwSchMode", 2),
        long_paths: switch(&format!(r"{CONTROL}\FileSystem"), "LongPathsEnabled", 1),
        developer_mode: switch(
            r"SOFTWARE\Microsoft\Windows\CurrentVersion\AppModelUnlock",
            "AllowDevelopmentWithoutDevLicense",
            1,
        ),
        smart_app_control: smart_app_control(),
        antivirus: super::antivirus::programs(host),
        quarantined: super::antivirus::quarantined(host),
        runtime_copies: Fact::unknown("no build was looked at"),
        marked_files: Fact::unknown("no build was looked at"),
        commit_limit: fact(memory, |memory| memory.ullTotalPageFile),
        commit_available: fact(memory, |memory| memory.ullAvailPageFile),
    }
}

/// The values below `KnownDLLs`. Names that cannot be read are not known.
pub(in crate::host) fn known_dlls() -> Vec<String> {
    const KEY: &str = r"SYSTEM\CurrentControlSet\Control\Session Manager\KnownDLLs";
    let names = registry::value_names(KEY).unwrap_or_default();
    names.iter().filter_map(|name| registry::text(KEY, name).ok()).collect()
}

/// `Windows 11 Pro 24H2 (build 26100)`
fn system_name() -> Fact<String> {
    let (major, _, build) = version();
    let product = registry::text(CURRENT_VERSION, "ProductName").ok();
    let release = registry::text(CURRENT_VERSION, "DisplayVersion").ok();
    let name = windows_facts::system_name(product.as_deref(), release.as_deref(), major, build);
    Fact::known(name, Origin::Registry)
}

/// `10.0.26100`: the true one, whatever compatibility mode the program runs in.
fn kernel() -> Fact<String> {
    let (major, minor, build) = version();
    Fact::known(format!("{major}.{minor}.{build}"), Origin::OperatingSystem)
}

fn cpu_name() -> Fact<String> {
    match registry::text(r"HARDWARE\DESCRIPTION\System\CentralProcessor\0", "ProcessorNameString") {
        Ok(name) => Fact::known(name.trim().to_owned(), Origin::Registry),
        Err(error) => Fact::unknown(format!("the registry names no processor: {error}")),
    }
}

/// The instruction sets that llama.cpp's CPU code chooses among, as Linux names them.
fn cpu_features() -> Vec<String> {
    let mut present = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::is_x86_feature_detected as has;
        let features = [
            ("sse4_2", has!("sse4.2")),
            ("avx", has!("avx")),
            ("avx2", has!("avx2")),
            ("fma", has!("fma")),
            ("f16c", has!("f16c")),
            ("bmi2", has!("bmi2")),
            ("avx_vnni", has!("avxvnni")),
            ("avx512f", has!("avx512f")),
            ("avx512bw", has!("avx512bw")),
            ("avx512vbmi", has!("avx512vbmi")),
            ("avx512_vnni", has!("avx512vnni")),
            ("avx512_bf16", has!("avx512bf16")),
        ];
        present.extend(features.iter().filter(|(_, is_there)| *is_there).map(|(name, _)| (*name).to_owned()));
    }
    present
}

fn on_battery() -> Fact<bool> {
    let mut status = SYSTEM_POWER_STATUS::default();
    // SAFETY: the structure is written whole.
    let ok = unsafe { GetSystemPowerStatus(&raw mut status) };
    match (ok, status.ACLineStatus) {
        (1.., 0) => Fact::known(true, Origin::OperatingSystem),
        (1.., 1) => Fact::known(false, Origin::OperatingSystem),
        _ => Fact::unknown("Windows does not say"),
    }
}

fn power_plan() -> Fact<String> {
    match registry::text(&format!(r"{CONTROL}\Power\User\PowerSchemes"), "ActivePowerScheme") {
        Ok(guid) => Fact::known(windows_facts::power_plan(&guid).to_owned(), Origin::Registry),
        Err(error) => Fact::unknown(error.to_string()),
    }
}

/// `C:\Windows\System32`, where the driver puts `nvcuda.dll` and `nvml.dll`.
pub(super) fn system_folder() -> PathBuf {
    use std::os::windows::ffi::OsStringExt as _;
    let mut name = [0_u16; 260];
    // SAFETY: `name` holds as many units as announced.
    let length = unsafe { GetSystemDirectoryW(name.as_mut_ptr(), name.len() as u32) } as usize;
    match name.get(..length) {
        Some(name) if length > 0 => PathBuf::from(std::ffi::OsString::from_wide(name)),
        _ => PathBuf::from(r"C:\Windows\System32"),
    }
}

fn display_adapters() -> Fact<Vec<DisplayAdapter>> {
    let keys = match registry::subkeys(DISPLAY_CLASS) {
        Ok(keys) => keys,
        Err(error) => return Fact::unknown(format!("the display driver class cannot be read: {error}")),
    };
    let adapters = keys
        .iter()
        // Beside the numbered adapters lie `Configuration` and `Properties`, which only the system may read.
        .filter(|name| name.len() == 4 && name.bytes().all(|byte| byte.is_ascii_digit()))
        .filter_map(|name| {
            let value = |value| registry::text(&format!(r"{DISPLAY_CLASS}\{name}"), value);
            let description = value("DriverDesc").ok()?;
            let device_id = value("MatchingDeviceId").unwrap_or_default();
            let driver_version = value("DriverVersion").unwrap_or_default();
            Some(DisplayAdapter::from_registry(&description, &device_id, &driver_version))
        })
        .collect();
    Fact::known(adapters, Origin::Registry)
}

fn visual_cpp_runtime() -> Fact<String> {
    let number = |value| registry::number(VISUAL_CPP_RUNTIME, value);
    match (number("Installed"), number("Major"), number("Minor"), number("Bld")) {
        (Ok(1), Ok(major), Ok(minor), Ok(build)) => Fact::known(format!("{major}.{minor}.{build}"), Origin::Registry),
        // Some programs bring the libraries without the installer.
        _ => match super::file_version::file_version(&system_folder().join("msvcp140.dll")) {
            Some(version) => Fact::known(version, Origin::File),
            None => Fact::unknown("the registry names no installer of it, and System32 has no msvcp140.dll"),
        },
    }
}

fn smart_app_control() -> Fact<SmartAppControl> {
    match registry::number(&format!(r"{CONTROL}\CI\Policy"), "VerifiedAndReputablePolicyState") {
        Ok(number) => SmartAppControl::from_policy_state(number).map_or_else(
            || Fact::unknown(format!("the registry holds the unknown state {number}")),
            |state| Fact::known(state, Origin::Registry),
        ),
        // Windows before 11 22H2 has no such control.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Fact::known(SmartAppControl::Off, Origin::Registry),
        Err(error) => Fact::unknown(error.to_string()),
    }
}

/// A switch of the registry that counts as off where it was never set.
fn switch(key: &str, value: &str, on: u32) -> Fact<bool> {
    match registry::number(key, value) {
        Ok(number) => Fact::known(number == on, Origin::Registry),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Fact::known(false, Origin::Registry),
        Err(error) => Fact::unknown(error.to_string()),
    }
}

fn fact(memory: &io::Result<MEMORYSTATUSEX>, of: impl Fn(&MEMORYSTATUSEX) -> u64) -> Fact<Bytes> {
    match memory {
        Ok(memory) => Fact::known(Bytes(of(memory)), Origin::OperatingSystem),
        Err(error) => Fact::unknown(error.to_string()),
    }
}

fn memory_status() -> io::Result<MEMORYSTATUSEX> {
    let mut status = MEMORYSTATUSEX { dwLength: size_of::<MEMORYSTATUSEX>() as u32, ..Default::default() };
    // SAFETY: the structure says its own size.
    let ok = unsafe { GlobalMemoryStatusEx(&raw mut status) };
    if ok == 0 { Err(io::Error::last_os_error()) } else { Ok(status) }
}

/// Major, minor, build. `GetVersionEx` answers 6.2 to a program without a manifest; this function does not lie.
fn version() -> (u32, u32, u32) {
    let mut version = OSVERSIONINFOW { dwOSVersionInfoSize: size_of::<OSVERSIONINFOW>() as u32, ..Default::default() };
    // SAFETY: the structure says its own size; the function always succeeds.
    unsafe { RtlGetVersion(&raw mut version) };
    (version.dwMajorVersion, version.dwMinorVersion, version.dwBuildNumber)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_answers() {
        let facts = system(&Host::Live, Path::new(r"C:\no\such\folder"));
        assert!(facts.distribution.value().unwrap().starts_with("Windows "), "{:?}", facts.distribution);
        assert!(facts.memory_total.value() > facts.memory_available.value());
        assert!(facts.store_disk_free.value().unwrap().0 > 0);
        let windows = facts.windows.unwrap();
        assert!(windows.commit_limit.value() >= windows.commit_available.value());
        assert!(windows.display_adapters.value().is_some(), "{:?}", windows.display_adapters);
    }

    #[test]
    fn folders_of_all_spellings_have_a_disk_or_a_reason() {
        for folder in [r"C:\", "C:/windows/system32", r"\\?\C:\windows", "."] {
            assert!(super::super::driver::disk_free(Path::new(folder)).value().unwrap().0 > 0, "{folder}");
        }
        assert!(super::super::driver::disk_free(Path::new(r"\\no-such-host\share\folder")).value().is_none());
        assert!(system_folder().join("kernel32.dll").is_file());
    }
}
