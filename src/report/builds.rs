//! What `builds` prints.

use std::fmt::Write as _;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::Bytes;

pub const SCHEMA: &str = "llama-doctor/builds/1";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Row {
    pub id: String,
    pub tag: String,
    pub backend: String,
    pub path: PathBuf,
    pub bytes: u64,
    /// RFC 3339, UTC.
    pub installed: String,
    pub current: bool,
    /// What differs from its receipt, as far as was looked at.
    pub differences: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BuildsReport {
    pub schema: String,
    pub builds: Vec<Row>,
}

pub fn human(report: &BuildsReport) -> String {
    if report.builds.is_empty() {
        return "No build is installed. `llama-doctor install` brings the one that runs here.".to_owned();
    }
    let width = report.builds.iter().map(|row| row.id.len()).max().unwrap_or(0);
    let mut text = String::new();
    for row in &report.builds {
        let mark = if row.current { '>' } else { ' ' };
        let day = row.installed.get(..10).unwrap_or_default();
        let _ = writeln!(text, "{mark} {:width$}  {:>9}  {day}  {}", row.id, Bytes(row.bytes), row.path.display());
        for difference in &row.differences {
            let _ = writeln!(text, "    {difference}");
        }
    }
    text.push_str("> is in use");
    text
}
