//! The contexts to step down to when VRAM is short at start: each a plan of its own, predicted like the first.

use super::FitError;
use super::need::Needs;
use super::plan::{PlanStep, StepServer};
use super::planner::Question;
use super::search::Found;
use super::settings::{Device, Settings};
use crate::units::Bytes;

/// Shares of the planned context.
const SHARES: [(u64, u64); 4] = [(3, 4), (1, 2), (1, 4), (1, 8)];

/// Below this a chat is no use; llama-server's own `--fit` stops here too (`common/common.h`, `fit_params_min_ctx`, b11434).
const SMALLEST_CONTEXT: u32 = 4096;

impl Question<'_> {
    /// Largest first. Every step needs less than the one before it on some GPU, and more on none.
    pub(crate) fn ladder(&self, found: &Found) -> Result<Vec<PlanStep>, FitError> {
        let devices: Vec<Device> = self.gpus.iter().map(|gpu| gpu.device.clone()).collect();
        let settled = self.models.iter().zip(&found.servers);
        let servers =
            settled.map(|(planned, server)| planned.wish.server.needs(&server.need.settings, &devices, self.build));
        let servers = servers.collect::<Result<Vec<_>, _>>()?;
        let mut steps = Vec::new();
        let mut before = self.totals(&step(found, &servers, &devices, (1, 1))?);
        for share in SHARES {
            let step = step(found, &servers, &devices, share)?;
            let totals = self.totals(&step);
            let is_lower = totals.iter().zip(&before).any(|(now, before)| now < before);
            if is_lower && totals.iter().zip(&before).all(|(now, before)| now <= before) {
                steps.push(step);
                before = totals;
            }
        }
        Ok(steps)
    }

    fn totals(&self, step: &PlanStep) -> Vec<u64> {
        let of = |device: &str| {
            step.servers.iter().filter_map(|server| server.device_bytes.get(device)).map(|bytes| bytes.0).sum()
        };
        self.gpus.iter().map(|gpu| of(&gpu.device.id)).collect()
    }
}

fn step(found: &Found, servers: &[Needs<'_>], devices: &[Device], share: (u64, u64)) -> Result<PlanStep, FitError> {
    let mut stepped = Vec::with_capacity(servers.len());
    for (server, needs) in found.servers.iter().zip(servers) {
        let settings = &server.need.settings;
        let context = smaller(settings, share);
        let need = needs.at(context, (settings.cache_type_k, settings.cache_type_v))?;
        let by_device =
            devices.iter().zip(&need.devices).map(|(device, need)| (device.id.clone(), Bytes(need.total())));
        stepped.push(StepServer { context, device_bytes: by_device.collect() });
    }
    Ok(PlanStep { servers: stepped })
}

/// A context of whole 256-token pages for every slot, as llama.cpp pads it (b11434 `src/llama-context.cpp:292`).
fn smaller(settings: &Settings, (part, whole): (u64, u64)) -> u32 {
    if part == whole {
        return settings.context;
    }
    let page = if settings.kv_unified { 256 } else { 256 * settings.parallel.max(1) };
    let wanted = (u64::from(settings.context) * part / whole) as u32 / page * page;
    wanted.max(SMALLEST_CONTEXT.min(settings.context))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_are_whole_pages_and_no_use_below_the_smallest() {
        let settings = |context, kv_unified| Settings { context, kv_unified, parallel: 4, ..Settings::default() };
        assert_eq!(smaller(&settings(139_520, true), (3, 4)), 104_448);
        assert_eq!(smaller(&settings(139_520, false), (3, 4)), 104_448);
        assert_eq!(smaller(&settings(10_240, false), (1, 2)), 5120);
        assert_eq!(smaller(&settings(10_240, true), (1, 8)), 4096);
        assert_eq!(smaller(&settings(2048, true), (1, 2)), 2048);
    }
}
