//! The verdict: one word and one sentence over all findings.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Context, Finding, Group, NO_GPU, Status};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum VerdictStatus {
    Ready,
    Degraded,
    Broken,
    NoGpu,
}

impl VerdictStatus {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Degraded => "degraded",
            Self::Broken => "broken",
            Self::NoGpu => "no GPU",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    pub status: VerdictStatus,
    pub summary: String,
    /// The build that would run.
    pub build: Option<PathBuf>,
}

/// The weightiest problem gives the verdict: what merely follows from it was skipped.
pub fn verdict(context: &Context<'_>, findings: &[Finding]) -> Verdict {
    let problem = problems(findings).into_iter().next();
    let (status, summary) = match problem {
        Some(finding) if finding.status == Status::Fail => (VerdictStatus::Broken, finding.summary.clone()),
        Some(finding) if finding.id == NO_GPU => (VerdictStatus::NoGpu, finding.summary.clone()),
        Some(finding) if degrades(finding) => (VerdictStatus::Degraded, finding.summary.clone()),
        _ => (VerdictStatus::Ready, ready(*context)),
    };
    Verdict { status, summary, build: context.build_to_run().map(|build| build.path.clone()) }
}

/// What is wrong, by weight: failures in the order of the checks, which is that of causes; then warnings, first the
/// absence of a GPU, then what costs llama.cpp something, then the rest.
pub fn problems(findings: &[Finding]) -> Vec<&Finding> {
    let mut problems: Vec<&Finding> = findings.iter().filter(|finding| finding.status >= Status::Warn).collect();
    problems.sort_by_key(|finding| match finding.status {
        Status::Fail => 0,
        _ if finding.id == NO_GPU => 1,
        _ if degrades(finding) => 2,
        _ => 3,
    });
    problems
}

/// A broken model file, a full disk or a taken port do not make llama.cpp itself run worse.
fn degrades(finding: &Finding) -> bool {
    let group = super::find(&finding.id).map(super::Check::group);
    !matches!(group, Some(Group::Models | Group::Storage)) && finding.id != "port-free"
}

fn ready(context: Context<'_>) -> String {
    let names: Vec<&str> = context.visible_gpus().map(|gpu| gpu.name.as_str()).collect();
    let (gpus, are) = match names[..] {
        // Without a card only some of the checks were asked.
        [] => return "nothing that was asked about is wrong".to_owned(),
        [name] => (name.to_owned(), "is"),
        [name, ..] if names.iter().all(|other| *other == name) => (format!("{} x {name}", names.len()), "are"),
        [name, ..] => (format!("{name} and {} more", names.len() - 1), "are"),
    };
    match context.build_to_run() {
        Some(build) => format!("{} can use {gpus}", Context::name_of(build)),
        None => format!("{gpus} {are} ready for llama.cpp; no build was found yet"),
    }
}
