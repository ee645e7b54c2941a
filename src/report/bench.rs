//! `bench`: the promise beside the measurement, for people, for programs, and as files.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use super::launch::promise_table;
use super::printer::Printer;
use crate::cli::fit::Preference;
use crate::failure::Failure;
use crate::fit::plan::{MemoryParts, PlanServer};
use crate::script::LaunchServer;
use crate::server::bench::{Measured, Snapshot, Speed};
use crate::server::promise::Promise;
use crate::server::quality::Quality;
use crate::units::Bytes;
use crate::units::grouped;

pub const SCHEMA: &str = "llama-doctor/bench/1";

#[derive(Debug, Clone, Serialize)]
pub struct BenchReport {
    pub schema: &'static str,
    pub runs: Vec<BenchRun>,
    /// Index of the run that serves best, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recommended: Option<usize>,
    pub reason: String,
    /// Where the measurements were kept for later plans.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calibration: Option<PathBuf>,
    pub files: Vec<PathBuf>,
}

#[derive(Debug, Clone, Serialize)]
pub struct BenchRun {
    /// `A`, `B`, …
    pub config: String,
    pub name: String,
    pub title: String,
    pub server: PlanServer,
    pub measured: MeasuredReport,
    pub promises: Vec<Promise>,
    pub differences: Vec<String>,
    pub ready_seconds: f64,
    pub kept: bool,
    pub verdict: String,
}

#[derive(Debug, Clone, Serialize)]
pub struct MeasuredReport {
    pub memory: BTreeMap<String, MemoryParts>,
    /// The highest resident memory of the process that was seen.
    pub process_bytes: Bytes,
    /// Median at an empty context.
    pub tokens_per_second: f64,
    pub prompt_tokens_per_second: f64,
    /// Against an f16 cache; absent where it was not compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quality: Option<Quality>,
    pub speeds: Vec<Speed>,
    pub snapshots: Vec<Snapshot>,
    pub skipped: Vec<String>,
}

impl MeasuredReport {
    pub fn new(memory: BTreeMap<String, MemoryParts>, measured: Measured, quality: Option<Quality>) -> Self {
        let first = measured.speeds.first();
        // A short prompt measures overhead, not throughput: the longest one counts.
        let prompts = measured.speeds.iter().filter_map(|speed| speed.prompt_tokens_per_second);
        Self {
            memory,
            process_bytes: measured.peak_resident(),
            tokens_per_second: first.map_or(0.0, |speed| speed.tokens_per_second.median),
            prompt_tokens_per_second: prompts.fold(0.0, f64::max),
            quality,
            speeds: measured.speeds,
            snapshots: measured.snapshots,
            skipped: measured.skipped,
        }
    }
}

impl BenchRun {
    pub fn new(
        planned: &LaunchServer,
        measured: MeasuredReport,
        promises: Vec<Promise>,
        differences: Vec<String>,
        ready: Duration,
    ) -> Self {
        let broken: Vec<String> = promises
            .iter()
            .filter(|promise| !promise.kept)
            .map(|promise| {
                format!(
                    "{} {} takes {} more than promised",
                    promise.device,
                    promise.part,
                    Bytes(promise.difference().unsigned_abs())
                )
            })
            .collect();
        let kept = broken.is_empty() && differences.is_empty() && !promises.is_empty();
        let verdict = if promises.is_empty() {
            "the server's log says nothing of its memory".to_owned()
        } else if kept {
            "kept".to_owned()
        } else {
            broken.into_iter().chain(differences.iter().cloned()).collect::<Vec<_>>().join("; ")
        };
        Self {
            config: String::new(),
            name: planned.name.clone(),
            title: planned.title.clone(),
            server: planned.plan.clone(),
            measured,
            promises,
            differences,
            ready_seconds: ready.as_secs_f64(),
            kept,
            verdict,
        }
    }

    pub fn cache_name(&self) -> String {
        let (k, v) = (self.server.cache_type_k, self.server.cache_type_v);
        if k == v { k.to_string() } else { format!("{k}/{v}") }
    }

    /// VRAM of the process, or without a GPU its resident memory.
    pub fn total(&self) -> Bytes {
        let vram: u64 = self.measured.memory.values().filter_map(|parts| parts.total).map(|total| total.0).sum();
        if vram > 0 { Bytes(vram) } else { self.measured.process_bytes }
    }

    pub fn cache_bytes(&self) -> Bytes {
        Bytes(self.measured.memory.values().map(|parts| parts.context.0).sum())
    }

    /// How long an answer of a thousand tokens takes.
    pub fn thousand_seconds(&self) -> Option<f64> {
        (self.measured.tokens_per_second > 0.0).then(|| 1000.0 / self.measured.tokens_per_second)
    }

    fn same_as_f16(&self) -> String {
        self.measured
            .quality
            .as_ref()
            .map_or_else(|| "-".to_owned(), |quality| format!("{:.1} %", quality.agreement * 100.0))
    }

    /// Whether its answers may stand for f16's.
    fn is_good(&self) -> bool {
        self.measured
            .quality
            .as_ref()
            .is_none_or(|quality| quality.agreement >= 0.96 && quality.needle_found != Some(false))
    }
}

impl BenchReport {
    pub fn new(runs: Vec<BenchRun>, prefer: Option<Preference>) -> Self {
        let (recommended, reason) = pick(&runs, prefer);
        Self { schema: SCHEMA, runs, recommended, reason, calibration: None, files: Vec::new() }
    }

    pub fn kept(&self) -> bool {
        self.runs.iter().all(|run| run.kept)
    }

    /// One line a server: the cache's promise beside its measurement, and the speed.
    pub fn lines(&self) -> Vec<String> {
        let line = |run: &BenchRun| {
            let promised: u64 = run.server.memory.values().map(|parts| parts.context.0).sum();
            let mut line = format!(
                "KV {:.1} MiB promised, {:.1} measured; {:.1} tokens/s",
                Bytes(promised).mib(),
                run.cache_bytes().mib(),
                run.measured.tokens_per_second
            );
            if !run.kept {
                let _ = write!(line, "; {}", run.verdict);
            }
            line
        };
        self.runs.iter().map(line).collect()
    }

    fn largest_difference(&self) -> Option<f64> {
        let shares = self.runs.iter().flat_map(|run| &run.promises).filter(|promise| promise.promised_bytes.0 > 0);
        shares
            .map(|promise| promise.difference().unsigned_abs() as f64 / promise.promised_bytes.0 as f64)
            .reduce(f64::max)
    }
}

/// What is best at what was preferred, among those that keep their promise and whose answers may stand for f16's.
fn pick(runs: &[BenchRun], prefer: Option<Preference>) -> (Option<usize>, String) {
    if runs.len() < 2 {
        return (None, String::new());
    }
    let good = runs.iter().enumerate().filter(|(_, run)| run.kept && run.is_good());
    let score = |run: &BenchRun| match prefer {
        None | Some(Preference::Context) => f64::from(run.server.context),
        Some(Preference::Speed) => run.measured.tokens_per_second,
        Some(Preference::Quality) => run.measured.quality.as_ref().map_or(1.0, |quality| quality.agreement),
    };
    let what = match prefer {
        None | Some(Preference::Context) => "the largest context",
        Some(Preference::Speed) => "the fastest",
        Some(Preference::Quality) => "the nearest to f16",
    };
    let best = good
        .max_by(|one, two| score(one.1).total_cmp(&score(two.1)).then(one.1.server.context.cmp(&two.1.server.context)));
    match best {
        Some((index, run)) => {
            let quality = run.measured.quality.as_ref().map_or("f16 itself", |quality| quality.verdict.as_str());
            let context = grouped(u64::from(run.server.context));
            (
                Some(index),
                format!(
                    "{}, with {context} tokens: {what} of those whose quality holds ({quality})",
                    run.config_or(index)
                ),
            )
        }
        None => (None, "none keeps its promise and f16's quality".to_owned()),
    }
}

impl BenchRun {
    fn config_or(&self, index: usize) -> String {
        if self.config.is_empty() { format!("run {}", index + 1) } else { self.config.clone() }
    }
}

pub fn print(printer: Printer, report: &BenchReport) -> Result<(), Failure> {
    if printer.json {
        return printer.json(report);
    }
    printer.answer(human(report).trim_end());
    Ok(())
}

fn human(report: &BenchReport) -> String {
    let mut text = String::new();
    for run in &report.runs {
        let _ = writeln!(text, "{}  {}", if run.kept { "kept  " } else { "broken" }, run.title);
        text.push_str(&promise_table(&run.promises));
        text.push('\n');
        if !run.kept {
            let _ = writeln!(text, "{}", run.verdict);
        }
        text.push_str(&speeds(run));
        if let Some(quality) = &run.measured.quality {
            let _ = writeln!(text, "{}", quality_line(quality));
        }
        for skipped in &run.measured.skipped {
            let _ = writeln!(text, "Not measured: {skipped}");
        }
        text.push('\n');
    }
    if report.runs.len() > 1 {
        text.push_str(&table(report));
    }
    if let Some(share) = report.largest_difference() {
        let _ = write!(text, "Promised and measured memory differ by at most {:.1} %.", share * 100.0);
    }
    if let Some(html) = report.files.iter().find(|path| path.extension().is_some_and(|ending| ending == "html")) {
        let _ = write!(text, " Report: {}", html.display());
    }
    text.push('\n');
    if let Some(path) = &report.calibration {
        let _ = writeln!(text, "Kept for later plans: {}", path.display());
    }
    text
}

fn speeds(run: &BenchRun) -> String {
    let mut text = String::new();
    for speed in &run.measured.speeds {
        let rate = speed.tokens_per_second;
        let _ = write!(
            text,
            "{:>9} tokens filled: {:>7.1} tokens/s ({:.1} to {:.1})",
            grouped(u64::from(speed.filled_tokens)),
            rate.median,
            rate.lowest,
            rate.highest
        );
        if let Some(first) = speed.first_token_milliseconds {
            let _ = write!(text, ", first after {:.2} s", first / 1000.0);
        }
        text.push('\n');
    }
    let _ = writeln!(
        text,
        "Prompt {:.0} tokens/s; estimated {:.1} tokens/s; process {} in RAM; ready after {:.1} s",
        run.measured.prompt_tokens_per_second,
        run.server.tokens_per_second,
        run.measured.process_bytes,
        run.ready_seconds
    );
    text
}

fn quality_line(quality: &Quality) -> String {
    let needle = match quality.needle_found {
        Some(true) => ", needle found",
        Some(false) => ", needle lost",
        None => "",
    };
    format!(
        "Quality: {}: same token as f16 in {:.1} % ({:.1} to {:.1}) of {} places, divergence {:.4}{needle}",
        quality.verdict,
        quality.agreement * 100.0,
        quality.agreement_low * 100.0,
        quality.agreement_high * 100.0,
        quality.positions,
        quality.divergence
    )
}

/// The sweep's one table.
fn table(report: &BenchReport) -> String {
    let mut text = format!(
        "{:<7} {:>9}  {:<9} {:>11} {:>11} {:>9} {:>10} {:>9}\n",
        "Config", "Context", "Cache", "VRAM cache", "Total", "Tokens/s", "1K tokens", "As f16"
    );
    for run in &report.runs {
        let seconds = run.thousand_seconds().map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.1} s"));
        let _ = writeln!(
            text,
            "{:<7} {:>9}  {:<9} {:>7.0} MiB {:>11} {:>9.1} {:>10} {:>9}",
            run.config,
            grouped(u64::from(run.server.context)),
            run.cache_name(),
            run.cache_bytes().mib(),
            run.total().to_string(),
            run.measured.tokens_per_second,
            seconds,
            run.same_as_f16()
        );
    }
    if !report.reason.is_empty() {
        let _ = writeln!(text, "{}", report.reason);
    }
    text
}

/// `report.json`, `report.md` and `report.html` in the folder.
pub fn write(report: &BenchReport, folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    fs_err::create_dir_all(folder)?;
    let json =
        serde_json::to_string_pretty(report).map_err(|error| Failure::new(crate::failure::Kind::Internal, error))?;
    let files = [("report.json", json), ("report.md", markdown(report)), ("report.html", super::html::page(report))];
    let mut written = Vec::new();
    for (name, text) in files {
        let mut beside = tempfile::Builder::new().prefix(".report-").tempfile_in(folder)?;
        beside.write_all(text.as_bytes())?;
        crate::script::file::set_mode(beside.as_file(), false)?;
        let path = folder.join(name);
        beside.persist(&path).map_err(|error| error.error)?;
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
        let seconds = run.thousand_seconds().map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.1} s"));
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {:.1} | {} | {:.1} | {seconds} | {} | {} |",
            run.config,
            run.name,
            grouped(u64::from(run.server.context)),
            run.cache_name(),
            run.cache_bytes().mib(),
            run.total(),
            run.measured.tokens_per_second,
            run.same_as_f16(),
            run.verdict
        );
    }
    for run in &report.runs {
        let _ =
            write!(text, "\n## {} {}\n\n```\n{}\n{}", run.config, run.title, promise_table(&run.promises), speeds(run));
        if let Some(quality) = &run.measured.quality {
            let _ = writeln!(text, "{}", quality_line(quality));
        }
        text.push_str("```\n");
    }
    if !report.reason.is_empty() {
        let _ = writeln!(text, "\n{}", report.reason);
    }
    text
}
