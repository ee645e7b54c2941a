//! The parent: starts the child, waits no longer than the deadline, and puts what it saw together.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::programs::{self, Finished};
use super::request::folder_of;
use super::{Event, LINE_PREFIX, Opened, Outcome, ProbeReport, Request, serve};
use crate::build::{BackendState, Build, Device};

/// How long a build may take, and the model of which it shall compute a token.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub deadline: Duration,
    pub model: Option<PathBuf>,
}

/// On more GPUs than these no token is computed.
const MOST_TOKENS: usize = 8;

/// Runs `build` and tells what happened, by this program's own hidden subcommand.
pub fn run(build: &Build, wanted: &Wanted) -> ProbeReport {
    match std::env::current_exe() {
        Ok(program) => run_with(&program, build, wanted),
        Err(error) => ProbeReport::new(Outcome::NotStarted { why: error.to_string() }),
    }
}

/// As [`run`], with `program` as the one that has the hidden subcommand.
pub fn run_with(program: &Path, build: &Build, wanted: &Wanted) -> ProbeReport {
    if let Some(request) = Request::of(build, wanted.model.as_deref()) {
        let mut report = load(program, &request, wanted.deadline);
        if let Some(linked) = &request.linked {
            excuse(linked, build, &mut report);
        }
        return report;
    }
    match &build.server {
        Some(server) => ask(server, build, wanted),
        None => ProbeReport::new(Outcome::NotProbed { why: "it has no library and no program to run".to_owned() }),
    }
}

/// An addon that was not loaded though nothing of it is missing wants the functions of its program: that is no fault.
fn excuse(linked: &Path, build: &Build, report: &mut ProbeReport) {
    let is_blocked = build.backends.iter().any(|backend| backend.state == BackendState::Blocked);
    let failed = report.opened.iter().position(|opened| opened.file == linked && opened.error.is_some());
    if let Some(failed) = failed.filter(|_| !is_blocked) {
        let said = report.opened.remove(failed).error.unwrap_or_default();
        // The file is known.
        let said = said.strip_prefix(&format!("{}: ", linked.display())).unwrap_or(&said).to_owned();
        let why = format!("it can only be loaded by the program that it is an extension of ({said})");
        report.outcome = Outcome::NotProbed { why };
    }
}

fn load(program: &Path, request: &Request, deadline: Duration) -> ProbeReport {
    let input = match serde_json::to_vec(request) {
        Ok(input) => input,
        Err(error) => return ProbeReport::new(Outcome::NotStarted { why: error.to_string() }),
    };
    let mut command = Command::new(program);
    start_in(&request.folder, command.arg(crate::cli::PROBE_CHILD).env_remove("GGML_BACKEND_PATH"));
    let finished = match programs::run(&mut command, &input, deadline) {
        Ok(finished) => finished,
        Err(error) => return ProbeReport::new(Outcome::NotStarted { why: error.to_string() }),
    };
    read(&finished)
}

/// Sets the working folder to `folder`, where the system starts programs there.
fn start_in(folder: &Path, command: &mut Command) {
    /// Source: <https://learn.microsoft.com/windows/win32/api/winbase/nf-winbase-setcurrentdirectory>: two less than the
    /// 260 of a path, whatever else allows long ones; checked 2026-11-24.
    const LONGEST_ON_WINDOWS: usize = 258;
    if !cfg!(windows) || folder.as_os_str().len() <= LONGEST_ON_WINDOWS {
        command.current_dir(folder);
    }
}

fn read(finished: &Finished) -> ProbeReport {
    let mut report = ProbeReport::new(Outcome::Finished);
    let (mut step, mut ended) = ("starting".to_owned(), false);
    for line in finished.stdout.lines() {
        // What a library printed between our lines is not ours.
        let Some(event) = line.strip_prefix(LINE_PREFIX).and_then(|text| serde_json::from_str(text).ok()) else {
            continue;
        };
        match event {
            Event::Begin { step: next } => step = next,
            Event::End => ended = true,
            event => report.add(event),
        }
    }
    let is_closed = matches!(report.outcome, Outcome::NotProbed { .. });
    report.outcome = match finished.status {
        Some(_) if ended && is_closed => report.outcome,
        None => Outcome::TimedOut { during: step },
        Some(_) if ended => Outcome::Finished,
        Some(status) => Outcome::Crashed {
            with: programs::bad_end(status).unwrap_or_else(|| "an early end".to_owned()),
            during: step,
        },
    };
    report.read_capabilities();
    report
}

/// A build whose libraries are linked into its programs: what its server says of itself.
fn ask(server: &Path, build: &Build, wanted: &Wanted) -> ProbeReport {
    let mut report = ProbeReport::new(Outcome::Finished);
    let run = |arguments: &[&str], module: Option<&Path>| {
        let mut command = Command::new(server);
        command.args(arguments);
        if let Some(folder) = folder_of(build) {
            start_in(&folder, &mut command);
        }
        match module {
            // The one way to make a release build tell why a backend does not load (failures.md 0.1).
            Some(module) => command.env("GGML_BACKEND_PATH", module),
            None => command.env_remove("GGML_BACKEND_PATH"),
        };
        programs::run(&mut command, b"", wanted.deadline)
    };
    let module = build.backend("CUDA").and_then(|backend| backend.file.as_deref()).filter(|file| *file != server);
    for (arguments, module) in [(["--version"], None), (["--list-devices"], module)] {
        let during = format!("llama-server {}", arguments[0]);
        match run(&arguments, module) {
            Err(error) => {
                report.outcome = Outcome::NotStarted { why: error.to_string() };
                return report;
            }
            Ok(Finished { status: None, .. }) => {
                report.outcome = Outcome::TimedOut { during };
                return report;
            }
            Ok(Finished { status: Some(status), stdout, stderr }) => {
                if let Some(with) = programs::bad_end(status) {
                    let said = stderr.lines().last().map_or_else(String::new, |line| format!(": {line}"));
                    report.outcome = Outcome::Crashed { with: format!("{with}{said}"), during };
                    return report;
                }
                if arguments == ["--version"] {
                    report.version = Some(format!("{stdout}{stderr}"));
                } else {
                    report.devices = listed_devices(&stdout);
                    report.opened.extend(module.and_then(|module| hidden_error(&stderr, module)));
                    report.log.extend(stderr.lines().map(str::to_owned));
                }
            }
        }
    }
    report.read_capabilities();
    if let Some(model) = &wanted.model {
        let gpus = report.devices.iter().filter(|device| device.kind == "gpu").map(Some);
        let devices = gpus.take(MOST_TOKENS).collect::<Vec<_>>();
        let devices = if devices.is_empty() { vec![None] } else { devices };
        report.tokens =
            devices.into_iter().map(|device| serve::token(server, model, device, wanted.deadline)).collect();
    }
    report
}

/// `load_backend: failed to load /…/libggml-cuda.so: libcudart.so.13: cannot open shared object file`
fn hidden_error(said: &str, module: &Path) -> Option<Opened> {
    let error = said.lines().find_map(|line| {
        let (_, rest) =
            line.split_once("failed to load ").or_else(|| line.split_once("failed to initialize backend from "))?;
        Some(rest.strip_prefix(&module.display().to_string())?.trim_start_matches(':').trim().to_owned())
    })?;
    // Windows' ggml gives no reason.
    let error = if error.is_empty() { "it cannot be loaded, and ggml does not say why".to_owned() } else { error };
    Some(Opened { file: module.to_owned(), error: Some(error) })
}

/// `  CUDA0: NVIDIA GeForce RTX 3090 (24576 MiB, 24000 MiB free)`
fn listed_devices(text: &str) -> Vec<Device> {
    let mib = |text: &str| text.trim().strip_suffix(" MiB")?.parse::<u64>().ok().map(|mib| mib << 20);
    text.lines()
        .filter_map(|line| {
            let (name, rest) = line.trim().split_once(": ")?;
            let (description, memory) = rest.strip_suffix(" free)")?.rsplit_once(" (")?;
            let (total, free) = memory.split_once(", ")?;
            Some(Device {
                name: name.to_owned(),
                description: description.to_owned(),
                backend: name.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned(),
                kind: "gpu".to_owned(),
                free_bytes: mib(free)?,
                total_bytes: mib(total)?,
                compute_capability: None,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listed_devices_are_read() {
        let text = "Available devices:\n  CUDA0: NVIDIA GeForce RTX 3090 (24576 MiB, 24000 MiB free)\n  (none)\n";
        let devices = listed_devices(text);
        assert_eq!(devices.len(), 1);
        assert_eq!((devices[0].name.as_str(), devices[0].backend.as_str()), ("CUDA0", "CUDA"));
        assert_eq!(devices[0].total_bytes, 24576 << 20);
    }

    #[test]
    fn the_error_that_release_builds_hide_is_found() {
        let said = "ggml_cuda: x\nload_backend: failed to load /b/libggml-cuda.so: libcudart.so.13: cannot open shared object file\n";
        let opened = hidden_error(said, Path::new("/b/libggml-cuda.so")).unwrap();
        assert_eq!(opened.error.as_deref(), Some("libcudart.so.13: cannot open shared object file"));
        assert_eq!(hidden_error(said, Path::new("/other.so")), None);
    }

    #[test]
    fn an_early_end_tells_its_step() {
        let line = |event: &Event| format!("{LINE_PREFIX}{}\n", serde_json::to_string(event).unwrap());
        let stdout = line(&Event::Begin { step: "loading libggml-cuda.so".to_owned() })
            + "chatter of a library\n"
            + &line(&Event::Log { text: "Device 0: X, compute capability 8.6, VMM: yes".to_owned() });
        let report = read(&Finished { status: None, stdout, stderr: String::new() });
        assert_eq!(report.outcome, Outcome::TimedOut { during: "loading libggml-cuda.so".to_owned() });
        assert_eq!(report.log.len(), 1);
    }
}
