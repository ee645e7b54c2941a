//! Measuring one configuration: the reference for its quality, its servers, and what they promised.

use std::collections::BTreeMap;
use std::path::Path;

use super::candidates::Candidate;
use crate::cli::bench::ProtocolArguments;
use crate::cli::launch::LaunchArguments;
use crate::command::launch::ServerProgram;
use crate::command::{Program, launch};
use crate::failure::Failure;
use crate::fit::settings::CacheType;
use crate::report::bench::{BenchRun, MeasuredReport, Told};
use crate::script::{Launch, LaunchServer};
use crate::server::bench::{Client, Measured, Protocol, measure};
use crate::server::budget::Budget;
use crate::server::fleet::{Fleet, READY_LIMIT, STOP_PATIENCE, starts};
use crate::server::quality::{Extent, Quality, Reference, compare, reference};
use crate::server::start::{ServerError, free_port, free_ports};
use crate::server::{memory, promise};
use crate::units::Bytes;

/// What the answers of f16 and the comparison with them may each take of a configuration's time: memory and speed come first.
const SHARE_OF_QUALITY: f64 = 0.25;

pub(super) struct Bench<'a> {
    pub(super) program: &'a Program,
    pub(super) place: &'a LaunchArguments,
    pub(super) protocol: &'a ProtocolArguments,
    pub(super) server: &'a ServerProgram,
    /// What f16 says, by model file; or why it was not asked.
    pub(super) references: BTreeMap<String, Result<Reference, String>>,
}

impl Bench<'_> {
    /// Measures one configuration as far as the time goes.
    pub(super) fn candidate(&mut self, candidate: &Candidate, budget: Budget) -> Result<Vec<BenchRun>, Failure> {
        let servers = candidate.option.and_then(|index| candidate.plan.options.get(index)).map(|one| one.servers.len());
        // A port of its own: the user's server may run on the planned one.
        let port = self.place.port.map_or_else(|| free_ports(servers.unwrap_or(1)), Ok)?;
        let place = LaunchArguments { port: Some(port), ..self.place.clone() };
        let launch = launch::prepare(self.program, &candidate.plan, candidate.option, &place, self.server)?;
        let logs = self.protocol.report.join(format!("logs-{}", candidate.config));
        self.program.printer.note(&launch.title);
        for server in &launch.servers {
            self.reference(&launch, server, &logs, budget)?;
        }
        let before = self.gpus()?;
        let without = launch::overriding_variables(self.program);
        let starts = starts(&launch, Path::new(&launch.server), &logs, &without);
        let mut fleet = Fleet::start(&starts, READY_LIMIT.min(budget.left()), &mut |_| {})?;
        let mut results = Vec::new();
        for (index, planned) in launch.servers.iter().enumerate() {
            let server = &mut fleet.servers[index];
            let ready = server.started.elapsed();
            let budget = budget.one_of(launch.servers.len() - index);
            let pid = server.process.id();
            let look = |moment| memory::snapshot(moment, pid, &before, &self.gpus().unwrap_or_default());
            let mut tell = |text: &str| self.program.printer.note(&format!("  {}: {text}", planned.name));
            let reference = self.references.get(&planned.files[0].path).filter(|_| !is_reference(planned));
            let share = if matches!(reference, Some(Ok(_))) { 1.0 - SHARE_OF_QUALITY } else { 1.0 };
            let mut client = Client { server, budget: budget.share(share) };
            let mut measured = measure(&mut client, &self.protocol(planned), planned.plan.ubatch, &look, &mut tell)?;
            measured.snapshots.insert(0, memory::snapshot_before(&before));
            client.budget = budget;
            let quality = match reference {
                None => None,
                Some(Ok(reference)) => match compare(&mut client, reference, &mut tell) {
                    Ok(quality) => Some(quality),
                    Err(error @ ServerError::TimeUp) => {
                        measured.skipped.push(format!("likeness to f16: {error}"));
                        None
                    }
                    Err(error) => return Err(error.into()),
                },
                Some(Err(why)) => {
                    measured.skipped.push(format!("likeness to f16: {why}"));
                    None
                }
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
            let config = match launch.servers.len() {
                1 => candidate.config.clone(),
                _ => format!("{}{}", candidate.config, runs.len() + 1),
            };
            let measured = measured_report(planned, measured, quality, &told.promises);
            runs.push(BenchRun::new(config, planned, measured, told, ready));
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
        Protocol { tokens: tokens.min(server.plan.context / 2).max(1), runs, fills }
    }

    /// Asks a server with an f16 cache once for each model. One that does not start costs the comparison, not the bench.
    fn reference(
        &mut self,
        launch: &Launch,
        server: &LaunchServer,
        logs: &Path,
        budget: Budget,
    ) -> Result<(), Failure> {
        let file = &server.files[0].path;
        if self.protocol.no_quality || is_reference(server) || self.references.contains_key(file) {
            return Ok(());
        }
        let extent = if self.protocol.quick {
            Extent { conversations: 2, tokens: 12, hay: 20 }
        } else {
            Extent { conversations: 6, tokens: 48, hay: 80 }
        };
        let budget = budget.share(SHARE_OF_QUALITY);
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
        let limit = READY_LIMIT.min(budget.left());
        let answer = Fleet::start(&starts, limit, &mut |_| {}).and_then(|mut fleet| {
            let mut client = Client { server: &mut fleet.servers[0], budget };
            let answer = reference(&mut client, extent, &mut tell)?;
            fleet.servers[0].process.stop(STOP_PATIENCE)?;
            Ok(answer)
        });
        let answer = match answer {
            Err(ServerError::Stopped) => return Err(ServerError::Stopped.into()),
            answer => answer.map_err(|error| {
                self.program.printer.warning(&format!("no comparison with f16: {error}"));
                error.to_string()
            }),
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
