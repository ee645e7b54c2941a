//! `fit`: the models' headers and the GPUs, gathered; the plan, decided; the table or the JSON, handed to `report`.

use std::path::Path;
use std::process::ExitCode;

use crate::build::Runs;
use crate::build::at_hand::CudaBackend;
use crate::build::verdict::{self, Driver};
use crate::cli::fit::{
    Contexts, CpuMoeLayers, FitArguments, FitCommand, Preference as PreferenceArgument, Slots, SpeculationArgument,
};
use crate::command::{Program, second_opinion};
use crate::failure::Failure;
use crate::fit::choice::{DEFAULT_KERNELS, Preference};
use crate::fit::need::{Draft, Server};
use crate::fit::plan::{Plan, PlanModel, SecondOpinion};
use crate::fit::planner::{PlanGpu, PlannedModel, Question};
use crate::fit::search::Wish;
use crate::fit::settings::{Device, GpuLayers, Settings, SplitMode};
use crate::fit::{Build, Memory, Model, overhead, refusal};
use crate::gguf;
use crate::host::facts::Gpu;
use crate::manifest::gpus::{self, DEFAULT_RESERVE};
use crate::model::{Reference, ResolvedModel};
use crate::report;
use crate::script::arguments::Location;
use crate::server::calibration::Calibration;
use crate::units::{BuildTag, Bytes};

pub(super) fn run(program: &Program, command: &FitCommand) -> Result<ExitCode, Failure> {
    let resolved = resolve(program, &command.models)?;
    let arguments = for_this_machine(program, &command.fit)?;
    let mut plan = answer(program, &arguments, &resolved, command.explain)?;
    if let Some(build) = &command.check_with {
        plan.second_opinion = second_opinion(program, &arguments, &resolved, &plan, build)?;
    }
    report::fit::print(program.printer, &plan, &command.models)?;

    Ok(if plan.recommended.is_some() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// The flags, for the build that would run the plan here; a plan for another machine is for the newest that is modelled.
fn for_this_machine(program: &Program, arguments: &FitArguments) -> Result<FitArguments, Failure> {
    if !program.global.gpu.is_empty() || program.global.facts.is_some() {
        return Ok(arguments.clone());
    }
    Ok(super::launch::current_server(program)?.fitted(arguments))
}

/// The plan for `models` as the flags want it; `launch`, `setup` and `bench` start here too.
/// A plan in which nothing fits is an answer, not a failure: its `recommended` is none.
pub fn plan(program: &Program, arguments: &FitArguments, models: &[String]) -> Result<Plan, Failure> {
    plan_of(program, arguments, &resolve(program, models)?)
}

/// What the second opinion is asked about.
pub(super) struct Planned<'a> {
    pub(super) source: &'a str,
    pub(super) path: Option<&'a Path>,
    pub(super) model: &'a Model,
    pub(super) settings: Settings,
    pub(super) devices: Vec<Device>,
    pub(super) build: Build,
}

/// Of the first server of the recommended option, or of the first option when nothing fits.
fn second_opinion(
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
    let gpus = plan_gpus(program, arguments)?;
    let shape = shape(&model.model, arguments)?;
    let planned = Planned {
        source: &model.source,
        path: model.path(),
        settings: settings(arguments, &shape, &gpus, resolved.len(), arguments.model_draft.is_some())?,
        model: &shape,
        devices: gpus.into_iter().map(|gpu| gpu.device).collect(),
        build: arguments.for_build.map_or(Build::NEWEST, Build::of),
    };
    second_opinion::ask(build, &planned, server).map(Some)
}

/// Every model looked up, what is noteworthy said.
pub(super) fn resolve(program: &Program, models: &[String]) -> Result<Vec<ResolvedModel>, Failure> {
    let resolved: Vec<ResolvedModel> =
        models.iter().map(|model| crate::model::resolve(program, model)).collect::<Result<_, _>>()?;
    for note in resolved.iter().flat_map(|model| &model.notes) {
        program.printer.note(note);
    }
    Ok(resolved)
}

/// As [`plan`], of models whose headers are at hand.
pub fn plan_of(program: &Program, arguments: &FitArguments, resolved: &[ResolvedModel]) -> Result<Plan, Failure> {
    answer(program, arguments, resolved, false)
}

fn answer(
    program: &Program,
    arguments: &FitArguments,
    resolved: &[ResolvedModel],
    explain: bool,
) -> Result<Plan, Failure> {
    let gpus = plan_gpus(program, arguments)?;
    let shapes: Vec<Model> =
        resolved.iter().map(|model| shape(&model.model, arguments)).collect::<Result<_, Failure>>()?;
    let draft =
        draft_name(arguments, resolved, &shapes).map(|name| crate::model::resolve(program, name)).transpose()?;
    let draft_shape = draft.as_ref().map(|draft| Model::new(&draft.model)).transpose()?;
    let projector = arguments.mmproj.as_ref().map(|path| gguf::Model::open(path)).transpose()?;
    let build_tag = arguments.for_build;
    let mut planned = Vec::with_capacity(resolved.len());
    for (index, (model, shape)) in resolved.iter().zip(&shapes).enumerate() {
        let settings = settings(arguments, shape, &gpus, resolved.len(), index == 0 && draft.is_some())?;
        let is_first = index == 0;
        let draft_server = draft_shape.as_ref().filter(|_| is_first).map(|model| Draft {
            model,
            cache_type_k: arguments.cache_type_k_draft.unwrap_or(crate::fit::settings::CacheType::F16),
            cache_type_v: arguments.cache_type_v_draft.unwrap_or(crate::fit::settings::CacheType::F16),
            gpu_layers: arguments.gpu_layers_draft.unwrap_or(GpuLayers::All),
        });
        let wish = Wish {
            context: context(arguments.ctx_size.as_ref(), index, resolved.len())?,
            min_context: min_context(arguments, shape),
            weight: weight(arguments, index, resolved.len())?,
            choose_layers: arguments.gpu_layers == Some(GpuLayers::Auto),
            choose_cpu_moe: arguments.n_cpu_moe == Some(CpuMoeLayers::Auto),
            server: Server {
                model: shape,
                settings,
                draft: draft_server,
                projector: projector.as_ref().filter(|_| is_first).map(projector_memory),
            },
        };
        planned.push(PlannedModel {
            shown: shown(model, shape),
            wish,
            location: location(model)?,
            mmproj: arguments.mmproj.as_ref().filter(|_| is_first).map(|path| path.display().to_string()),
            draft: draft.as_ref().filter(|_| is_first).map(location).transpose()?,
            more_arguments: if is_first { speculation_arguments(arguments) } else { Vec::new() },
        });
    }
    let question = Question {
        models: planned,
        gpus,
        build: build_tag.map_or(Build::NEWEST, Build::of),
        build_tag: Some(build_tag.unwrap_or(NEWEST_TAG)),
        cache_type_k: arguments.cache_type_k,
        cache_type_v: arguments.cache_type_v,
        kernels: kernels(arguments),
        preference: preference(arguments.prefer),
        explain,
    };
    let mut plan = question.answer()?;
    correct_speeds(&mut plan, &calibration(program, arguments)?, &build_name(arguments));
    if let Some(cuda) = &arguments.cuda {
        say_what_cannot_run_at_once(&mut plan, cuda, &Driver::of_machine(&program.facts()?));
    }
    Ok(plan)
}

/// The cache types that decode fast: what the build at hand was compiled with, else what official builds are.
fn kernels(arguments: &FitArguments) -> String {
    let compiled = arguments.cuda.as_ref().and_then(|cuda| cuda.fa_quants.clone());
    compiled.unwrap_or_else(|| DEFAULT_KERNELS.to_owned())
}

/// Cards for which the build holds no ready code: the first start takes minutes, or cannot be.
fn say_what_cannot_run_at_once(plan: &mut Plan, cuda: &CudaBackend, driver: &Driver) {
    for device in &plan.devices {
        let (runs, reason) =
            verdict::judge_capability(&cuda.code, cuda.runtime_major, device.compute_capability, driver);
        let note = match runs {
            Runs::Native => continue,
            Runs::Jit => format!(
                "the first start takes minutes: the driver compiles the build's kernels for {} ({reason}); later starts find them in its cache",
                device.id
            ),
            Runs::No => format!("the build cannot run on {}: {reason}", device.id),
        };
        plan.options.iter_mut().for_each(|option| option.notes.push(note.clone()));
    }
}

/// The draft model that was asked for; with `--spec-type draft-mtp`, for a model without such layers, the heads that lie
/// beside it in its repository, as `llama-server -hf` takes them (b11434 `common/download.cpp:749`).
fn draft_name<'a>(arguments: &'a FitArguments, resolved: &'a [ResolvedModel], shapes: &[Model]) -> Option<&'a String> {
    let beside = || {
        let wants = arguments.spec_type == Some(SpeculationArgument::DraftMtp);
        let lacks = shapes.first().is_some_and(|shape| shape.layers_mtp == 0);
        resolved.first().filter(|_| wants && lacks)?.mtp.as_ref()
    };
    arguments.model_draft.as_ref().or_else(beside)
}

/// The build behind [`Build::NEWEST`].
const NEWEST_TAG: BuildTag = BuildTag::Nightly(11434);

fn shape(model: &gguf::Model, arguments: &FitArguments) -> Result<Model, Failure> {
    match &arguments.assume {
        None => {
            refusal::check(model.architecture().unwrap_or_default(), arguments.for_build)?;
            Ok(Model::new(model)?)
        }
        Some(assumed) => Ok(Model::assuming(model, assumed)?),
    }
}

fn plan_gpus(program: &Program, arguments: &FitArguments) -> Result<Vec<PlanGpu>, Failure> {
    let found: Vec<Gpu> = program.gpus()?.into_iter().filter(|gpu| gpu.visible).collect();
    if found.is_empty() {
        return Err(Failure::environment("no NVIDIA GPU is usable here")
            .hinted("plan for a card you do not have at hand with `--gpu rtx-3090`")
            .hinted("`llama-doctor check` says why none was found"));
    }
    let calibration = calibration(program, arguments)?;
    let build = build_name(arguments);
    let planned = |gpu: Gpu| {
        let measured_overhead = calibration.row(&gpu.name, &build).and_then(|row| row.overhead_bytes);
        let mut planned = plan_gpu(gpu, arguments.reserve)?;
        planned.device.measured_overhead = measured_overhead;
        Ok(planned)
    };
    found.into_iter().map(planned).collect()
}

/// What `bench` measured here: of no use for another machine.
fn calibration(program: &Program, arguments: &FitArguments) -> Result<Calibration, Failure> {
    if arguments.no_calibration || !program.global.gpu.is_empty() || program.global.facts.is_some() {
        return Ok(Calibration::default());
    }
    Ok(Calibration::load(&program.home()?)?)
}

fn build_name(arguments: &FitArguments) -> String {
    arguments.for_build.unwrap_or(NEWEST_TAG).to_string()
}

/// Estimated speeds, corrected by what was measured on the same card with the same build.
fn correct_speeds(plan: &mut Plan, calibration: &Calibration, build: &str) {
    let row = plan.devices.first().and_then(|device| calibration.row(&device.name, build));
    let Some(row) = row else { return };
    let Some(factor) = row.speed_factor else { return };
    for option in &mut plan.options {
        for server in &mut option.servers {
            server.tokens_per_second *= factor;
        }
        option.notes.push(format!("speed and overhead as measured on this machine on {}", row.measured));
    }
}

/// `reserve`: what was asked to stay free, and then is all that stays free.
fn plan_gpu(gpu: Gpu, reserve: Option<Bytes>) -> Result<PlanGpu, Failure> {
    let card = gpus::by_nvml_name(&gpu.name, gpu.total);
    let compute_capability = gpu.compute_capability.or(card.map(|card| card.compute_capability)).ok_or_else(|| {
        Failure::environment(format!("the compute capability of {} ({}) is not known", gpu.id, gpu.name))
            .hinted("describe it: `--gpu NAME:TOTAL:CAPABILITY:FREE`")
    })?;
    let by_card = card.map(|card| (card.bandwidth_gb_s * 1e9) as u64);
    Ok(PlanGpu {
        bandwidth: gpu.memory_bandwidth.value().copied().or(by_card),
        // On Windows one process never gets the whole card.
        kept: if cfg!(windows) && reserve.is_none() { overhead::wddm(gpu.total) } else { 0 },
        device: Device { id: gpu.id, compute_capability, total: gpu.total, free: gpu.free, measured_overhead: None },
        name: gpu.name,
        origin: gpu.origin,
        reserve: reserve.unwrap_or(DEFAULT_RESERVE),
    })
}

/// llama-server's settings, as its own flags make them (b11434 `tools/server/server.cpp:168` for the slots).
fn settings(
    arguments: &FitArguments,
    model: &Model,
    gpus: &[PlanGpu],
    servers: usize,
    has_draft: bool,
) -> Result<Settings, Failure> {
    let default = Settings::default();
    let (parallel, unified) = match arguments.parallel {
        None | Some(Slots::Auto) => (default.parallel, true),
        Some(Slots::Count(count)) => (count, false),
    };
    let speculates = arguments.spec_type == Some(SpeculationArgument::DraftMtp);
    if speculates && model.layers_mtp == 0 && !has_draft {
        return Err(Failure::usage("this model has no multi-token-prediction layers for `--spec-type draft-mtp`")
            .hinted("name a file of such layers with `-md`"));
    }
    let shares = arguments.tensor_split.as_ref().map(|split| split.0.clone()).unwrap_or_default();
    // Servers start one after the other: without fixed shares the second would see less free memory and split otherwise.
    let shares = if shares.is_empty() && servers > 1 && gpus.len() > 1 {
        gpus.iter().map(|gpu| gpu.device.free.mib().floor() as f32).collect()
    } else {
        shares
    };
    Ok(Settings {
        batch: arguments.batch_size.unwrap_or(default.batch),
        ubatch: arguments.ubatch_size.unwrap_or(default.ubatch),
        parallel,
        kv_unified: (unified || arguments.kv_unified) && !arguments.no_kv_unified,
        flash_attention: arguments.flash_attn.unwrap_or_default(),
        gpu_layers: arguments.gpu_layers.unwrap_or(GpuLayers::All),
        cpu_moe_layers: match arguments.n_cpu_moe {
            Some(CpuMoeLayers::Count(count)) => count,
            _ if arguments.cpu_moe => model.layers_all,
            _ => 0,
        },
        tensor_overrides: arguments.override_tensor.iter().flat_map(|one| one.0.clone()).collect(),
        split_mode: arguments.split_mode.unwrap_or(SplitMode::Layer),
        tensor_split: shares,
        main_gpu: arguments.main_gpu.unwrap_or(0),
        swa_full: arguments.swa_full,
        kv_offload: !arguments.no_kv_offload,
        op_offload: !arguments.no_op_offload,
        load_mode: arguments.load_mode.unwrap_or_default(),
        mtp_draft_tokens: if speculates && !has_draft { arguments.spec_draft_n_max.unwrap_or(DRAFT_TOKENS) } else { 0 },
        ..default
    })
}

/// `--spec-draft-n-max`'s default (llama.cpp b11434 `common/common.h:400`).
const DRAFT_TOKENS: u32 = 3;

fn speculation_arguments(arguments: &FitArguments) -> Vec<String> {
    let mut words = Vec::new();
    if arguments.spec_type == Some(SpeculationArgument::DraftMtp) {
        words.extend(["--spec-type".to_owned(), "draft-mtp".to_owned()]);
    }
    if let Some(count) = arguments.spec_draft_n_max {
        words.extend(["--spec-draft-n-max".to_owned(), count.to_string()]);
    }
    for (flag, kind) in [("-ctkd", arguments.cache_type_k_draft), ("-ctvd", arguments.cache_type_v_draft)] {
        if let Some(kind) = kind {
            words.extend([flag.to_owned(), kind.to_string()]);
        }
    }
    words
}

/// The context asked of one model; 0 and absent mean the largest.
fn context(asked: Option<&Contexts>, index: usize, models: usize) -> Result<Option<u32>, Failure> {
    let Some(Contexts(list)) = asked else { return Ok(None) };
    if list.len() != 1 && list.len() != models {
        return Err(Failure::usage(format!("-c names {} contexts for {models} models", list.len()))
            .hinted("give one for all, or one for each; 0 = the largest that fits"));
    }
    Ok(list.get(index).or(list.first()).copied().filter(|context| *context > 0))
}

fn weight(arguments: &FitArguments, index: usize, models: usize) -> Result<f64, Failure> {
    let Some(weights) = &arguments.weights else { return Ok(1.0) };
    if weights.0.len() != models || weights.0.iter().any(|weight| *weight <= 0.0) {
        return Err(Failure::usage(format!("--weights needs {models} numbers above zero, one for each model")));
    }
    let least = weights.0.iter().copied().fold(f32::MAX, f32::min);
    Ok(f64::from(weights.0[index] / least))
}

/// What offloading to host memory is worth when it is ours to choose, tokens.
const OFFLOADED_CONTEXT: u32 = 16_384;

fn min_context(arguments: &FitArguments, model: &Model) -> u32 {
    let chooses = arguments.gpu_layers == Some(GpuLayers::Auto) || arguments.n_cpu_moe == Some(CpuMoeLayers::Auto);
    let default = if chooses { OFFLOADED_CONTEXT.min(model.train_context) } else { 0 };
    arguments.min_ctx.unwrap_or(default)
}

fn preference(asked: Option<PreferenceArgument>) -> Preference {
    match asked {
        None => Preference::Balanced,
        Some(PreferenceArgument::Context) => Preference::Context,
        Some(PreferenceArgument::Quality) => Preference::Quality,
        Some(PreferenceArgument::Speed) => Preference::Speed,
    }
}

/// What llama-server is told to load.
fn location(model: &ResolvedModel) -> Result<Location, Failure> {
    let path = match model.reference() {
        Reference::File(path) => std::path::absolute(path)?,
        Reference::Hub { repository, file } => return Ok(Location { repository: Some(repository), file }),
    };
    let text = path.to_str().map(str::to_owned);
    let file = text
        .ok_or_else(|| Failure::usage(format!("{} is not Unicode: llama-server cannot be given it", path.display())))?;
    Ok(Location { repository: None, file })
}

fn shown(resolved: &ResolvedModel, shape: &Model) -> PlanModel {
    let model = &resolved.model;
    let name = model.metadata.get("general.name").and_then(gguf::Value::as_text).map(str::to_owned);
    PlanModel {
        source: resolved.source.clone(),
        name: name.filter(|name| !name.is_empty()).unwrap_or_else(|| resolved.short_name()),
        architecture: model.architecture().unwrap_or_default().to_owned(),
        quantization: quantization(resolved),
        parameters: model.parameters(),
        file_bytes: Bytes(model.file_bytes()),
        layers: shape.layers(),
        train_context: shape.train_context,
    }
}

/// As the metadata says it, else as the file's name does.
fn quantization(resolved: &ResolvedModel) -> String {
    if let Some(name) = resolved.model.file_type() {
        return name.to_owned();
    }
    let file = resolved.model.shards.first().map(|shard| shard.name.as_str()).unwrap_or_default();
    let tag = crate::source::quantization::GgufName::parse(file).and_then(|name| name.tag);
    tag.unwrap_or_else(|| "unknown".to_owned())
}

/// A projector's weights are its file's; its compute buffer is an estimate: half of the weights, 256 MiB at least.
fn projector_memory(model: &gguf::Model) -> Memory {
    let weights: u64 = model.tensors.iter().map(|tensor| tensor.bytes.next_multiple_of(128)).sum();
    Memory { model: weights, context: 0, compute: (weights / 2).max(Bytes::from_mib(256).0) }
}
