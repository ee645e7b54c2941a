//! `setup`: one line a step, the plan's table where nothing fits, and at the end what to start.

use schemars::JsonSchema;
use serde::Serialize;

use super::launch::LaunchReport;
use super::printer::Printer;
use super::text::{WIDTH, wrapped};
use crate::check::machine::Diagnosis;
use crate::failure::Failure;
use crate::fit::plan::{Plan, PlanOption};

pub const SCHEMA: &str = "llama-doctor/setup/1";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Was done now.
    Done,
    /// Nothing was to do.
    Present,
    /// Cannot be done here; the summary says what is missing.
    Missing,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Step {
    /// `check`, `install`, `pull`, `fit`, `launch`
    pub name: &'static str,
    pub state: State,
    pub summary: Vec<String>,
}

impl Step {
    pub fn done(name: &'static str, summary: Vec<String>) -> Self {
        Self { name, state: State::Done, summary }
    }

    pub fn present(name: &'static str, summary: &str) -> Self {
        Self { name, state: State::Present, summary: vec![summary.to_owned()] }
    }

    pub fn missing(name: &'static str, summary: &str) -> Self {
        Self { name, state: State::Missing, summary: vec![summary.to_owned()] }
    }
}

#[derive(Debug, Clone, Serialize)]
pub struct SetupReport {
    pub schema: &'static str,
    pub steps: Vec<Step>,
    pub plan: Plan,
    /// Absent where nothing fits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub launch: Option<LaunchReport>,
}

impl SetupReport {
    pub fn new(steps: Vec<Step>, plan: Plan, launch: Option<LaunchReport>) -> Self {
        Self { schema: SCHEMA, steps, plan, launch }
    }
}

const NAME_WIDTH: usize = 10;

/// A step as it is told when it ends.
pub fn line(step: &Step) -> String {
    let indent = NAME_WIDTH;
    let lines: Vec<String> = step.summary.iter().map(|line| wrapped(line, WIDTH - indent, indent)).collect();
    format!("{:NAME_WIDTH$}{}", step.name, lines.join(&format!("\n{:indent$}", "")))
}

/// The machine in one line, as the doctor sees it.
pub fn diagnosis(diagnosis: &Diagnosis) -> String {
    let mut parts = vec![diagnosis.verdict.summary.clone()];
    parts.extend(
        diagnosis.gpus.iter().map(|gpu| format!("{} {}, {} free of {}", gpu.id, gpu.name, gpu.free, gpu.total)),
    );
    parts.join("; ")
}

/// The recommended option: each server's context, cache and share.
pub fn option(plan: &Plan, option: &PlanOption) -> Vec<String> {
    let mut lines = Vec::new();
    for server in &option.servers {
        let name = plan.models.get(server.model).map_or("", |model| model.name.as_str());
        let total: u64 = server.memory.values().filter_map(|parts| parts.total).map(|bytes| bytes.0).sum();
        lines.push(format!(
            "{name}: {} tokens, cache {}/{}, {} of VRAM",
            crate::units::grouped(u64::from(server.context)),
            server.cache_type_k,
            server.cache_type_v,
            crate::units::Bytes(total),
        ));
    }
    lines
}

/// What remains to say after the steps.
pub fn print(printer: Printer, report: &SetupReport, models: &[String]) -> Result<(), Failure> {
    if printer.json {
        return printer.json(report);
    }
    let Some(launch) = &report.launch else {
        return super::fit::print(printer, &report.plan, models);
    };
    let Some(option) = report.plan.recommended.and_then(|index| report.plan.options.get(index)) else { return Ok(()) };
    for note in &option.notes {
        printer.answer(&format!("note      {}", wrapped(note, WIDTH - NAME_WIDTH, NAME_WIDTH)));
    }
    let ready = report.steps.iter().all(|step| step.state != State::Missing);
    let word = if ready { "Ready" } else { "Written for a machine that has the rest" };
    // The other files were named with their step.
    let first = launch.files.first().map(|file| file.path.display().to_string()).unwrap_or_default();
    let urls = launch.servers.iter().map(|server| server.url.clone()).collect::<Vec<_>>().join(" ");
    printer.answer(&format!("{word}: {first}\nthen {urls}"));
    Ok(())
}
