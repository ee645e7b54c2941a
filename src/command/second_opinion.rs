//! `fit --check-with BUILD`: what a build's own `llama-fit-params` says of the same configuration.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::cli::fit::FitArguments;
use crate::command::Program;
use crate::command::fit::{self, flags, gpus};
use crate::failure::{Failure, Kind};
use crate::fit::plan::{MemoryParts, OpinionRow, Plan, PlanServer, SecondOpinion};
use crate::fit::settings::{Device, FlashAttention, GpuLayers, Settings};
use crate::fit::{Build, HostMemory, Model, predict};
use crate::model::ResolvedModel;
use crate::probe::programs;
use crate::units::{Bytes, MIB};

/// It loads the vocabulary several times and allocates recurrent states: seconds for the largest models.
const LIMIT: Duration = Duration::from_mins(2);

/// What the second opinion is asked about.
struct Planned<'a> {
    source: &'a str,
    path: Option<&'a Path>,
    model: &'a Model,
    settings: Settings,
    devices: Vec<Device>,
    build: Build,
}

/// Of the first server of the recommended option, or of the first option when nothing fits.
pub(super) fn of(
    program: &Program,
    arguments: &FitArguments,
    resolved: &[ResolvedModel],
    plan: &Plan,
    build: &Path,
) -> Result<Option<SecondOpinion>, Failure> {
    let option = plan.options.get(plan.recommended.unwrap_or(0));
    let (Some(server), Some(model)) = (option.and_then(|option| option.servers.first()), resolved.first()) else {
        return Ok(None);
    };
    let gpus = gpus::found(program, arguments, &gpus::calibration(program, arguments)?)?;
    let shape = fit::shape(&model.model, arguments)?;
    let planned = Planned {
        source: &model.source,
        path: model.path(),
        settings: flags::settings(arguments, &shape, &gpus, resolved.len(), None),
        model: &shape,
        devices: gpus.into_iter().map(|gpu| gpu.device).collect(),
        build: arguments.for_build.map_or(Build::NEWEST, Build::of),
    };
    ask(build, &planned, server).map(Some)
}

/// Asks `build`, a folder of llama.cpp or the program itself, about one server of the plan.
fn ask(build: &Path, planned: &Planned<'_>, server: &PlanServer) -> Result<SecondOpinion, Failure> {
    let program = program(build)?;
    let path = planned.path.ok_or_else(|| {
        Failure::usage("`--check-with` needs the model's file on this machine")
            .hinted(format!("fetch it with `llama-doctor pull {}`", planned.source))
    })?;
    let words = words(path, server);
    let finished = programs::run(Command::new(&program).args(&words), b"", LIMIT)?;
    let rows: Vec<(String, MemoryParts)> = finished.stdout.lines().filter_map(row).collect();
    if rows.is_empty() {
        let last = finished.stderr.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
        return Err(Failure::new(Kind::Server, format!("`{}` gave no figures: {last}", program.display())));
    }
    let devices: Vec<Device> =
        planned.devices.iter().filter(|device| rows.iter().any(|(id, _)| *id == device.id)).cloned().collect();
    let ours = ours(planned, server, &devices)?;
    let row = |(device, theirs): (String, MemoryParts)| OpinionRow {
        ours: ours.iter().find(|(id, _)| *id == device).map_or_else(MemoryParts::default, |(_, parts)| *parts),
        device,
        theirs,
    };
    let mut notes = vec![
        "llama-fit-params plans one slot and reserves logits for a whole micro-batch; ours beside it are planned the same way"
            .to_owned(),
    ];
    if devices.is_empty() {
        notes.push("this build uses no GPU: its Host row leaves out weights that it repacks".to_owned());
    }
    Ok(SecondOpinion { program: program.display().to_string(), rows: rows.into_iter().map(row).collect(), notes })
}

fn program(build: &Path) -> Result<PathBuf, Failure> {
    let name = if cfg!(windows) { "llama-fit-params.exe" } else { "llama-fit-params" };
    let candidates = [build.to_owned(), build.join(name), build.join("bin").join(name)];
    candidates.into_iter().find(|path| path.is_file()).ok_or_else(|| {
        Failure::usage(format!("there is no `{name}` at `{}`", build.display()))
            .hinted("name a folder of a llama.cpp build, or the program itself")
    })
}

fn words(model: &Path, server: &PlanServer) -> Vec<String> {
    let flash_attention = if server.flash_attention { "on" } else { "off" };
    let pairs = [
        ("-m", model.display().to_string()),
        ("-c", server.context.to_string()),
        ("-ctk", server.cache_type_k.to_string()),
        ("-ctv", server.cache_type_v.to_string()),
        ("-fa", flash_attention.to_owned()),
        ("-b", server.batch.to_string()),
        ("-ub", server.ubatch.to_string()),
        ("-ngl", server.gpu_layers.to_string()),
        ("-ncmoe", server.cpu_moe_layers.to_string()),
        ("--fit-print", "on".to_owned()),
    ];
    let wanted = pairs.into_iter().filter(|(flag, value)| !(*flag == "-ncmoe" && value == "0"));
    wanted.flat_map(|(flag, value)| [flag.to_owned(), value]).collect()
}

/// `CUDA0 235 39 526`: model, context and compute in whole MiB (llama.cpp b11434 `tools/fit-params/fit-params.cpp`).
fn row(line: &str) -> Option<(String, MemoryParts)> {
    let [device, model, context, compute] = line.split_whitespace().collect::<Vec<_>>()[..] else { return None };
    let mib = |text: &str| text.parse::<u64>().ok().map(|mib| Bytes(mib * MIB));
    let parts =
        MemoryParts { model: mib(model)?, context: mib(context)?, compute: mib(compute)?, ..MemoryParts::default() };
    Some((device.to_owned(), parts))
}

/// Our figures for what the tool plans.
fn ours(planned: &Planned<'_>, server: &PlanServer, devices: &[Device]) -> Result<Vec<(String, MemoryParts)>, Failure> {
    let settings = Settings {
        context: server.context,
        cache_type_k: server.cache_type_k,
        cache_type_v: server.cache_type_v,
        flash_attention: if server.flash_attention { FlashAttention::On } else { FlashAttention::Off },
        gpu_layers: GpuLayers::Count(server.gpu_layers),
        cpu_moe_layers: server.cpu_moe_layers,
        parallel: 1,
        kv_unified: false,
        outputs_max: Some(0),
        ..planned.settings.clone()
    };
    let prediction = predict(planned.model, &settings, devices, planned.build)?;
    let parts = |model, context, compute| MemoryParts {
        model: Bytes(model),
        context: Bytes(context),
        compute: Bytes(compute),
        ..MemoryParts::default()
    };
    let on_devices = prediction
        .devices
        .iter()
        .map(|one| (one.id.clone(), parts(one.memory.model, one.memory.context, one.memory.compute)));
    let sum = |of: fn(&crate::fit::Memory) -> u64| -> u64 { HostMemory::values(&prediction.host).map(of).sum() };
    let host = parts(sum(|memory| memory.model), sum(|memory| memory.context), sum(|memory| memory.compute));
    Ok(on_devices.chain([("Host".to_owned(), host)]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_the_tool() {
        let (device, parts) = row("CUDA0 235 39 526 ").unwrap();
        assert_eq!((device.as_str(), parts.model.0, parts.compute.0), ("CUDA0", 235 * MIB, 526 * MIB));
        assert!(row("0.00.017 I llama_fit_params: printing estimated memory").is_none());
        assert!(row("").is_none());
    }
}
