//! How a download looks while it runs: a bar on a terminal, a plain line now and then elsewhere.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::net::download::Progress;
use crate::report::printer::{Printer, Verbosity};
use crate::units::Bytes;

/// A line this often where no bar can be drawn.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Draws on stderr. Silent with `-q`.
#[derive(Debug)]
pub struct Reporter {
    printer: Printer,
    is_terminal: bool,
    bar: Mutex<Option<ProgressBar>>,
    lines: Mutex<Lines>,
    arrived: AtomicU64,
}

#[derive(Debug, Default)]
struct Lines {
    name: String,
    total: Option<u64>,
    /// What was there before this run: no part of the rate.
    already: u64,
    since: Option<Instant>,
    last: Option<Instant>,
}

impl Reporter {
    pub fn new(printer: Printer) -> Self {
        use std::io::IsTerminal as _;
        Self {
            printer,
            is_terminal: std::io::stderr().is_terminal(),
            bar: Mutex::default(),
            lines: Mutex::default(),
            arrived: AtomicU64::new(0),
        }
    }
}

impl Progress for Reporter {
    fn started(&self, name: &str, total: Option<Bytes>, already: Bytes) {
        self.finished();
        if self.printer.verbosity == Verbosity::Quiet {
            return;
        }
        self.arrived.store(already.0, Ordering::Relaxed);
        if self.is_terminal {
            let bar = ProgressBar::new(total.map_or(0, |total| total.0)).with_style(style(total.is_some()));
            bar.set_message(shortened(name));
            bar.set_position(already.0);
            bar.reset_eta();
            bar.enable_steady_tick(Duration::from_millis(200));
            *self.bar.lock().unwrap_or_else(PoisonError::into_inner) = Some(bar);
        } else {
            let size = total.map_or_else(|| "unknown size".to_owned(), |total| total.to_string());
            let kept = if already.0 > 0 { format!(", {already} of it are here") } else { String::new() };
            self.printer.note(&format!("{name}: {size}{kept}"));
            let now = Instant::now();
            *self.lines.lock().unwrap_or_else(PoisonError::into_inner) = Lines {
                name: name.to_owned(),
                total: total.map(|total| total.0),
                already: already.0,
                since: Some(now),
                last: Some(now),
            };
        }
    }

    fn advanced(&self, bytes: u64) {
        let arrived = self.arrived.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if self.is_terminal {
            if let Some(bar) = &*self.bar.lock().unwrap_or_else(PoisonError::into_inner) {
                bar.inc(bytes);
            }
            return;
        }
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let (Some(since), Some(last)) = (lines.since, lines.last) else { return };
        if last.elapsed() < LINE_EVERY {
            return;
        }
        lines.last = Some(Instant::now());
        let text = line(&lines.name, arrived, lines.total, arrived - lines.already, since.elapsed());
        drop(lines);
        self.printer.note(&text);
    }

    fn noted(&self, text: &str) {
        match &*self.bar.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(bar) => bar.suspend(|| self.printer.note(text)),
            None => self.printer.note(text),
        }
    }

    fn finished(&self) {
        if let Some(bar) = self.bar.lock().unwrap_or_else(PoisonError::into_inner).take() {
            bar.finish_and_clear();
        }
        *self.lines.lock().unwrap_or_else(PoisonError::into_inner) = Lines::default();
    }
}

/// One line at 80 columns: name, bar, share, bytes, rate, time left.
fn style(sized: bool) -> ProgressStyle {
    let template = if sized {
        "{msg:34} {bar:12} {percent:>3} % {decimal_bytes:>9} {decimal_bytes_per_sec:>11} {eta:>4}"
    } else {
        "{msg:34} {spinner} {decimal_bytes:>9} {decimal_bytes_per_sec:>11}"
    };
    ProgressStyle::with_template(template)
        .map_or_else(|_| ProgressStyle::default_bar(), |style| style.progress_chars("#--"))
}

/// A name that fits its column keeps its telling end.
fn shortened(name: &str) -> String {
    const WIDTH: usize = 34;
    let count = name.chars().count();
    if count <= WIDTH {
        return name.to_owned();
    }
    let end: String = name.chars().skip(count - (WIDTH - 2)).collect();
    format!("..{end}")
}

fn line(name: &str, arrived: u64, total: Option<u64>, here: u64, elapsed: Duration) -> String {
    let rate = here as f64 / elapsed.as_secs_f64().max(0.001);
    let rate_text = format!("{}/s", Bytes(rate as u64));
    match total {
        Some(total) if total > 0 && rate > 0.0 => {
            let left = (total.saturating_sub(arrived) as f64 / rate) as u64;
            let percent = (arrived as f64 / total as f64 * 100.0).floor();
            format!("{name}: {percent} %, {} of {}, {rate_text}, {} left", Bytes(arrived), Bytes(total), clock(left))
        }
        _ => format!("{name}: {}, {rate_text}", Bytes(arrived)),
    }
}

/// `1:05` or `2:00:00`.
fn clock(seconds: u64) -> String {
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_line_says_rate_and_time_left() {
        let text = line("x.gguf", 300 << 20, Some(1 << 30), 200 << 20, Duration::from_secs(10));
        assert_eq!(text, "x.gguf: 29 %, 300.0 MiB of 1.0 GiB, 20.0 MiB/s, 0:36 left");
        assert_eq!(clock(7205), "2:00:05");
    }

    #[test]
    fn a_long_name_keeps_its_end() {
        let name = shortened("llama-b11434-bin-ubuntu-cuda-12.8-x64.tar.gz");
        assert_eq!(name.chars().count(), 34);
        assert!(name.ends_with("cuda-12.8-x64.tar.gz"));
    }
}
