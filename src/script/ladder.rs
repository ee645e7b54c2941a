//! The contexts to step down to when VRAM is short at start, and what each needs.

use super::launch::{LaunchGpu, Rung};
use crate::fit::plan::{PlanOption, PlanServer};
use crate::units::MIB;

/// Shares of the planned context.
const STEPS: [(u64, u64); 5] = [(1, 1), (3, 4), (1, 2), (1, 4), (1, 8)];

/// Below this a chat is no use; llama-server's own `--fit` stops here too (`common/common.h`, `fit_params_min_ctx`, b11434).
const SMALLEST_CONTEXT: u32 = 4096;

/// Largest first. The needs of the steps are upper bounds: weights, overhead and compute buffers stay as planned,
/// only the cache shrinks with the context.
pub fn rungs(option: &PlanOption, gpus: &[LaunchGpu]) -> Vec<Rung> {
    let mut rungs: Vec<Rung> = Vec::new();
    for (part, whole) in STEPS {
        let contexts: Vec<u32> = option.servers.iter().map(|server| step(server, part, whole)).collect();
        if rungs.last().is_some_and(|last| last.contexts == contexts) {
            continue;
        }
        let needs_mib = gpus.iter().map(|gpu| needs(option, &contexts, &gpu.id)).collect();
        rungs.push(Rung { contexts, needs_mib });
    }
    rungs
}

/// A context of whole 256-token pages for every slot, as llama.cpp pads it (b11434 `src/llama-context.cpp:292`).
fn step(server: &PlanServer, part: u64, whole: u64) -> u32 {
    if part == whole {
        return server.context;
    }
    let page = if server.kv_unified { 256 } else { 256 * server.parallel.max(1) };
    let wanted = (u64::from(server.context) * part / whole) as u32 / page * page;
    wanted.max(SMALLEST_CONTEXT.min(server.context))
}

fn needs(option: &PlanOption, contexts: &[u32], gpu: &str) -> u64 {
    let each = option.servers.iter().zip(contexts).map(|(server, context)| {
        let Some(here) = server.memory.get(gpu) else { return 0 };
        let planned = here.total.map_or_else(
            || here.model.0 + here.context.0 + here.compute.0 + here.overhead.unwrap_or_default().0,
            |total| total.0,
        );
        let everywhere: u64 = server.memory.values().map(|parts| parts.context.0).sum();
        let saved = u128::from(server.context.saturating_sub(*context)) * u128::from(server.bytes_per_token.0);
        let saved_here = if everywhere == 0 { 0 } else { saved * u128::from(here.context.0) / u128::from(everywhere) };
        planned.saturating_sub(saved_here as u64)
    });
    each.sum::<u64>().div_ceil(MIB)
}

#[cfg(test)]
mod tests {
    use crate::script::launch::tests::launch;

    #[test]
    fn the_ladder_falls_in_context_and_in_need() {
        let rungs = launch().rungs;
        let contexts: Vec<u32> = rungs.iter().map(|rung| rung.contexts[0]).collect();
        assert_eq!(contexts, [139_520, 104_448, 69_632, 34_816, 17_408]);
        assert!(rungs.is_sorted_by(|one, next| one.needs_mib[0] > next.needs_mib[0]));
        // 35,072 tokens of 104,448 bytes less.
        assert_eq!(rungs[0].needs_mib[0] - rungs[1].needs_mib[0], 3494);
    }
}
