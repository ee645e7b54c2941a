//! `bench`: the promise beside the measurement, for people, for programs, and as files.

mod files;
mod pick;
pub(super) mod words;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

pub use self::files::write;
use super::printer::Printer;
use crate::cli::fit::Preference;
use crate::failure::Failure;
use crate::fit::plan::{MemoryParts, PlanServer};
use crate::script::LaunchServer;
use crate::server::bench::{Measured, Snapshot, Speed};
use crate::server::promise::{Promise, Setting};
use crate::server::quality::Quality;
use crate::units::Bytes;

pub const SCHEMA: &str = "llama-doctor/bench/1";

/// What the log's rounding to 0.01 MiB may hide in the buffers of one part.
const OF_ROUNDING: Bytes = Bytes(30_000);

#[derive(Debug, Clone, Serialize)]
pub struct BenchReport {
    pub schema: &'static str,
    pub runs: Vec<BenchRun>,
    /// Configurations without a measurement.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_measured: Vec<NotMeasured>,
    /// Index of the run that serves best, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recommended: Option<usize>,
    pub reason: String,
    /// Where the measurements were kept for later plans.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calibration: Option<PathBuf>,
    pub files: Vec<PathBuf>,
}

/// A configuration that was to be measured, and why it was not.
#[derive(Debug, Clone, Serialize)]
pub struct NotMeasured {
    /// `A`, `B`, …
    pub config: String,
    pub title: String,
    pub why: String,
}

#[derive(Debug, Clone, Serialize)]
pub struct BenchRun {
    /// `A`, `B`, …; `A1`, `A2`, … for servers that run together
    pub config: String,
    pub name: String,
    pub title: String,
    pub server: PlanServer,
    pub measured: MeasuredReport,
    pub promises: Vec<Promise>,
    pub settings: Vec<Setting>,
    pub differences: Vec<String>,
    /// What the server's own fitting said.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fit_messages: Vec<String>,
    pub ready_seconds: f64,
    pub kept: bool,
    pub verdict: String,
}

#[derive(Debug, Clone, Serialize)]
pub struct MeasuredReport {
    pub memory: BTreeMap<String, MemoryParts>,
    /// The highest resident memory of the process that was seen.
    pub process_bytes: Bytes,
    /// Median at an empty context; 0 where it was not measured.
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
        let empty = measured.speeds.iter().find(|speed| speed.share <= 0.0);
        // A short prompt measures overhead, not throughput: the longest one counts.
        let prompts = measured.speeds.iter().filter_map(|speed| speed.prompt_tokens_per_second);
        Self {
            memory,
            process_bytes: measured.peak_resident(),
            tokens_per_second: empty.map_or(0.0, |speed| speed.tokens_per_second.median),
            prompt_tokens_per_second: prompts.fold(0.0, f64::max),
            quality,
            speeds: measured.speeds,
            snapshots: measured.snapshots,
            skipped: measured.skipped,
        }
    }
}

/// What the server's log says beside the plan.
#[derive(Debug, Clone, Default)]
pub struct Told {
    pub promises: Vec<Promise>,
    pub settings: Vec<Setting>,
    pub differences: Vec<String>,
    pub fit_messages: Vec<String>,
}

impl BenchRun {
    pub fn new(config: String, planned: &LaunchServer, measured: MeasuredReport, log: Told, ready: Duration) -> Self {
        let Told { promises, settings, differences, fit_messages } = log;
        let broken: Vec<String> = promises.iter().filter_map(Promise::broken).collect();
        let kept = broken.is_empty() && differences.is_empty() && !promises.is_empty();
        let verdict = if promises.is_empty() {
            "the server's log says nothing of its memory".to_owned()
        } else if kept {
            "kept".to_owned()
        } else {
            broken.into_iter().chain(differences.iter().cloned()).collect::<Vec<_>>().join("; ")
        };
        Self {
            config,
            name: planned.name.clone(),
            title: planned.title.clone(),
            server: planned.plan.clone(),
            measured,
            promises,
            settings,
            differences,
            fit_messages,
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

    fn has_vram(&self) -> bool {
        self.measured.memory.values().any(|parts| parts.total.is_some_and(|total| total.0 > 0))
    }

    fn same_as_f16(&self) -> String {
        let quality = self.measured.quality.as_ref();
        quality.map_or_else(|| "-".to_owned(), |quality| format!("{:.1} %", quality.agreement * 100.0))
    }

    fn tokens_per_second(&self) -> String {
        let measured = self.measured.tokens_per_second;
        if measured > 0.0 { format!("{measured:.1}") } else { "-".to_owned() }
    }

    fn thousand(&self) -> String {
        self.thousand_seconds().map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.1} s"))
    }
}

impl BenchReport {
    pub fn new(runs: Vec<BenchRun>, not_measured: Vec<NotMeasured>) -> Self {
        let (recommended, reason) = (None, String::new());
        Self { schema: SCHEMA, runs, not_measured, recommended, reason, calibration: None, files: Vec::new() }
    }

    /// Says which of several runs serves best.
    pub fn choose(&mut self, prefer: Option<Preference>) {
        (self.recommended, self.reason) = pick::pick(&self.runs, prefer);
    }

    /// Whether anything was timed.
    pub fn has_speed(&self) -> bool {
        self.runs.iter().any(|run| !run.measured.speeds.is_empty())
    }

    pub fn kept(&self) -> bool {
        self.runs.iter().all(|run| run.kept)
    }

    /// One line a server: the cache's promise beside its measurement, and the speed.
    pub fn lines(&self) -> Vec<String> {
        let line = |run: &BenchRun| {
            let promised: u64 = run.server.memory.values().map(|parts| parts.context.0).sum();
            let mut line = format!(
                "KV {:.1} MiB promised, {:.1} measured; {} tokens/s",
                Bytes(promised).mib(),
                run.cache_bytes().mib(),
                run.tokens_per_second()
            );
            if !run.kept {
                let _ = write!(line, "; {}", run.verdict);
            }
            line
        };
        self.runs.iter().map(line).collect()
    }

    /// How far promised and measured memory lie apart; none where nothing was compared.
    fn largest_difference(&self) -> Option<String> {
        let promises: Vec<&Promise> = self.runs.iter().flat_map(|run| &run.promises).collect();
        if promises.is_empty() {
            return None;
        }
        let apart = |promise: &&&Promise| promise.difference().unsigned_abs() > OF_ROUNDING.0;
        let share = |promise: &Promise| promise.difference() as f64 / (promise.promised_bytes.0.max(1)) as f64;
        let most = promises.iter().filter(apart).max_by_key(|promise| promise.difference().unsigned_abs());
        Some(match most {
            None => "Promised and measured memory are the same.".to_owned(),
            Some(most) => format!(
                "Promised and measured memory differ by at most {} ({:+.1} % of {} {} of {}).",
                Bytes(most.difference().unsigned_abs()),
                share(most) * 100.0,
                most.device,
                most.part,
                most.promised_bytes
            ),
        })
    }
}

/// A, B, ..., Z, 27, ...
pub fn configuration_name(index: usize) -> String {
    u8::try_from(index)
        .ok()
        .filter(|index| *index < 26)
        .map_or_else(|| (index + 1).to_string(), |index| char::from(b'A' + index).to_string())
}

pub fn print(printer: Printer, report: &BenchReport) -> Result<(), Failure> {
    if printer.json {
        return printer.json(report);
    }
    printer.answer(words::human(report).trim_end());
    Ok(())
}
