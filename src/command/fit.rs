//! `fit`: the models' headers and the GPUs, gathered; the plan, decided; the table or the JSON, handed to `report`.

mod draft;
pub(super) mod flags;
pub(super) mod gpus;
mod shown;

use std::process::ExitCode;

use self::draft::Drafting;
use crate::build::Runs;
use crate::build::at_hand::CudaBackend;
use crate::build::verdict::{self, Driver};
use crate::cli::fit::{CpuMoeLayers, FitArguments, FitCommand};
use crate::command::{Program, second_opinion};
use crate::failure::Failure;
use crate::fit::need::Server;
use crate::fit::plan::Plan;
use crate::fit::planner::{PlanGpu, PlannedModel, Question};
use crate::fit::projector::{self, ProjectorMemory};
use crate::fit::search::Wish;
use crate::fit::settings::{FlashAttention, GpuLayers};
use crate::fit::{Build, Model, refusal};
use crate::gguf;
use crate::model::ResolvedModel;
use crate::report;
use crate::units::{BuildTag, Bytes};

pub(super) fn run(program: &Program, command: &FitCommand) -> Result<ExitCode, Failure> {
    let resolved = resolve(program, &command.models)?;
    let arguments = for_this_machine(program, &command.fit)?;
    let mut plan = answer(program, &arguments, &resolved, command.explain)?;
    if let Some(build) = &command.check_with {
        plan.second_opinion = second_opinion::of(program, &arguments, &resolved, &plan, build)?;
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
    let calibration = gpus::calibration(program, arguments)?;
    let gpus = gpus::found(program, arguments, &calibration)?;
    let shapes: Vec<Model> =
        resolved.iter().map(|model| shape(&model.model, arguments)).collect::<Result<_, Failure>>()?;
    let drafting = Drafting::of(program, arguments, resolved, &shapes)?;
    let projector = projector(arguments, &gpus)?;
    let build_tag = arguments.for_build.unwrap_or(NEWEST_TAG);
    let mut planned = Vec::with_capacity(resolved.len());
    for (index, (model, shape)) in resolved.iter().zip(&shapes).enumerate() {
        let is_first = index == 0;
        let drafting = drafting.as_ref().filter(|_| is_first);
        let means = drafting.map(|drafting| drafting.means);
        let settings = flags::settings(arguments, shape, &gpus, resolved.len(), means);
        let wish = Wish {
            context: flags::context(arguments.ctx_size.as_ref(), index, resolved.len())?,
            min_context: flags::min_context(arguments, shape),
            weight: flags::weight(arguments, index, resolved.len())?,
            choose_layers: arguments.gpu_layers == Some(GpuLayers::Auto),
            choose_cpu_moe: arguments.n_cpu_moe == Some(CpuMoeLayers::Auto),
            server: Server {
                model: shape,
                settings,
                draft: drafting.map(|drafting| drafting.server(arguments, shape)),
                projector: projector.clone().filter(|_| is_first),
                limits: flags::limits(arguments),
            },
        };
        planned.push(PlannedModel {
            shown: shown::shown(model, shape),
            wish,
            location: shown::location(model)?,
            mmproj: arguments.mmproj.as_ref().filter(|_| is_first).map(|path| path.display().to_string()),
            draft: drafting.map(Drafting::location).transpose()?.flatten(),
            more_arguments: drafting
                .map_or_else(Vec::new, |drafting| drafting.words(arguments, Some(build_tag)))
                .into_iter()
                .chain(flags::limit_words(arguments, build_tag))
                .collect(),
        });
    }
    let question = Question {
        models: planned,
        gpus,
        build: Build::of(build_tag),
        build_tag: Some(build_tag),
        cache_type_k: arguments.cache_type_k,
        cache_type_v: arguments.cache_type_v,
        ram_available: ram_available(program)?,
        kernels: flags::kernels(arguments),
        preference: flags::preference(arguments.prefer),
        explain,
    };
    let mut plan = question.answer()?;
    gpus::correct_speeds(&mut plan, &calibration, &gpus::build_name(arguments));
    if let Some(cuda) = &arguments.cuda {
        say_what_cannot_run_at_once(&mut plan, cuda, &Driver::of_machine(&program.facts()?));
    }
    Ok(plan)
}

/// Of this machine, or the recorded one: a plan for other cards is for another machine.
fn ram_available(program: &Program) -> Result<Option<Bytes>, Failure> {
    if !program.global.gpu.is_empty() {
        return Ok(None);
    }
    Ok(program.facts()?.host.memory_available.value().copied())
}

/// What the projector takes on the first GPU, where llama.cpp puts it.
fn projector(arguments: &FitArguments, gpus: &[PlanGpu]) -> Result<Option<ProjectorMemory>, Failure> {
    let (Some(path), Some(gpu)) = (&arguments.mmproj, gpus.first()) else { return Ok(None) };
    let file = gguf::Model::open(path)?;
    if file.architecture() != Some("clip") {
        return Err(Failure::usage(format!("{} is no multimodal projector", path.display()))
            .hinted("`--mmproj` takes the `mmproj-*.gguf` that lies beside a model that sees or hears"));
    }
    let uses_flash_attention = arguments.flash_attn != Some(FlashAttention::Off);
    Ok(Some(projector::memory(&file, gpu.device.compute_capability, uses_flash_attention)))
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

/// The build behind [`Build::NEWEST`].
pub(super) const NEWEST_TAG: BuildTag = BuildTag::Nightly(11434);

pub(super) fn shape(model: &gguf::Model, arguments: &FitArguments) -> Result<Model, Failure> {
    match &arguments.assume {
        None => {
            refusal::check(model.architecture().unwrap_or_default(), arguments.for_build)?;
            Ok(Model::new(model)?)
        }
        Some(assumed) => Ok(Model::assuming(model, assumed)?),
    }
}
