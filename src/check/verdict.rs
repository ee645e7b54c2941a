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

/// The first failure in the order of the checks is the root cause: what merely follows from it was skipped.
pub fn verdict(context: &Context<'_>, findings: &[Finding]) -> Verdict {
    let failure = findings.iter().find(|finding| finding.status == Status::Fail);
    let warnings = || findings.iter().filter(|finding| finding.status == Status::Warn);
    // The absence of a GPU, then what costs llama.cpp something, then the rest.
    let weight = |finding: &&Finding| (finding.id != NO_GPU, !degrades(finding));
    let (status, summary) = match (failure, warnings().min_by_key(weight)) {
        (Some(failure), _) => (VerdictStatus::Broken, failure.summary.clone()),
        (None, Some(warning)) if warning.id == NO_GPU => (VerdictStatus::NoGpu, warning.summary.clone()),
        (None, Some(warning)) if degrades(warning) => (VerdictStatus::Degraded, warning.summary.clone()),
        (None, _) => (VerdictStatus::Ready, ready(*context)),
    };
    Verdict { status, summary, build: context.build_to_run().map(|build| build.path.clone()) }
}

/// A broken model file, a full disk or a taken port do not make llama.cpp itself run worse.
fn degrades(finding: &Finding) -> bool {
    let group = super::find(&finding.id).map(super::Check::group);
    !matches!(group, Some(Group::Models | Group::Storage)) && finding.id != "port-free"
}

fn ready(context: Context<'_>) -> String {
    let names: Vec<&str> = context.visible_gpus().map(|gpu| gpu.name.as_str()).collect();
    let (gpus, are) = match names[..] {
        [] => ("this machine".to_owned(), "is"),
        [name] => (name.to_owned(), "is"),
        [name, ..] if names.iter().all(|other| *other == name) => (format!("{} of {name}", names.len()), "are"),
        [name, ..] => (format!("{name} and {} more", names.len() - 1), "are"),
    };
    match context.build_to_run() {
        Some(build) => format!("{} can use {gpus}", Context::name_of(build)),
        None => format!("{gpus} {are} ready for llama.cpp; no build was found yet"),
    }
}
