//! The memory of a process as the system counts it.

use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};

use super::bench::Snapshot;
use crate::host::facts::Gpu;
use crate::units::Bytes;

/// Resident memory; zero for a process that is gone, or where the system does not tell.
pub fn resident(pid: u32) -> Bytes {
    let pid = Pid::from_u32(pid);
    let Ok(mut system) = System::new() else { return Bytes(0) };
    let what = ProcessRefreshKind::nothing().with_memory();
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), true, what);
    Bytes(system.process(pid).map_or(0, sysinfo::Process::memory))
}

/// Resident memory and VRAM. Where the driver does not count by process (Windows), VRAM is what left the card's free memory
/// since `before`.
pub fn snapshot(moment: &'static str, pid: u32, before: &[Gpu], now: &[Gpu]) -> Snapshot {
    let vram = now.iter().filter_map(|gpu| {
        let listed = gpu.processes.value()?.iter().find(|process| process.pid == pid);
        let used = listed.and_then(|process| process.used);
        let earlier = before.iter().find(|one| one.id == gpu.id)?;
        Some((gpu.id.clone(), used.unwrap_or(Bytes(earlier.free.0.saturating_sub(gpu.free.0)))))
    });
    Snapshot { moment, resident_bytes: resident(pid), vram: vram.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_process_takes_some_memory() {
        assert!(resident(std::process::id()).0 > 1 << 20);
        assert_eq!(resident(u32::MAX - 1), Bytes(0));
    }
}
