//! `bench` for people: 80 columns, the verdict first.

use std::fmt::Write as _;

use super::{BenchReport, BenchRun, NotMeasured};
use crate::report::launch::promise_table;
use crate::report::text::{WIDTH, wrapped};
use crate::server::quality::Quality;
use crate::units::{Bytes, grouped};

pub(super) fn human(report: &BenchReport) -> String {
    let mut text = String::new();
    for run in &report.runs {
        let word = if run.kept { "kept" } else { "broken" };
        let _ = writeln!(text, "{}", wrapped(&format!("{word}  {}", run.title), WIDTH, 8));
        if !run.kept {
            let _ = writeln!(text, "{}", wrapped(&run.verdict, WIDTH, 2));
        }
        text.push_str(&details(run));
        text.push('\n');
    }
    if report.runs.len() > 1 {
        text.push_str(&table(report));
    }
    for one in &report.not_measured {
        let _ = writeln!(text, "{}", wrapped(&not_measured(one), WIDTH, 2));
    }
    if !report.reason.is_empty() {
        let _ = writeln!(text, "{}", wrapped(&report.reason, WIDTH, 2));
    }
    if let Some(difference) = report.largest_difference() {
        let _ = writeln!(text, "{}", wrapped(&difference, WIDTH, 2));
    }
    if let Some(html) = report.files.iter().find(|path| path.extension().is_some_and(|ending| ending == "html")) {
        let _ = writeln!(text, "Report: {}", html.display());
    }
    if let Some(path) = &report.calibration {
        let _ = writeln!(text, "Kept for later plans: {}", path.display());
    }
    text
}

pub(in crate::report) fn not_measured(one: &NotMeasured) -> String {
    format!("{} ({}) not measured: {}", one.config, one.title, one.why)
}

/// Everything of one run but its title and verdict.
pub(super) fn details(run: &BenchRun) -> String {
    let mut text = promise_table(&run.promises) + "\n";
    if !run.settings.is_empty() {
        let all: Vec<String> = run.settings.iter().map(|one| format!("{} {}", one.what, one.real)).collect();
        let _ = writeln!(text, "{}", wrapped(&format!("Settings: {}", all.join(", ")), WIDTH, 2));
    }
    for message in &run.fit_messages {
        let _ = writeln!(text, "{}", wrapped(&format!("The server fitted itself: {message}"), WIDTH, 2));
    }
    for line in moments(run) {
        let _ = writeln!(text, "{}", wrapped(&line, WIDTH, 2));
    }
    text.push_str(&speeds(run));
    if let Some(quality) = &run.measured.quality {
        let _ = writeln!(text, "{}", wrapped(&quality_line(quality), WIDTH, 2));
    }
    for skipped in &run.measured.skipped {
        let _ = writeln!(text, "{}", wrapped(&format!("Not measured: {skipped}"), WIDTH, 2));
    }
    text
}

/// The process's memory at each moment, a line for each device and one for RAM.
fn moments(run: &BenchRun) -> Vec<String> {
    let snapshots = || run.measured.snapshots.iter().filter(|one| one.moment != "before");
    let said = |bytes: &dyn Fn(&crate::server::bench::Snapshot) -> Option<Bytes>| {
        let parts = snapshots().filter_map(|one| Some(format!("{} {}", bytes(one)?, moment_name(one.moment))));
        parts.collect::<Vec<_>>().join(", ")
    };
    let mut lines = Vec::new();
    for (device, parts) in &run.measured.memory {
        let Some(total) = parts.total.filter(|total| total.0 > 0) else { continue };
        let at = |one: &crate::server::bench::Snapshot| {
            one.vram.iter().find(|(id, _)| id == device).map(|(_, bytes)| *bytes)
        };
        let overhead = parts.overhead.unwrap_or_default();
        lines.push(format!(
            "{device} holds {}; at most {total}, {overhead} of it not in llama.cpp's buffers",
            said(&at)
        ));
    }
    let resident = said(&|one| Some(one.resident_bytes));
    if !resident.is_empty() {
        lines.push(format!("RAM of the process: {resident}"));
    }
    if let Some(shared) = run.measured.snapshots.iter().filter_map(|one| one.shared_bytes).max() {
        lines.push(format!("RAM that the GPUs share: at most {shared}"));
    }
    lines
}

fn moment_name(moment: &str) -> &str {
    match moment {
        "loaded" => "after loading",
        "full-batch" => "after a full batch",
        "long-answer" => "after the last answer",
        other => other,
    }
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
    let estimate = run.server.tokens_per_second;
    let estimate =
        if estimate > 0.0 { format!("{estimate:.1} tokens/s were estimated") } else { "no estimate".to_owned() };
    let ready = format!("{estimate}; ready after {:.1} s", run.ready_seconds);
    let line = if run.measured.speeds.is_empty() {
        ready
    } else {
        format!("Prompt {:.0} tokens/s; {ready}", run.measured.prompt_tokens_per_second)
    };
    text + &wrapped(&line, WIDTH, 2) + "\n"
}

pub(in crate::report) fn quality_line(quality: &Quality) -> String {
    let needle = match quality.needle_found {
        Some(true) => ", needle found",
        Some(false) => ", needle lost",
        None => "",
    };
    let cut = if quality.complete { "" } else { "; cut short, the time was up" };
    format!(
        "Quality: {} ({}): same token as f16 in {:.1} % ({:.1} to {:.1}) of {} places, divergence {:.4}{needle}{cut}",
        quality.verdict,
        quality.confidence,
        quality.agreement * 100.0,
        quality.agreement_low * 100.0,
        quality.agreement_high * 100.0,
        quality.positions,
        quality.divergence
    )
}

/// The sweep's one table.
fn table(report: &BenchReport) -> String {
    let (cache, total) = if report.runs.iter().any(BenchRun::has_vram) {
        ("VRAM cache", "Total VRAM")
    } else {
        ("RAM cache", "Total RAM")
    };
    let mut text = format!(
        "{:<6}  {:>7}  {:<9}  {:>10}  {:>10}  {:>8}  {:>9}  {:>7}\n",
        "Config", "Context", "Cache", cache, total, "Tokens/s", "1K tokens", "Quality"
    );
    for run in &report.runs {
        let _ = writeln!(
            text,
            "{:<6}  {:>7}  {:<9}  {:>6} MiB  {:>10}  {:>8}  {:>9}  {:>7}",
            run.config,
            grouped(u64::from(run.server.context)),
            run.cache_name(),
            grouped(run.cache_bytes().mib().round() as u64),
            run.total().to_string(),
            run.tokens_per_second(),
            run.thousand(),
            run.same_as_f16()
        );
    }
    text.push_str("Quality: how often the next token is the one that an f16 cache gives\n");
    text
}
