//! What must be free at start for the plan itself and for each step of its ladder.

use super::launch::{LaunchGpu, Rung};
use crate::fit::plan::{MemoryParts, PlanOption, PlanServer, StepServer};
use crate::units::MIB;

/// Largest first; the first is the plan itself.
pub fn rungs(option: &PlanOption, gpus: &[LaunchGpu]) -> Vec<Rung> {
    let whole = |bytes: u64| bytes.div_ceil(MIB);
    let planned = |gpu: &LaunchGpu| whole(option.servers.iter().map(|server| planned_on(server, &gpu.id)).sum());
    let first = Rung {
        contexts: option.servers.iter().map(|server| server.context).collect(),
        needs_mib: gpus.iter().map(planned).collect(),
    };
    let on = |server: &StepServer, gpu: &LaunchGpu| server.device_bytes.get(&gpu.id).copied().unwrap_or_default().0;
    let step = |servers: &[StepServer]| Rung {
        contexts: servers.iter().map(|server| server.context).collect(),
        needs_mib: gpus.iter().map(|gpu| whole(servers.iter().map(|server| on(server, gpu)).sum())).collect(),
    };
    let is_whole = |servers: &Vec<StepServer>| servers.len() == option.servers.len();
    let steps =
        option.ladder.iter().map(|step| &step.servers).filter(|servers| is_whole(servers)).map(|servers| step(servers));
    std::iter::once(first).chain(steps).collect()
}

fn planned_on(server: &PlanServer, gpu: &str) -> u64 {
    let parts = |here: &MemoryParts| {
        let sum = here.model.0 + here.context.0 + here.compute.0 + here.overhead.unwrap_or_default().0;
        here.total.map_or(sum, |total| total.0)
    };
    server.memory.get(gpu).map_or(0, parts)
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
        assert_eq!(rungs[0].needs_mib[0] - rungs[1].needs_mib[0], 3494);
    }
}
