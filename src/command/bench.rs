//! `bench`: starts the planned servers, measures them, and puts the promise beside the measurement.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::cli::bench::{BenchCommand, ProtocolArguments};
use crate::cli::fit::{Contexts, FitArguments, Preference};
use crate::cli::launch::LaunchArguments;
use crate::command::launch::ServerProgram;
use crate::command::{Program, launch};
use crate::failure::Failure;
use crate::fit::plan::Plan;
use crate::fit::settings::CacheType;
use crate::report;
use crate::report::bench::{BenchReport, BenchRun, MeasuredReport, Told, configuration_name};
use crate::script::{Launch, LaunchServer};
use crate::server::bench::{Client, Measured, Protocol, measure};
use crate::server::calibration::{Calibration, Row};
use crate::server::fleet::{Fleet, READY_LIMIT, STOP_PATIENCE, starts};
use crate::server::quality::{Extent, Quality, Reference, compare, reference};
use crate::server::start::{ServerError, free_port};
use crate::server::{memory, promise, supervise};
use crate::units::{BuildTag, Bytes};

/// No single request may take longer: a server that hangs ends the bench, not the evening.
const REQUEST_LIMIT: Duration = Duration::from_mins(15);

pub(super) fn run(program: &Program, arguments: &BenchCommand) -> Result<ExitCode, Failure> {
    let server = launch::find_server(program, &arguments.place)?;
    let fit = server.fitted(&arguments.fit);
    let candidates = match &arguments.plan {
        Some(path) => options(&launch::read_plan(path)?, arguments.protocol.sweep),
        None if arguments.protocol.sweep => sweep(program, &fit, &arguments.models)?,
        None => options(&super::fit::plan(program, &fit, &arguments.models)?, false),
    };
    let report =
        bench(program, &candidates, &arguments.place, &arguments.protocol, &server, !fit.no_calibration, fit.prefer)?;
    report::bench::print(program.printer, &report)?;
    Ok(if report.kept() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Context and cache type of the sweep, smallest first: what people compare on a card of 24 GiB.
const SWEEP: [(u32, CacheType); 4] =
    [(32_768, CacheType::F16), (32_768, CacheType::Q8_0), (65_536, CacheType::Q8_0), (131_072, CacheType::Q4_0)];

/// The sweep's configurations as far as they fit; with a context or a cache type asked for, the plan's own options.
fn sweep(program: &Program, fit: &FitArguments, models: &[String]) -> Result<Vec<(Plan, Option<usize>)>, Failure> {
    if fit.ctx_size.is_some() || fit.cache_type_k.is_some() || fit.cache_type_v.is_some() {
        return Ok(options(&super::fit::plan(program, fit, models)?, true));
    }
    let mut candidates = Vec::new();
    for (context, cache_type) in SWEEP {
        let fit = FitArguments {
            ctx_size: Some(Contexts(vec![context])),
            cache_type_k: Some(cache_type),
            cache_type_v: Some(cache_type),
            ..fit.clone()
        };
        let plan = super::fit::plan(program, &fit, models)?;
        if plan.recommended.is_none() {
            program.printer.note(&format!("{context} tokens with a {cache_type} cache do not fit: left out"));
            continue;
        }
        let recommended = plan.recommended;
        candidates.push((plan, recommended));
    }
    // Nothing of it fits: what does?
    if candidates.is_empty() { Ok(options(&super::fit::plan(program, fit, models)?, true)) } else { Ok(candidates) }
}

/// The options to measure: the recommended one, or all that fit.
fn options(plan: &Plan, sweep: bool) -> Vec<(Plan, Option<usize>)> {
    if sweep {
        let fitting = plan.options.iter().enumerate().filter(|(_, option)| option.fits);
        return fitting.map(|(index, _)| (plan.clone(), Some(index))).collect();
    }
    vec![(plan.clone(), plan.recommended)]
}

/// Measures every candidate, one after the other, and writes the report.
pub(super) fn bench(
    program: &Program,
    candidates: &[(Plan, Option<usize>)],
    place: &LaunchArguments,
    protocol: &ProtocolArguments,
    server: &ServerProgram,
    calibrates: bool,
    prefer: Option<Preference>,
) -> Result<BenchReport, Failure> {
    supervise::watch_signals()?;
    let mut bench = Bench {
        program,
        protocol,
        end: Instant::now() + Duration::from_mins(protocol.time_limit),
        references: BTreeMap::new(),
    };
    let mut runs = Vec::new();
    for (plan, option) in candidates {
        // A port of its own: the user's server may run on the planned one.
        let place = LaunchArguments { port: Some(place.port.map_or_else(free_port, Ok)?), ..place.clone() };
        let launch = launch::prepare(program, plan, *option, &place, server)?;
        let logs = protocol.report.join(format!("logs-{}", configuration_name(runs.len())));
        runs.extend(bench.candidate(&launch, &logs)?);
    }
    for (index, run) in runs.iter_mut().enumerate() {
        run.config = configuration_name(index);
    }
    let mut report = BenchReport::new(runs, prefer);
    if calibrates && program.global.gpu.is_empty() && program.global.facts.is_none() {
        report.calibration = learn(program, &report, server.build)?;
    }
    report.files = report::bench::write(&report, &protocol.report)?;
    Ok(report)
}

struct Bench<'a> {
    program: &'a Program,
    protocol: &'a ProtocolArguments,
    end: Instant,
    /// What f16 says, by model file; none where it could not be asked.
    references: BTreeMap<String, Option<Reference>>,
}

impl Bench<'_> {
    fn candidate(&mut self, launch: &Launch, logs: &Path) -> Result<Vec<BenchRun>, Failure> {
        self.program.printer.note(&launch.title);
        for server in &launch.servers {
            self.reference(launch, server, logs)?;
        }
        let before = self.gpus()?;
        let without = launch::overriding_variables(self.program);
        let starts = starts(launch, Path::new(&launch.server), logs, &without);
        let mut fleet = Fleet::start(&starts, READY_LIMIT, &mut |_| {})?;
        let mut results = Vec::new();
        for (index, planned) in launch.servers.iter().enumerate() {
            let server = &mut fleet.servers[index];
            let ready = server.started.elapsed();
            let pid = server.process.id();
            let look = |moment| memory::snapshot(moment, pid, &before, &self.gpus().unwrap_or_default());
            let mut client = Client { server, limit: REQUEST_LIMIT };
            let mut tell = |text: &str| self.program.printer.note(&format!("  {}: {text}", planned.name));
            let mut measured = measure(&mut client, &self.protocol(planned), planned.plan.ubatch, &look, &mut tell)?;
            measured.snapshots.insert(0, memory::snapshot_before(&before));
            let quality = match self.references.get(&planned.files[0].path) {
                Some(Some(reference)) if !is_reference(planned) => Some(compare(&mut client, reference, &mut tell)?),
                _ => None,
            };
            results.push((measured, quality, ready));
        }
        fleet.stop()?;
        let mut runs = Vec::new();
        for ((planned, server), (measured, quality, ready)) in launch.servers.iter().zip(&fleet.servers).zip(results) {
            let facts = server.facts()?;
            let load = facts.load_of(&planned.files[0].path).cloned().unwrap_or_default();
            let mut promises = promise::compare(&planned.plan, &load);
            promises.extend(measured.peak_shared().and_then(|shared| promise::spill(&planned.plan, &load, shared)));
            let told = Told {
                settings: promise::settings(&planned.plan, &facts, &load),
                differences: promise::settings_differ(&planned.plan, &facts, &load),
                fit_messages: facts.fit_messages,
                promises,
            };
            runs.push(BenchRun::new(planned, measured_report(planned, measured, quality, &told.promises), told, ready));
        }
        Ok(runs)
    }

    fn protocol(&self, server: &LaunchServer) -> Protocol {
        let (tokens, runs, fills) = if self.protocol.quick {
            (self.protocol.tokens.min(64), 1, vec![0.25])
        } else {
            (self.protocol.tokens, self.protocol.runs as usize, vec![0.25, 0.9])
        };
        // Half of a small slot is left for the prompt.
        Protocol { tokens: tokens.min(server.plan.context / 2).max(1), runs, fills, end: self.end }
    }

    /// Asks a server with an f16 cache once for each model. One that does not start costs the comparison, not the bench.
    fn reference(&mut self, launch: &Launch, server: &LaunchServer, logs: &Path) -> Result<(), Failure> {
        let file = &server.files[0].path;
        if self.protocol.no_quality || is_reference(server) || self.references.contains_key(file) {
            return Ok(());
        }
        let extent = if self.protocol.quick {
            Extent { conversations: 2, tokens: 12, hay: 20 }
        } else {
            Extent { conversations: 6, tokens: 48, hay: 80 }
        };
        let mut alone = launch.clone();
        let mut server = server.clone();
        server.name = format!("{}-f16", server.name);
        server.port = free_port()?;
        for (id, value) in [("cache-type-k", "f16"), ("cache-type-v", "f16"), ("port", &server.port.to_string())] {
            crate::script::launch::set(&mut server.arguments, id, value);
        }
        // Enough for the questions: a full-size f16 cache may not fit at all.
        alone.rungs[0].contexts = vec![server.plan.context.min(4096 * server.plan.parallel.max(1))];
        alone.servers = vec![server];
        let starts = starts(&alone, Path::new(&alone.server), logs, &launch::overriding_variables(self.program));
        let mut tell = |text: &str| self.program.printer.note(&format!("  {text}"));
        let answer = Fleet::start(&starts, READY_LIMIT, &mut |_| {}).and_then(|mut fleet| {
            let mut client = Client { server: &mut fleet.servers[0], limit: REQUEST_LIMIT };
            let answer = reference(&mut client, extent, &mut tell)?;
            fleet.servers[0].process.stop(STOP_PATIENCE)?;
            Ok(answer)
        });
        let answer = match answer {
            Ok(answer) => Some(answer),
            Err(ServerError::Stopped) => return Err(ServerError::Stopped.into()),
            Err(error) => {
                self.program.printer.warning(&format!("no comparison with f16: {error}"));
                None
            }
        };
        self.references.insert(file.clone(), answer);
        Ok(())
    }

    /// The real cards, also where the plan is for others.
    fn gpus(&self) -> Result<Vec<crate::host::facts::Gpu>, Failure> {
        Ok(crate::host::observe(&self.program.host, &self.program.home()?).gpus)
    }
}

fn is_reference(server: &LaunchServer) -> bool {
    (server.plan.cache_type_k, server.plan.cache_type_v) == (CacheType::F16, CacheType::F16)
}

fn measured_report(
    planned: &LaunchServer,
    measured: Measured,
    quality: Option<Quality>,
    promises: &[promise::Promise],
) -> MeasuredReport {
    let mut parts: BTreeMap<String, crate::fit::plan::MemoryParts> = BTreeMap::new();
    for one in promises {
        let here = parts.entry(one.device.clone()).or_default();
        match one.part {
            "model" => here.model = one.measured_bytes,
            "context" => here.context = one.measured_bytes,
            "compute" => here.compute = one.measured_bytes,
            // Rows of logits, and what spilled: not among llama.cpp's three parts.
            _ => {}
        }
    }
    for (device, here) in &mut parts {
        // What the process holds beyond the buffers that llama.cpp lists.
        if planned.plan.memory.contains_key(device)
            && let Some(total) = measured.peak_vram(device)
        {
            let listed = here.model.0 + here.context.0 + here.compute.0;
            here.total = Some(total);
            here.overhead = Some(Bytes(total.0.saturating_sub(listed)));
        }
    }
    MeasuredReport::new(parts, measured, quality)
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
