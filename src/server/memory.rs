//! The memory of a process as the system counts it.

use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};

use super::bench::Snapshot;
use crate::host::facts::Gpu;
use crate::host::gpu_process_memory;
use crate::units::Bytes;

/// Resident memory; zero for a process that is gone, or where the system does not tell.
pub fn resident(pid: u32) -> Bytes {
    let pid = Pid::from_u32(pid);
    let Ok(mut system) = System::new() else { return Bytes(0) };
    let what = ProcessRefreshKind::nothing().with_memory();
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), true, what);
    Bytes(system.process(pid).map_or(0, sysinfo::Process::memory))
}

/// Resident memory and VRAM. Where NVML does not count by process, Windows itself does, for all cards together; what is left
/// is what went from the card's free memory since `before`.
pub fn snapshot(moment: &'static str, pid: u32, before: &[Gpu], now: &[Gpu]) -> Snapshot {
    let counted = gpu_process_memory::of_process(pid);
    let of_one = |gpu: &Gpu| {
        let listed = gpu.processes.value().and_then(|all| all.iter().find(|process| process.pid == pid));
        let dedicated = counted.filter(|_| now.len() == 1).map(|counted| counted.dedicated);
        let earlier = before.iter().find(|one| one.id == gpu.id)?;
        let gone = Bytes(earlier.free.0.saturating_sub(gpu.free.0));
        Some((gpu.id.clone(), listed.and_then(|process| process.used).or(dedicated).unwrap_or(gone)))
    };
    Snapshot {
        moment,
        resident_bytes: resident(pid),
        vram: now.iter().filter_map(of_one).collect(),
        shared_bytes: counted.map(|counted| counted.shared),
    }
}

/// The cards before the server started: what it holds later is measured against this.
pub fn snapshot_before(cards: &[Gpu]) -> Snapshot {
    let vram = cards.iter().map(|gpu| (gpu.id.clone(), Bytes(0))).collect();
    Snapshot { moment: "before", resident_bytes: Bytes(0), vram, shared_bytes: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::facts::{Fact, GpuOrigin, GpuProcess, Origin};

    #[test]
    fn our_own_process_takes_some_memory() {
        assert!(resident(std::process::id()).0 > 1 << 20);
        assert_eq!(resident(u32::MAX - 1), Bytes(0));
    }

    #[test]
    fn vram_is_counted_by_process_or_by_what_is_gone() {
        let gpu = |id: &str, free_mib, processes: Fact<Vec<GpuProcess>>| Gpu {
            processes,
            ..Gpu::new(id, GpuOrigin::Nvml, "card", None, Bytes::from_mib(24_576), Bytes::from_mib(free_mib))
        };
        let process = |pid, used| GpuProcess { pid, name: "llama-server".to_owned(), used, graphics: false };
        let known = |processes| Fact::known(processes, Origin::Nvml);
        let ours = std::process::id();
        let before = [gpu("CUDA0", 24_000, known(vec![])), gpu("CUDA1", 20_000, Fact::default())];
        let listed = known(vec![process(ours, Some(Bytes::from_mib(900))), process(1, Some(Bytes::from_mib(7)))]);
        let now = [gpu("CUDA0", 23_000, listed), gpu("CUDA1", 19_500, Fact::default())];
        let vram = snapshot("loaded", ours, &before, &now).vram;
        assert_eq!(vram, [("CUDA0".to_owned(), Bytes::from_mib(900)), ("CUDA1".to_owned(), Bytes::from_mib(500))]);
        let uncounted = known(vec![process(ours, None)]);
        let vram = snapshot("loaded", ours, &before, &[gpu("CUDA0", 23_000, uncounted)]).vram;
        assert_eq!(vram, [("CUDA0".to_owned(), Bytes::from_mib(1000))]);
    }
}
