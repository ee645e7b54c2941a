//! What a run adds to what the files tell: loaded or not and why, the devices, the last word on CUDA.

use std::path::PathBuf;

use super::examine::Machinery;
use super::verdict::{self, Driver};
use super::{Backend, BackendState, Build, PerGpu, Runs, processor, version};
use crate::binary::fatbin::CudaCode;
use crate::probe::{Outcome, ProbeReport, Token};

/// Adds the report to the build that it is about.
pub fn prove(build: &mut Build, report: &ProbeReport, machinery: &Machinery<'_>) {
    let driver = &machinery.driver;
    build.probe = Some(sentence(&report.outcome));
    build.mapped.clone_from(&report.mapped);
    build.tokens.clone_from(&report.tokens);
    name_the_variant(build, report);
    if !report.opened.is_empty() && report.opened.iter().all(|opened| opened.error.is_some()) {
        build.probe = Some("tried in a process of its own, and not loaded".to_owned());
    }
    build.system_info.clone_from(&report.system_info);
    build.devices.clone_from(&report.devices);
    if let Some(printed) = report.version.as_deref().and_then(version::printed) {
        build.tag = build.tag.or(printed.tag);
        build.version = build.version.take().or_else(|| printed.shown());
        build.commit = printed.commit.or(build.commit.take());
    }
    for backend in &mut build.backends {
        prove_backend(backend, report, driver);
        prove_token(backend, report);
    }
    if let (Some(info), Some(cpu)) =
        (&report.system_info, build.backends.iter_mut().find(|backend| backend.name == "CPU"))
    {
        let lacking = processor::lacking(info, machinery.processor);
        build.processor_lacks = lacking.iter().map(|name| (*name).to_owned()).collect();
        prove_processor(cpu, &lacking);
    }
}

/// Of the modules for processors ggml takes the one that fits: its file is the backend's.
fn name_the_variant(build: &mut Build, report: &ProbeReport) {
    let is_variant = |path: &&PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        name.trim_start_matches("lib").starts_with("ggml-cpu")
    };
    let taken = report.mapped.iter().find(is_variant);
    let cpu = build.backends.iter_mut().find(|backend| backend.name == "CPU");
    if let (Some(taken), Some(cpu)) = (taken, cpu) {
        cpu.file = Some(taken.clone());
    }
    build.mapped.retain(|path| !is_variant(&path));
}

/// The code for the processor runs only where all that it was compiled for is there.
fn prove_processor(cpu: &mut Backend, lacking: &[&str]) {
    let is_illegal = cpu.reason.contains("illegal instruction");
    if lacking.is_empty() || (cpu.state == BackendState::Blocked && !is_illegal) {
        return;
    }
    let file = cpu.file.as_deref().and_then(std::path::Path::file_name).unwrap_or_default().to_string_lossy();
    let names = lacking.join(", ");
    let so_far = std::mem::take(&mut cpu.reason);
    cpu.reason = if is_illegal {
        format!("{file} is compiled for {names}, which this processor lacks, and ended with an illegal instruction")
    } else if cpu.state == BackendState::Works && so_far.contains("computed a token") {
        format!(
            "{so_far}; {file} is compiled for {names}, which this processor lacks: other models may end it (SIGILL)"
        )
    } else {
        format!(
            "{file} is compiled for {names}, which this processor lacks: it ends with an illegal instruction (SIGILL)"
        )
    };
    if !cpu.reason.contains("computed a token") {
        cpu.state = BackendState::Blocked;
    }
}

/// The last link: a token that was computed, or was to be computed and was not.
fn prove_token(backend: &mut Backend, report: &ProbeReport) {
    let is_of = |device: &str| device.trim_end_matches(|c: char| c.is_ascii_digit()) == backend.name;
    let tokens: Vec<&Token> = report.tokens.iter().filter(|token| is_of(&token.device)).collect();
    if tokens.is_empty() || !matches!(backend.state, BackendState::Works | BackendState::Loads) {
        return;
    }
    let model = |token: &Token| token.model.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let before = backend.reason.trim_end_matches("; no token was computed").to_owned();
    if let Some((token, problem)) = tokens.iter().find_map(|token| Some((token, token.problem.as_ref()?))) {
        backend.state = BackendState::Blocked;
        backend.reason = format!("{before}; no token of {} on {}: {problem}", model(token), token.device);
        return;
    }
    let devices = tokens.iter().map(|token| token.device.as_str()).collect::<Vec<_>>().join(", ");
    let layers = tokens.iter().find_map(|token| token.layers_on_device.as_deref());
    let layers = layers.map_or_else(String::new, |layers| format!(", {layers} layers on it"));
    backend.state = BackendState::Works;
    backend.reason = format!("{before}; computed a token of {} on {devices}{layers}", model(tokens[0]));
}

/// The step of the child before each token.
const COMPUTING: &str = "computing a token on ";

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
        // Everything but the token was told before.
        Outcome::Crashed { during, .. } | Outcome::TimedOut { during }
            if during.starts_with(COMPUTING) && !is_to_blame(backend, report, during) => {}
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
    backend.api_version = registered.map(|registered| registered.api_version).or(backend.api_version);
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
    if let Some(device) = during.strip_prefix("asking ").or_else(|| during.strip_prefix(COMPUTING)) {
        return device.starts_with(&backend.name);
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
