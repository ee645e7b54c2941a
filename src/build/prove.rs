//! What a run adds to what the files tell: loaded or not and why, the devices, the last word on CUDA.

use super::verdict::{self, Driver};
use super::{Backend, BackendState, Build, PerGpu, Runs, version};
use crate::binary::fatbin::CudaCode;
use crate::probe::{Outcome, ProbeReport};

/// Adds the report to the build that it is about.
pub fn prove(build: &mut Build, report: &ProbeReport, driver: &Driver) {
    build.probe = Some(sentence(&report.outcome));
    build.system_info.clone_from(&report.system_info);
    build.devices.clone_from(&report.devices);
    if let Some(printed) = report.version.as_deref().and_then(version::printed) {
        build.tag = build.tag.or(printed.tag);
        build.version = build.version.take().or_else(|| printed.shown());
        build.commit = printed.commit.or(build.commit.take());
    }
    for backend in &mut build.backends {
        prove_backend(backend, report, driver);
    }
}

fn sentence(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Finished => "loaded in a process of its own".to_owned(),
        Outcome::Crashed { with, during } => format!("the process died of {with} while {during}"),
        Outcome::TimedOut { during } => format!("the process hung while {during} and was stopped"),
        Outcome::NotStarted { why } => format!("no process could be started: {why}"),
        Outcome::NotProbed { why } => format!("not run: {why}"),
    }
}

fn prove_backend(backend: &mut Backend, report: &ProbeReport, driver: &Driver) {
    if backend.state == BackendState::Absent {
        return;
    }
    if let Some(file) = &backend.file
        && let Some(error) =
            report.opened.iter().find(|opened| opened.file == *file).and_then(|opened| opened.error.as_ref())
    {
        backend.state = BackendState::Blocked;
        // What is missing is told in full by the search; the loader stops at the first.
        if backend.missing.is_empty() {
            backend.reason.clone_from(error);
        }
        return;
    }
    match &report.outcome {
        Outcome::Finished => {}
        Outcome::Crashed { during, .. } | Outcome::TimedOut { during } => {
            if is_to_blame(backend, report, during) && backend.state != BackendState::Blocked {
                backend.state = BackendState::Blocked;
                backend.reason = sentence(&report.outcome);
            }
            return;
        }
        Outcome::NotStarted { .. } | Outcome::NotProbed { .. } => return,
    }
    let devices: Vec<_> = report.devices.iter().filter(|device| device.backend == backend.name).collect();
    let registered = report.backends.iter().find(|loaded| loaded.name.eq_ignore_ascii_case(&backend.name));
    backend.api_version = registered.map(|registered| registered.api_version);
    if registered.is_none() && devices.is_empty() {
        if report.backends.is_empty() {
            return;
        }
        backend.state = BackendState::Blocked;
        "ggml did not take it, and did not say why".clone_into(&mut backend.reason);
        return;
    }
    // The loader is right, whatever our search found.
    backend.missing.clear();
    if backend.name != "CUDA" {
        let works = !devices.is_empty();
        backend.state = if works { BackendState::Works } else { BackendState::Loads };
        backend.reason = if works { "loaded, and lists a device".to_owned() } else { "loaded".to_owned() };
        return;
    }
    if devices.is_empty() {
        let said = report.log.iter().find_map(|line| line.split_once("failed to initialize CUDA: "));
        let said = said.map_or_else(String::new, |(_, why)| format!(": {}", why.trim()));
        backend.state = BackendState::Loads;
        backend.reason = format!("loaded, and lists no GPU{said}");
        return;
    }
    if backend.per_gpu.is_empty() {
        backend.per_gpu = devices
            .iter()
            .filter_map(|device| {
                let capability = device.compute_capability?;
                let (runs, reason) =
                    verdict::judge_capability(&code(backend), backend.runtime_major, capability, driver);
                Some(PerGpu { gpu: device.name.clone(), runs, reason })
            })
            .collect();
    }
    let runs = backend.per_gpu.iter().find(|verdict| verdict.runs != Runs::No);
    let listed = devices.iter().map(|device| device.name.as_str()).collect::<Vec<_>>().join(", ");
    match (runs, backend.per_gpu.first()) {
        (Some(verdict), _) => {
            backend.state = BackendState::Works;
            backend.reason = format!("loaded, lists {listed}; {}; no token was computed", verdict.reason);
        }
        (None, Some(first)) => {
            backend.state = BackendState::Blocked;
            backend.reason = format!("loaded, lists {listed}; {}", first.reason);
        }
        (None, None) => {
            backend.state = BackendState::Loads;
            backend.reason = format!("loaded, lists {listed}; which GPU it is was not told");
        }
    }
}

/// Whether the process ended in this backend: while its file was loaded or its device was asked, or before it was there.
fn is_to_blame(backend: &Backend, report: &ProbeReport, during: &str) -> bool {
    if let Some(rest) = during.strip_prefix("asking ") {
        return rest.starts_with(&backend.name);
    }
    if let Some(file) = during.strip_prefix("loading ") {
        return backend.file.as_ref().is_some_and(|path| path.ends_with(file));
    }
    !report.backends.iter().any(|loaded| loaded.name.eq_ignore_ascii_case(&backend.name))
}

/// The GPU code as the verdict wants it.
fn code(backend: &Backend) -> CudaCode {
    CudaCode {
        sass: backend.sass.clone(),
        ptx: backend.ptx.clone(),
        ptx_version: backend.ptx_version,
        compressed: backend.compressed == Some(true),
        containers: 1,
        uneven: false,
    }
}
