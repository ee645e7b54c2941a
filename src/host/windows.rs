//! Windows: what the system and its registry say.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::Host;
use super::facts::{Fact, HostFacts, OperatingSystem, Origin};
use crate::units::Bytes;

/// Where NVML can be: System32, and the folder of drivers before 2017. By full path: a name alone would also be looked
/// for in the current folder.
pub(super) fn nvml_libraries(host: &Host) -> Vec<OsString> {
    let system = host.variable("SystemRoot").map(|root| Path::new(&root).join("System32").join("nvml.dll"));
    let programs = host
        .variable("ProgramW6432")
        .map(|programs| Path::new(&programs).join("NVIDIA Corporation").join("NVSMI").join("nvml.dll"));
    system.into_iter().chain(programs).map(PathBuf::into_os_string).collect()
}

/// Libraries are named by their full path here already.
pub(super) fn loaded_library(_host: &Host, name: &OsStr) -> Option<PathBuf> {
    Some(PathBuf::from(name))
}

pub(super) fn system(_host: &Host, store: &Path) -> HostFacts {
    use sysinfo::{CpuRefreshKind, MemoryRefreshKind, RefreshKind, System};
    let kinds = RefreshKind::nothing()
        .with_cpu(CpuRefreshKind::nothing())
        .with_memory(MemoryRefreshKind::nothing().with_ram().with_swap());
    let system = System::new_with_specifics(kinds);
    let text = |value: Option<String>| {
        value.map_or_else(|| Fact::unknown("Windows does not say"), |value| Fact::known(value, Origin::OperatingSystem))
    };
    HostFacts {
        operating_system: OperatingSystem::Windows,
        distribution: text(System::long_os_version()),
        distribution_ids: Fact::known("windows".to_owned(), Origin::OperatingSystem),
        kernel: text(System::kernel_version()),
        architecture: std::env::consts::ARCH.to_owned(),
        libc: Fact::unknown("Windows programs bring their C runtime"),
        cpu: text(system.cpus().first().map(|cpu| cpu.brand().trim().to_owned())),
        cpu_features: Fact::default(),
        physical_cores: System::physical_core_count().map_or_else(
            || Fact::unknown("Windows does not say"),
            |cores| Fact::known(cores as u32, Origin::OperatingSystem),
        ),
        memory_total: Fact::known(Bytes(system.total_memory()), Origin::OperatingSystem),
        memory_available: Fact::known(Bytes(system.available_memory()), Origin::OperatingSystem),
        swap_total: Fact::known(Bytes(system.total_swap()), Origin::OperatingSystem),
        cgroup_memory_limit: Fact::unknown("no limit"),
        cgroup_cpu_limit: Fact::unknown("no limit"),
        store_disk_free: free_space(store),
        on_battery: Fact::default(),
        windows: None,
    }
}

/// Free space for this user in a folder, or in its nearest ancestor that exists.
fn free_space(folder: &Path) -> Fact<Bytes> {
    let Some(existing) = folder.ancestors().find(|ancestor| ancestor.exists()) else {
        return Fact::unknown(format!("no part of `{}` exists", folder.display()));
    };
    let Ok(existing) = fs_err::canonicalize(existing) else { return Fact::unknown("the folder cannot be opened") };
    // Both sides carry the `\\?\` prefix or neither does.
    let plain = |path: &Path| PathBuf::from(path.to_string_lossy().trim_start_matches(r"\\?\").to_owned());
    let disks = sysinfo::Disks::new_with_refreshed_list();
    disks
        .iter()
        .filter(|disk| plain(&existing).starts_with(plain(disk.mount_point())))
        .max_by_key(|disk| disk.mount_point().as_os_str().len())
        .map_or_else(
            || Fact::unknown("no disk holds the folder"),
            |disk| Fact::known(Bytes(disk.available_space()), Origin::OperatingSystem),
        )
}
