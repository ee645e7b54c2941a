//! The computer itself: distribution, kernel, C library, processor, memory.

use std::collections::BTreeMap;
use std::path::Path;

use crate::host::Host;
use crate::host::facts::{Fact, HostFacts, OperatingSystem, Origin};
use crate::units::{Bytes, KIB};

pub(in crate::host) fn system(host: &Host, store: &Path) -> HostFacts {
    let release = os_release(host);
    let kernel = host.read_to_string("/proc/sys/kernel/osrelease");
    let processor = host.read_to_string("/proc/cpuinfo").map_err(|error| error.to_string());
    let memory = host.read_to_string("/proc/meminfo").map_err(|error| error.to_string());
    HostFacts {
        operating_system: OperatingSystem::Linux,
        distribution: release.get("PRETTY_NAME").map_or_else(
            || Fact::unknown("`/etc/os-release` names no distribution"),
            |name| Fact::known(name.clone(), Origin::File),
        ),
        distribution_ids: release.get("ID").map_or_else(
            || Fact::unknown("`/etc/os-release` has no ID"),
            |id| {
                let like = release.get("ID_LIKE").map(String::as_str).unwrap_or_default();
                Fact::known(format!("{id} {like}").trim().to_owned(), Origin::File)
            },
        ),
        kernel: kernel.map_or_else(
            |error| Fact::unknown(error.to_string()),
            |text| Fact::known(text.trim().to_owned(), Origin::Procfs),
        ),
        architecture: std::env::consts::ARCH.to_owned(),
        libc: libc_version(host),
        libstdcxx: super::libstdcxx::version(host),
        cpu: from_text(&processor, processor_name),
        cpu_features: from_text(&processor, processor_features),
        physical_cores: from_text(&processor, physical_cores),
        memory_total: from_text(&memory, |text| memory_field(text, "MemTotal")),
        memory_available: from_text(&memory, |text| memory_field(text, "MemAvailable")),
        swap_total: from_text(&memory, |text| memory_field(text, "SwapTotal")),
        cgroup_memory_limit: cgroup_memory_limit(host),
        cgroup_cpu_limit: cgroup_cpu_limit(host),
        store_disk_free: free_space(host, store),
        on_battery: on_battery(host),
        power_plan: power_plan(host),
        windows: None,
    }
}

fn from_text<T>(text: &Result<String, String>, pick: impl Fn(&str) -> Option<T>) -> Fact<T> {
    match text {
        Ok(text) => pick(text)
            .map_or_else(|| Fact::unknown("the kernel does not say"), |value| Fact::known(value, Origin::Procfs)),
        Err(reason) => Fact::unknown(reason.clone()),
    }
}

fn os_release(host: &Host) -> BTreeMap<String, String> {
    let text = host
        .read_to_string("/etc/os-release")
        .or_else(|_| host.read_to_string("/usr/lib/os-release"))
        .unwrap_or_default();
    text.lines()
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.trim().to_owned(), value.trim().trim_matches(['"', '\'']).to_owned()))
        .collect()
}

fn processor_name(text: &str) -> Option<String> {
    // ARM kernels have no `model name`.
    let field = |name: &str| {
        text.lines().find_map(|line| Some(line.strip_prefix(name)?.trim_start().strip_prefix(':')?.trim().to_owned()))
    };
    field("model name")
        .or_else(|| field("Hardware"))
        .or_else(|| field("CPU implementer").map(|code| format!("ARM {code}")))
}

/// The instruction sets that llama.cpp's CPU code chooses among; the rest of the flags matters to nobody here.
const FEATURES: &[&str] = &[
    "sse4_2",
    "avx",
    "avx2",
    "fma",
    "f16c",
    "bmi2",
    "avx_vnni",
    "avx512f",
    "avx512bw",
    "avx512vbmi",
    "avx512_vnni",
    "avx512_bf16",
    "amx_int8",
    "asimd",
    "asimddp",
    "i8mm",
    "sve",
    "sme",
];

fn processor_features(text: &str) -> Option<Vec<String>> {
    let line = text.lines().find(|line| line.starts_with("flags") || line.starts_with("Features"))?;
    let present: Vec<&str> = line.split_once(':')?.1.split_whitespace().collect();
    Some(FEATURES.iter().filter(|feature| present.contains(feature)).map(|&feature| feature.to_owned()).collect())
}

fn physical_cores(text: &str) -> Option<u32> {
    let mut cores = std::collections::BTreeSet::new();
    let mut package = "0";
    for line in text.lines() {
        let Some((key, value)) = line.split_once(':') else { continue };
        match key.trim() {
            "physical id" => package = value.trim(),
            "core id" => {
                cores.insert((package, value.trim()));
            }
            _ => {}
        }
    }
    if cores.is_empty() {
        // ARM kernels do not number cores here: each processor is one.
        let processors = text.lines().filter(|line| line.starts_with("processor")).count() as u32;
        return (processors > 0).then_some(processors);
    }
    Some(cores.len() as u32)
}

fn memory_field(text: &str, name: &str) -> Option<Bytes> {
    let line = text.lines().find(|line| line.split(':').next() == Some(name))?;
    let kibibytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(Bytes(kibibytes.checked_mul(KIB)?))
}

/// The memory limit of our control group, version 2 or 1; no limit is an unknown with that reason.
fn cgroup_memory_limit(host: &Host) -> Fact<Bytes> {
    // A process in a container sees its own group at the root of the mount.
    let files = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let Some(text) = files.iter().find_map(|file| host.read_to_string(file).ok()) else {
        return Fact::unknown("no control group limits it");
    };
    match text.trim().parse::<u64>() {
        // Version 1 writes "no limit" as a number near 2^63.
        Ok(bytes) if bytes < 1 << 60 => Fact::known(Bytes(bytes), Origin::Sysfs),
        _ => Fact::unknown("no limit"),
    }
}

fn cgroup_cpu_limit(host: &Host) -> Fact<f64> {
    let version_two = host.read_to_string("/sys/fs/cgroup/cpu.max").ok();
    let version_one = || {
        let folder = "/sys/fs/cgroup/cpu";
        let quota = host.read_to_string(format!("{folder}/cpu.cfs_quota_us")).ok()?;
        let period = host.read_to_string(format!("{folder}/cpu.cfs_period_us")).ok()?;
        Some(format!("{} {}", quota.trim(), period.trim()))
    };
    let Some(text) = version_two.or_else(version_one) else { return Fact::unknown("no control group limits it") };
    let mut numbers = text.split_whitespace().map(str::parse::<f64>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(quota)), Some(Ok(period))) if quota > 0.0 && period > 0.0 => {
            Fact::known(quota / period, Origin::Sysfs)
        }
        _ => Fact::unknown("no limit"),
    }
}

fn on_battery(host: &Host) -> Fact<bool> {
    let Ok(supplies) = fs_err::read_dir(host.path("/sys/class/power_supply")) else {
        return Fact::unknown("the kernel lists no power supply");
    };
    let mut battery_discharges = None;
    for supply in supplies.flatten() {
        let read = |name: &str| fs_err::read_to_string(supply.path().join(name)).unwrap_or_default();
        // A wireless mouse is a battery too; its scope is `Device`.
        if read("type").trim() == "Battery" && read("scope").trim() != "Device" {
            let discharges = read("status").trim() == "Discharging";
            battery_discharges = Some(battery_discharges.unwrap_or(false) || discharges);
        }
    }
    battery_discharges.map_or_else(
        || Fact::unknown("the machine has no battery"),
        |discharges| Fact::known(discharges, Origin::Sysfs),
    )
}

/// With these drivers every governor lets the processor choose; `powersave` is their name for the usual.
/// Source: Linux Documentation/admin-guide/pm/intel_pstate.rst and amd-pstate.rst, checked 2026-11-23.
const SELF_GOVERNED: [&str; 2] = ["intel_pstate", "amd-pstate-epp"];

fn power_plan(host: &Host) -> Fact<String> {
    let read = |name: &str| host.read_to_string(format!("/sys/devices/system/cpu/cpu0/cpufreq/{name}"));
    match (read("scaling_driver"), read("scaling_governor")) {
        (Ok(driver), Ok(_)) if SELF_GOVERNED.contains(&driver.trim()) => {
            Fact::known("dynamic".to_owned(), Origin::Sysfs)
        }
        (Ok(_), Ok(governor)) => Fact::known(governor.trim().to_owned(), Origin::Sysfs),
        (Err(error), _) | (_, Err(error)) if error.kind() == std::io::ErrorKind::NotFound => {
            Fact::unknown("the kernel sets no clock here")
        }
        (Err(error), _) | (_, Err(error)) => Fact::unknown(error.to_string()),
    }
}

#[cfg(target_env = "gnu")]
fn libc_version(host: &Host) -> Fact<String> {
    if !matches!(host, Host::Live) {
        return Fact::default();
    }
    #[expect(unsafe_code, reason = "the C library's version has no other door")]
    // SAFETY: the function takes nothing and returns a static NUL-terminated string.
    let version = unsafe { std::ffi::CStr::from_ptr(libc::gnu_get_libc_version()) };
    Fact::known(format!("glibc {}", version.to_string_lossy()), Origin::OperatingSystem)
}

#[cfg(not(target_env = "gnu"))]
fn libc_version(host: &Host) -> Fact<String> {
    let musl = format!("/lib/ld-musl-{}.so.1", std::env::consts::ARCH);
    if host.path(musl).exists() {
        return Fact::known("musl".to_owned(), Origin::File);
    }
    Fact::unknown("this program is not linked with the system's C library")
}

/// Free space for this user in a folder, or in its nearest ancestor that exists.
pub(super) fn free_space(host: &Host, folder: &Path) -> Fact<Bytes> {
    use std::os::unix::ffi::OsStrExt as _;
    let folder = host.path(folder);
    let Some(existing) = folder.ancestors().find(|ancestor| ancestor.exists()) else {
        return Fact::unknown(format!("no part of `{}` exists", folder.display()));
    };
    let Ok(path) = std::ffi::CString::new(existing.as_os_str().as_bytes()) else {
        return Fact::unknown("the path holds a NUL byte");
    };
    #[expect(unsafe_code, reason = "the standard library does not ask for free space")]
    // SAFETY: the path is NUL-terminated, and all-zero is a valid value of this struct of integers.
    let (result, answer) = unsafe {
        let mut answer: libc::statvfs = std::mem::zeroed();
        (libc::statvfs(path.as_ptr(), &raw mut answer), answer)
    };
    if result != 0 {
        return Fact::unknown(std::io::Error::last_os_error().to_string());
    }
    Fact::known(Bytes(answer.f_bavail.saturating_mul(answer.f_frsize)), Origin::OperatingSystem)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROCESSOR: &str = "processor\t: 0\nmodel name\t: AMD Ryzen 9 5950X\nphysical id\t: 0\ncore id\t\t: 0\nflags\t\t: sse4_2 avx avx2 xsave\n\nprocessor\t: 1\nphysical id\t: 0\ncore id\t\t: 0\n\nprocessor\t: 2\nphysical id\t: 0\ncore id\t\t: 1\n";

    #[test]
    fn the_processor_is_read() {
        assert_eq!(processor_name(PROCESSOR).as_deref(), Some("AMD Ryzen 9 5950X"));
        assert_eq!(physical_cores(PROCESSOR), Some(2));
        assert_eq!(processor_features(PROCESSOR).unwrap(), ["sse4_2", "avx", "avx2"]);
        assert_eq!(physical_cores("processor : 0\nprocessor : 1\n"), Some(2));
    }

    #[test]
    fn memory_is_read_by_its_whole_name() {
        let text = "MemTotal:       65737072 kB\nMemFree: 1 kB\n";
        assert_eq!(memory_field(text, "MemTotal"), Some(Bytes(65_737_072 * 1024)));
        assert_eq!(memory_field(text, "Mem"), None);
    }

    #[test]
    fn a_recorded_machine_answers_from_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, text).unwrap();
        };
        write("etc/os-release", "ID=ubuntu\nID_LIKE=debian\nPRETTY_NAME=\"Ubuntu 24.04.1 LTS\"\n");
        write("proc/sys/kernel/osrelease", "6.8.0-45-generic\n");
        write("sys/fs/cgroup/memory.max", "8589934592\n");
        write("sys/fs/cgroup/cpu.max", "200000 100000\n");
        write("sys/devices/system/cpu/cpu0/cpufreq/scaling_driver", "acpi-cpufreq\n");
        write("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave\n");
        let host =
            Host::Recorded { root: folder.path().to_owned(), environment: BTreeMap::new(), outputs: BTreeMap::new() };
        let facts = system(&host, Path::new("/"));
        assert_eq!(facts.distribution.value().unwrap(), "Ubuntu 24.04.1 LTS");
        assert_eq!(facts.distribution_ids.value().unwrap(), "ubuntu debian");
        assert_eq!(facts.kernel.value().unwrap(), "6.8.0-45-generic");
        assert_eq!(facts.cgroup_memory_limit.value(), Some(&Bytes(8 << 30)));
        assert_eq!(facts.cgroup_cpu_limit.value(), Some(&2.0));
        assert_eq!(facts.power_plan.value().unwrap(), "powersave");
        assert!(facts.memory_total.why_unknown().is_some());
    }
}
