//! `bench`'s report as files: JSON for programs, Markdown to paste, HTML to look at.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::{BenchReport, words};
use crate::failure::{Failure, Kind};
use crate::host::replace;
use crate::report::html;
use crate::units::grouped;

/// `report.json`, `report.md` and `report.html` in the folder.
pub fn write(report: &BenchReport, folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    fs_err::create_dir_all(folder)?;
    let json = serde_json::to_string_pretty(report).map_err(|error| Failure::new(Kind::Internal, error))?;
    let files = [("report.json", json), ("report.md", markdown(report)), ("report.html", html::page(report))];
    let mut written = Vec::new();
    for (name, text) in files {
        let path = folder.join(name);
        replace::write(&path, text.as_bytes())?;
        written.push(path);
    }
    Ok(written)
}

fn markdown(report: &BenchReport) -> String {
    let mut text = format!("# llama-doctor bench\n\nBy llama-doctor {}.\n\n", env!("CARGO_PKG_VERSION"));
    text.push_str(
        "| Config | Model | Context | Cache | Cache MiB | Total | Tokens/s | 1K tokens | As f16 | Promise |\n",
    );
    text.push_str("|---|---|---:|---|---:|---:|---:|---:|---:|---|\n");
    for run in &report.runs {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {:.1} | {} | {} | {} | {} | {} |",
            run.config,
            run.name,
            grouped(u64::from(run.server.context)),
            run.cache_name(),
            run.cache_bytes().mib(),
            run.total(),
            run.tokens_per_second(),
            run.thousand(),
            run.same_as_f16(),
            run.verdict
        );
    }
    if !report.not_measured.is_empty() {
        text.push('\n');
    }
    for one in &report.not_measured {
        let _ = writeln!(text, "- {}", words::not_measured(one));
    }
    for run in &report.runs {
        let _ = write!(text, "\n## {} {}\n\n```\n{}```\n", run.config, run.title, words::details(run));
    }
    if !report.reason.is_empty() {
        let _ = writeln!(text, "\n{}", report.reason);
    }
    text
}
