//! The GPUs of a plan, and what was measured on them.

use super::NEWEST_TAG;
use crate::cli::fit::FitArguments;
use crate::command::Program;
use crate::failure::Failure;
use crate::fit::overhead;
use crate::fit::plan::Plan;
use crate::fit::planner::PlanGpu;
use crate::fit::settings::Device;
use crate::host::facts::Gpu;
use crate::manifest::gpus::{self, DEFAULT_RESERVE};
use crate::server::calibration::Calibration;
use crate::units::Bytes;

/// Every GPU that can be used, with the overhead that was measured on it.
pub(in crate::command) fn found(
    program: &Program,
    arguments: &FitArguments,
    calibration: &Calibration,
) -> Result<Vec<PlanGpu>, Failure> {
    let found: Vec<Gpu> = program.gpus()?.into_iter().filter(|gpu| gpu.visible).collect();
    if found.is_empty() {
        return Err(Failure::environment("no NVIDIA GPU is usable here")
            .hinted("plan for a card you do not have at hand with `--gpu rtx-3090`")
            .hinted("`llama-doctor check` says why none was found"));
    }
    let build = build_name(arguments);
    let planned = |gpu: Gpu| {
        let measured_overhead = calibration.row(&gpu.name, &build).and_then(|row| row.overhead_bytes);
        let mut planned = plan_gpu(gpu, arguments.reserve)?;
        planned.device.measured_overhead = measured_overhead;
        Ok(planned)
    };
    found.into_iter().map(planned).collect()
}

/// What `bench` measured here: of no use for another machine.
pub(in crate::command) fn calibration(program: &Program, arguments: &FitArguments) -> Result<Calibration, Failure> {
    if arguments.no_calibration || !program.global.gpu.is_empty() || program.global.facts.is_some() {
        return Ok(Calibration::default());
    }
    Ok(Calibration::load(&program.home()?)?)
}

pub(super) fn build_name(arguments: &FitArguments) -> String {
    arguments.for_build.unwrap_or(NEWEST_TAG).to_string()
}

/// Estimated speeds, corrected by what was measured on the same card with the same build.
pub(super) fn correct_speeds(plan: &mut Plan, calibration: &Calibration, build: &str) {
    let row = plan.devices.first().and_then(|device| calibration.row(&device.name, build));
    let Some(row) = row else { return };
    let Some(factor) = row.speed_factor else { return };
    for option in &mut plan.options {
        for server in &mut option.servers {
            server.tokens_per_second *= factor;
        }
        option.notes.push(format!("speed and overhead as measured on this machine on {}", row.measured));
    }
}

/// `reserve`: what was asked to stay free, and then is all that stays free.
fn plan_gpu(gpu: Gpu, reserve: Option<Bytes>) -> Result<PlanGpu, Failure> {
    let card = gpus::by_nvml_name(&gpu.name, gpu.total);
    let compute_capability = gpu.compute_capability.or(card.map(|card| card.compute_capability)).ok_or_else(|| {
        Failure::environment(format!("the compute capability of {} ({}) is not known", gpu.id, gpu.name))
            .hinted("describe it: `--gpu NAME:TOTAL:CAPABILITY:FREE`")
    })?;
    let by_card = card.map(|card| (card.bandwidth_gb_s * 1e9) as u64);
    Ok(PlanGpu {
        bandwidth: gpu.memory_bandwidth.value().copied().or(by_card),
        // On Windows one process never gets the whole card.
        kept: if cfg!(windows) && reserve.is_none() { overhead::wddm(gpu.total) } else { 0 },
        device: Device { id: gpu.id, compute_capability, total: gpu.total, free: gpu.free, measured_overhead: None },
        name: gpu.name,
        origin: gpu.origin,
        reserve: reserve.unwrap_or(DEFAULT_RESERVE),
    })
}
