//! What a process holds of the GPUs, as Windows counts it: memory of their own, and RAM that they share.
//!
//! The driver for displays (WDDM) keeps NVML from counting by process, and moves memory into RAM when a card is full
//! instead of failing. The performance counters of `GPU Process Memory` tell both.
//! Source: <https://devblogs.microsoft.com/directx/gpus-in-the-task-manager/>, checked 2026-11-23.

use crate::units::Bytes;

/// Summed over the adapters: a process of llama.cpp uses those of one vendor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GpuProcessMemory {
    pub dedicated: Bytes,
    /// Pinned buffers, and what did not fit into the cards.
    pub shared: Bytes,
}

/// None where the system does not tell, or the process uses no GPU.
#[cfg(windows)]
pub fn of_process(pid: u32) -> Option<GpuProcessMemory> {
    let sum = |counter| summed(pid, &super::windows::counters::instances("GPU Process Memory", counter)?);
    Some(GpuProcessMemory { dedicated: sum("Dedicated Usage")?, shared: sum("Shared Usage")? })
}

/// Other systems never move VRAM into RAM behind a program's back, and NVML counts by process there.
#[cfg(not(windows))]
pub fn of_process(_: u32) -> Option<GpuProcessMemory> {
    None
}

/// Of instances like `pid_4211_luid_0x00000000_0x0000D1A5_phys_0` those of the process.
#[cfg(any(windows, test))]
fn summed(pid: u32, instances: &[(String, i64)]) -> Option<Bytes> {
    let prefix = format!("pid_{pid}_");
    let own = instances.iter().filter(|(name, _)| name.starts_with(&prefix));
    own.map(|(_, bytes)| u64::try_from(*bytes).unwrap_or_default()).reduce(|one, two| one + two).map(Bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_instances_of_one_process_are_added_up() {
        // As `Get-Counter "\GPU Process Memory(*)\Shared Usage"` lists them; a laptop has two adapters.
        let instances = [
            ("pid_421_luid_0x00000000_0x0000D1A5_phys_0".to_owned(), 4096),
            ("pid_4211_luid_0x00000000_0x0000D1A5_phys_0".to_owned(), 3_221_225_472),
            ("pid_4211_luid_0x00000000_0x00010B6E_phys_0".to_owned(), 65_536),
            ("pid_4211_luid_0x00000000_0x00010B6E_phys_1".to_owned(), -1),
        ];
        assert_eq!(summed(4211, &instances), Some(Bytes(3_221_291_008)));
        assert_eq!(summed(42, &instances), None);
        assert_eq!(of_process(0), None);
    }
}
