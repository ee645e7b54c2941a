//! `bench`: starts the planned servers, measures them, and puts the promise beside the measurement.

mod candidate;
mod candidates;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use self::candidate::Bench;
pub(super) use self::candidates::Candidate;
use self::candidates::Candidates;
use crate::cli::bench::{BenchCommand, ProtocolArguments};
use crate::cli::launch::LaunchArguments;
use crate::command::launch::ServerProgram;
use crate::command::{Program, launch};
use crate::failure::Failure;
use crate::report;
use crate::report::bench::{BenchReport, NotMeasured};
use crate::server::budget::Budget;
use crate::server::calibration::{Calibration, Row};
use crate::server::start::ServerError;
use crate::server::supervise;
use crate::units::BuildTag;

pub(super) fn run(program: &Program, arguments: &BenchCommand) -> Result<ExitCode, Failure> {
    let server = launch::find_server(program, &arguments.place)?;
    let fit = server.fitted(&arguments.fit);
    let sweep = arguments.protocol.sweep;
    let candidates = match &arguments.plan {
        Some(path) => Candidates::of(launch::read_plan(path)?, sweep),
        None if sweep => Candidates::sweep(program, &fit, &arguments.models)?,
        None => Candidates::of(super::fit::plan(program, &fit, &arguments.models)?, false),
    };
    let how = How { place: &arguments.place, protocol: &arguments.protocol, calibrates: !fit.no_calibration };
    let Outcome { mut report, failure } = bench(program, &candidates.fitting, &how, &server)?;
    report.not_measured.extend(candidates.left_out);
    report.not_measured.sort_by(|one, two| one.config.cmp(&two.config));
    report.choose(fit.prefer);
    report.files = report::bench::write(&report, &arguments.protocol.report)?;
    report::bench::print(program.printer, &report)?;
    match failure {
        Some(failure) => Err(failure),
        None if report.kept() => Ok(ExitCode::SUCCESS),
        None => Ok(ExitCode::from(1)),
    }
}

/// How the candidates are measured.
pub(super) struct How<'a> {
    pub(super) place: &'a LaunchArguments,
    pub(super) protocol: &'a ProtocolArguments,
    /// Whether later plans learn from it.
    pub(super) calibrates: bool,
}

/// What was measured, and what kept the rest from being.
pub(super) struct Outcome {
    pub(super) report: BenchReport,
    pub(super) failure: Option<Failure>,
}

/// Measures every candidate, one after the other, each in its part of the time. One that fails does not cost the others;
/// with nothing measured at all its failure is the answer.
pub(super) fn bench(
    program: &Program,
    candidates: &[Candidate],
    how: &How<'_>,
    server: &ServerProgram,
) -> Result<Outcome, Failure> {
    supervise::watch_signals()?;
    let budget = Budget::of(how.protocol.time_limit);
    let mut bench = Bench { program, place: how.place, protocol: how.protocol, server, references: BTreeMap::new() };
    let (mut runs, mut not_measured) = (Vec::new(), Vec::new());
    let (mut failure, mut late) = (None, None);
    for (index, candidate) in candidates.iter().enumerate() {
        let part = budget.one_of(candidates.len() - index);
        let stopped = supervise::stops_asked() > 0;
        let outcome = match (stopped, budget.is_up()) {
            (true, _) => Err(ServerError::Stopped.into()),
            (false, true) => Err(ServerError::TimeUp.into()),
            (false, false) => bench.candidate(candidate, part),
        };
        match outcome {
            Ok(measured) => runs.extend(measured),
            Err(error) => {
                let (config, title) = (candidate.config.clone(), candidate.title());
                not_measured.push(NotMeasured { config, title, why: error.to_string() });
                if part.is_up() && supervise::stops_asked() == 0 {
                    late.get_or_insert(error);
                } else {
                    failure.get_or_insert(error);
                }
            }
        }
    }
    if runs.is_empty()
        && let Some(failure) = failure.take().or(late)
    {
        return Err(failure);
    }
    let mut report = BenchReport::new(runs, not_measured);
    if failure.is_none() && !report.has_speed() {
        // Not one request was answered.
        failure = Some(ServerError::TimeUp.into());
    }
    if how.calibrates && program.global.gpu.is_empty() && program.global.facts.is_none() {
        report.calibration = learn(program, &report, server.build)?;
    }
    Ok(Outcome { report, failure })
}

/// Keeps overhead and speed of this machine for later plans.
fn learn(program: &Program, report: &BenchReport, build: Option<BuildTag>) -> Result<Option<PathBuf>, Failure> {
    let home = program.home()?;
    let mut calibration = Calibration::load(&home)?;
    let cards = program.gpus()?;
    let build = build.map_or_else(|| "unknown".to_owned(), |build| build.to_string());
    let used: Vec<Row> = calibration.measured.clone();
    let measured = jiff::Timestamp::now().to_string().chars().take(10).collect::<String>();
    for run in &report.runs {
        let device = run.server.memory.keys().find(|device| *device != "Host");
        let name = device.map_or("CPU", |device| {
            cards.iter().find(|gpu| gpu.id == *device).map_or(device.as_str(), |gpu| gpu.name.as_str())
        });
        let overhead_bytes = device.and_then(|device| run.measured.memory.get(device)?.overhead);
        let estimate = run.server.tokens_per_second;
        // The estimate was corrected by the last measurement already.
        let last = used.iter().find(|row| row.device == name && row.build == build).and_then(|row| row.speed_factor);
        let speed_factor = (estimate > 0.0 && run.measured.tokens_per_second > 0.0)
            .then(|| last.unwrap_or(1.0) * run.measured.tokens_per_second / estimate);
        if overhead_bytes.is_some() || speed_factor.is_some() {
            let (device, build, measured) = (name.to_owned(), build.clone(), measured.clone());
            calibration.learn(Row { device, build, overhead_bytes, speed_factor, measured });
        }
    }
    calibration.save(&home)?;
    Ok(Some(home.join(crate::server::calibration::FILE_NAME)))
}
