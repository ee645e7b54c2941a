//! What `install` prints: the choice with its reasons, and what was done.

use std::fmt::Write as _;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::printer::Printer;
use super::text::{WIDTH, wrapped};
use crate::failure::Failure;
use crate::install::choose::{Choice, OTHER_MAKER, Rejected};
use crate::source::github::Artifact;
use crate::units::Bytes;

pub const SCHEMA: &str = "llama-doctor/install/1";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Asset {
    pub name: String,
    pub url: String,
    /// Bytes; absent where only a web page told of the file.
    pub size: Option<u64>,
    /// Absent where the release publishes none.
    pub sha256: Option<String>,
}

impl Asset {
    pub fn of(artifact: &Artifact) -> Self {
        Self {
            name: artifact.name.clone(),
            url: artifact.url.clone(),
            size: artifact.size,
            sha256: artifact.sha256.map(|digest| digest.to_string()),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Done {
    /// `b11434-cuda-12.8`
    pub id: String,
    pub path: PathBuf,
    /// Whether it is in use now.
    pub active: bool,
    /// What the proof showed, one sentence each.
    pub proof: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct InstallReport {
    pub schema: String,
    pub tag: String,
    pub assets: Vec<Asset>,
    /// `cuda-12.8`, `vulkan`, `cpu`
    pub backend: String,
    pub reason: Vec<String>,
    pub rejected: Vec<Rejected>,
    pub warnings: Vec<String>,
    pub notes: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub installed: Option<Done>,
}

impl InstallReport {
    pub fn of(choice: &Choice, notes: Vec<String>) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            tag: choice.tag.clone(),
            assets: std::iter::once(&choice.build).chain(&choice.runtime).map(Asset::of).collect(),
            backend: choice.backend.clone(),
            reason: choice.reason.clone(),
            rejected: choice.rejected.clone(),
            warnings: choice.warnings.clone(),
            notes,
            installed: None,
        }
    }
}

/// What was noteworthy on the way to the choice.
pub fn talk(printer: Printer, report: &InstallReport) {
    for note in &report.notes {
        printer.note(note);
    }
    for warning in &report.warnings {
        printer.warning(warning);
    }
}

/// What was installed, or what would be.
pub fn print(printer: Printer, report: &InstallReport) -> Result<(), Failure> {
    if printer.json {
        return printer.json(report);
    }
    printer.answer(&report.installed.as_ref().map_or_else(|| decision(report), |what| done(report, what)));
    Ok(())
}

/// The choice as a table of decisions.
fn decision(report: &InstallReport) -> String {
    let mut text = format!("{} {}\n", report.tag, report.backend);
    for reason in &report.reason {
        let _ = writeln!(text, "  {}", wrapped(reason, WIDTH - 2, 4));
    }
    text.push('\n');
    for asset in &report.assets {
        let size = asset.size.map_or_else(|| "size unknown".to_owned(), |size| Bytes(size).to_string());
        let digest = asset.sha256.as_deref().map_or("no sha256 published", |digest| &digest[..16]);
        let digest = if asset.sha256.is_some() { format!("sha256 {digest}...") } else { digest.to_owned() };
        let _ = writeln!(text, "  {}\n      {size}, {digest}", asset.name);
    }
    if !report.rejected.is_empty() {
        text.push_str("\nNot chosen\n");
        let (foreign, near): (Vec<_>, Vec<_>) = report.rejected.iter().partition(|row| row.why == OTHER_MAKER);
        for row in near {
            let _ = writeln!(text, "  {}\n      {}", row.name, wrapped(&row.why, WIDTH - 6, 6));
        }
        match foreign[..] {
            [] => {}
            [row] => drop(writeln!(text, "  {}\n      {OTHER_MAKER}", row.name)),
            _ => drop(writeln!(text, "  {} builds for hardware of other makers", foreign.len())),
        }
    }
    text.trim_end().to_owned()
}

/// What is in use now.
pub fn done(report: &InstallReport, done: &Done) -> String {
    let mut text =
        format!("{} is {}\n", done.id, if done.active { "installed and in use" } else { "installed, not in use" });
    for line in report.reason.iter().chain(&done.proof) {
        let _ = writeln!(text, "  {}", wrapped(line, WIDTH - 2, 4));
    }
    let _ = write!(text, "  {}", done.path.display());
    text
}
