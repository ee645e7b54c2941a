//! `launch`: what was written, what it starts, and what a running server makes of the plan.

use std::fmt::Write as _;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Serialize;

use super::printer::Printer;
use crate::failure::Failure;
use crate::script::file::Written;
use crate::script::{Launch, why};
use crate::server::promise::Promise;

pub const SCHEMA: &str = "llama-doctor/launch/1";

#[derive(Debug, Clone, Serialize)]
pub struct LaunchReport {
    pub schema: &'static str,
    pub title: String,
    pub notes: Vec<String>,
    pub files: Vec<FileReport>,
    pub server: String,
    pub servers: Vec<ServerReport>,
    pub ladder: Vec<RungReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<Vec<RunReport>>,
}

#[derive(Debug, Clone, Serialize)]
pub struct FileReport {
    pub path: PathBuf,
    pub state: &'static str,
}

#[derive(Debug, Clone, Serialize)]
pub struct ServerReport {
    pub name: String,
    pub url: String,
    /// What brings its model here, where it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fetch: Option<String>,
    pub arguments: Vec<ArgumentReport>,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ArgumentReport {
    pub flag: String,
    pub value: Option<String>,
    pub why: String,
}

/// One step down: these contexts start where this much VRAM is free.
#[derive(Debug, Clone, Serialize)]
pub struct RungReport {
    pub contexts: Vec<u32>,
    pub needs_mib: Vec<u64>,
}

/// What a running server says beside what was promised of it.
#[derive(Debug, Clone, Serialize)]
pub struct RunReport {
    pub name: String,
    pub url: String,
    pub log: PathBuf,
    pub promises: Vec<Promise>,
    pub differences: Vec<String>,
}

impl LaunchReport {
    pub fn new(launch: &Launch, files: Vec<(PathBuf, Written)>) -> Self {
        let file = |(path, written)| {
            let state = match written {
                Written::New => "new",
                Written::Replaced => "replaced",
                Written::Unchanged => "unchanged",
            };
            FileReport { path, state }
        };
        let server = |server: &crate::script::LaunchServer| ServerReport {
            name: server.name.clone(),
            url: server.url(),
            fetch: server.is_missing().then(|| crate::script::quote::shown(&server.fetch)),
            arguments: server
                .arguments
                .iter()
                .map(|argument| ArgumentReport {
                    flag: argument.flag.clone(),
                    value: argument.value.clone(),
                    why: why::reason(argument, server, launch),
                })
                .collect(),
        };
        let rung = |rung: &crate::script::Rung| RungReport {
            contexts: rung.contexts.clone(),
            needs_mib: rung.needs_mib.clone(),
        };
        Self {
            schema: SCHEMA,
            title: launch.title.clone(),
            notes: launch.notes.clone(),
            files: files.into_iter().map(file).collect(),
            server: launch.server.clone(),
            servers: launch.servers.iter().map(server).collect(),
            ladder: launch.rungs.iter().map(rung).collect(),
            run: None,
        }
    }
}

pub fn print(printer: Printer, report: &LaunchReport, explain: bool) -> Result<(), Failure> {
    if printer.json {
        return printer.json(report);
    }
    printer.answer(human(report, explain).trim_end());
    Ok(())
}

fn human(report: &LaunchReport, explain: bool) -> String {
    let mut text = String::new();
    for part in report.title.split("; ") {
        let _ = writeln!(text, "{part}");
    }
    for note in &report.notes {
        let _ = writeln!(text, "Note: {note}");
    }
    text.push('\n');
    for file in &report.files {
        let _ = writeln!(text, "{:<9}  {}", file.state, file.path.display());
    }
    for server in &report.servers {
        let _ = writeln!(text, "{:<9}  {}, then {}", "starts", server.name, server.url);
    }
    for fetch in report.servers.iter().filter_map(|server| server.fetch.as_ref()) {
        let _ = writeln!(text, "{:<9}  {fetch}", "first");
    }
    if explain {
        for server in &report.servers {
            let _ = writeln!(text, "\n{}", server.name);
            for argument in &server.arguments {
                let value = argument.value.as_deref().unwrap_or_default();
                let _ = writeln!(text, "  {:<24} {}", format!("{} {value}", argument.flag).trim_end(), argument.why);
            }
        }
        if report.ladder.len() > 1 && !report.ladder[0].needs_mib.is_empty() {
            text.push_str("\nWhere VRAM is short at start, the scripts step down:\n");
            for rung in &report.ladder {
                let contexts: Vec<String> =
                    rung.contexts.iter().map(|context| crate::units::grouped(u64::from(*context))).collect();
                let needs: Vec<String> =
                    rung.needs_mib.iter().map(|need| format!("{} MiB", crate::units::grouped(*need))).collect();
                let _ = writeln!(text, "  {:>10} tokens  need {} free", contexts.join(" + "), needs.join(" + "));
            }
        }
    }
    text
}

/// The promise beside the measurement, once the server is ready. On stderr: the servers still run.
pub fn print_run(printer: Printer, run: &RunReport) {
    printer.note(&promise_table(&run.promises));
    for difference in &run.differences {
        printer.warning(&format!("{}: {difference}", run.name));
    }
}

pub fn promise_table(promises: &[Promise]) -> String {
    let mut text = format!("{:<8} {:<8} {:>14} {:>14} {:>12}\n", "", "", "promised", "measured", "difference");
    for promise in promises {
        let _ = writeln!(
            text,
            "{:<8} {:<8} {:>10.2} MiB {:>10.2} MiB {:>+8.2} MiB{}",
            promise.device,
            promise.part,
            promise.promised_bytes.mib(),
            promise.measured_bytes.mib(),
            // Hundredths, so that a rounding does not read as less than nothing.
            (promise.difference() as f64 / crate::units::MIB as f64 * 100.0).round() / 100.0 + 0.0,
            if promise.kept { "" } else { "  broken" }
        );
    }
    text.trim_end().to_owned()
}
