//! One build on one machine: whether it runs, on which GPUs, and how it compares with another.

use std::cmp::Reverse;

use super::machine::Machine;
use crate::build::Runs;
use crate::build::verdict;
use crate::host::facts::OperatingSystem;
use crate::manifest::cuda::cuda;
use crate::manifest::releases::{AssetName, releases};
use crate::source::github::Artifact;
use crate::units::CudaVersion;

/// One build of the release, judged.
pub(super) struct Judged<'a> {
    pub(super) name: AssetName,
    pub(super) artifact: &'a Artifact,
    /// Why it does not run.
    pub(super) obstacle: Option<String>,
    /// One sentence for each GPU.
    pub(super) reasons: Vec<String>,
    pub(super) running: usize,
    pub(super) native: usize,
}

pub(super) fn judged<'a>(name: AssetName, artifact: &'a Artifact, machine: &Machine) -> Judged<'a> {
    let mut judged = Judged { name, artifact, obstacle: None, reasons: Vec::new(), running: 0, native: 0 };
    if let Some(version) = judged.name.cuda {
        judge_cuda(&mut judged, version, machine);
    } else {
        judged.reasons.push(match judged.name.backend.as_str() {
            "cpu" if machine.gpus.is_empty() => "no NVIDIA GPU was found: the CPU computes".to_owned(),
            "cpu" => "the CPU computes".to_owned(),
            "vulkan" => "Vulkan drives the GPU".to_owned(),
            other => format!("{other} drives a GPU of another maker"),
        });
    }
    if machine.system == OperatingSystem::Linux
        && let Some(floor) = releases().floor(&judged.name.backend, &judged.name.arch)
        && let Some(obstacle) = machine.library_obstacle(&floor.glibc, &floor.glibcxx)
    {
        judged.obstacle = Some(obstacle);
    }
    judged
}

fn judge_cuda(judged: &mut Judged<'_>, version: CudaVersion, machine: &Machine) {
    if machine.gpus.is_empty() {
        judged.obstacle = Some("has no NVIDIA GPU to run on here".to_owned());
        return;
    }
    let code = releases().cuda_code(version);
    for gpu in &machine.gpus {
        let mut verdict = verdict::judge(&code, Some(version.major), gpu, &machine.driver);
        // Of a toolkit that is newer than our table, the PTX version is not known: it is as new as the toolkit.
        if verdict.runs == Runs::Jit
            && cuda().toolkit(version).is_none()
            && let Some(runs) = machine.driver.cuda.filter(|runs| *runs < version)
        {
            verdict.runs = Runs::No;
            verdict.reason = format!(
                "{}; a driver for CUDA {version} is needed, and this one runs CUDA up to {runs}",
                verdict.reason
            );
        }
        match verdict.runs {
            Runs::Native => {
                judged.running += 1;
                judged.native += 1;
            }
            Runs::Jit => judged.running += 1,
            Runs::No => {}
        }
        let runs = if verdict.runs == Runs::No { "no: " } else { "" };
        judged.reasons.push(format!("{} {}: {runs}{}", gpu.id, gpu.name, verdict.reason));
    }
    if judged.running == 0 {
        judged.obstacle = Some(format!("does not run: {}", judged.reasons.join("; ").replace(": no: ", ": ")));
    }
}

/// What is compared, the greatest first: whether it runs, its kind, how many GPUs it runs on and natively, its CUDA.
pub(super) type Preference = (bool, u8, usize, usize, Option<CudaVersion>, Option<Reverse<CudaVersion>>);

pub(super) fn preference(build: &Judged<'_>, machine: &Machine) -> Preference {
    let kind = match build.name.backend.as_str() {
        "cuda" => 3,
        "vulkan" if !machine.gpus.is_empty() => 2,
        "cpu" => 1,
        _ => 0,
    };
    // With the driver known, the newest toolkit that it runs. Without, the one that most drivers run.
    let known = machine.driver.cuda.is_some();
    let newest = build.name.cuda.filter(|_| known);
    let oldest = build.name.cuda.filter(|_| !known).map(Reverse);
    (build.obstacle.is_none(), kind, build.running, build.native, newest, oldest)
}

pub(super) fn is_better(one: &Judged<'_>, other: &Judged<'_>, machine: &Machine) -> bool {
    preference(one, machine) > preference(other, machine)
}
