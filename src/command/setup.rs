//! `setup`, the main job: check, install, pull, fit, launch. Each step says what it did; one
//! that cannot be done here says what is missing, and the next ones go on as far as they can.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::check::{Selection, machine::Diagnosis};
use crate::cli::bench::ProtocolArguments;
use crate::cli::install::InstallArguments;
use crate::cli::launch::LaunchArguments;
use crate::cli::setup::SetupCommand;
use crate::command::Program;
use crate::command::bench::{Candidate, How};
use crate::command::launch::ServerProgram;
use crate::failure::Failure;
use crate::fit::plan::Plan;
use crate::install::store::Store;
use crate::model::ResolvedModel;
use crate::model::pull::Options;
use crate::report;
use crate::report::launch::LaunchReport;
use crate::report::progress::Reporter;
use crate::report::setup::{SetupReport, State, Step};
use crate::script::Format;

/// Tried in this order without a MODEL: the first that fits with room to talk is planned. The first is the one that the
/// project's story is about.
const SUGGESTIONS: [&str; 3] = ["qwen2.5-14b-instruct", "qwen2.5-7b-instruct", "qwen2.5-3b-instruct"];
/// Tokens of context below which a suggestion is passed over.
const ROOM_TO_TALK: u32 = 16_384;

pub(super) fn run(program: &Program, arguments: &SetupCommand) -> Result<ExitCode, Failure> {
    // A plan for another machine is only a plan: nothing is brought to this one for it.
    let for_this_machine = program.global.gpu.is_empty() && program.global.facts.is_none();
    let brings = for_this_machine && !program.global.offline;
    let mut steps = Steps { program, done: Vec::new() };
    steps.add(check(program)?);
    let (server, step) = server(program, arguments, brings)?;
    steps.add(step);
    let mut place = arguments.place.clone();
    place.server = server.or(place.server);
    // The plan is for the build that the scripts start.
    let server = super::launch::find_server(program, &place)?;
    let arguments = &SetupCommand { fit: server.fitted(&arguments.fit), ..arguments.clone() };

    let Planned { models, mut resolved, mut plan } = suggest_or_plan(program, arguments)?;
    let pulled = pull(program, &plan, &mut resolved, brings)?;
    let brought = pulled.state == State::Done;
    steps.add(pulled);
    if brought {
        // The file is here now: its own header is planned, and its path is what the scripts name. The download took
        // its time, and others may have taken VRAM meanwhile.
        plan = super::fit::plan_of(&program.looking_anew(), &arguments.fit, &resolved)?;
    }
    steps.add(fit(&plan));
    if plan.recommended.is_none() {
        let report = SetupReport::new(steps.done, plan, None);
        report::setup::print(program.printer, &report, &models)?;
        return Ok(ExitCode::from(1));
    }

    let launch = super::launch::prepare(program, &plan, plan.recommended, &place, &server)?;
    let formats = if arguments.format.is_empty() { Format::native() } else { arguments.format.clone() };
    let files = super::launch::write(&launch, &formats, &place.out, arguments.force)?;
    super::launch::warn_of_overrides(program);
    let written = LaunchReport::new(&launch, files);
    steps.add(Step::done("launch", written.files.iter().map(|file| file.path.display().to_string()).collect()));
    let mut code = ExitCode::SUCCESS;
    if arguments.start {
        let (step, kept) = verify(program, &plan, &place, &server, !arguments.fit.no_calibration)?;
        steps.add(step);
        if !kept {
            code = ExitCode::from(1);
        }
    }
    let report = SetupReport::new(steps.done, plan, Some(written));
    report::setup::print(program.printer, &report, &models)?;
    Ok(code)
}

/// Starts what was planned once, and puts the promise beside the measurement.
fn verify(
    program: &Program,
    plan: &Plan,
    place: &LaunchArguments,
    server: &ServerProgram,
    calibrates: bool,
) -> Result<(Step, bool), Failure> {
    if !server.path.is_file() {
        return Ok((Step::missing("verify", "there is no llama-server here to start"), true));
    }
    let protocol = ProtocolArguments::short(place.out.join("verify"));
    let how = How { place, protocol: &protocol, calibrates };
    let outcome = super::bench::bench(program, &[Candidate::recommended(plan.clone())], &how, server)?;
    if let Some(failure) = outcome.failure {
        return Err(failure);
    }
    let report = outcome.report;
    report::bench::write(&report, &protocol.report)?;
    Ok((Step::done("verify", report.lines()), report.kept()))
}

/// Steps are told as they end: a long download comes after what is known already.
struct Steps<'a> {
    program: &'a Program,
    done: Vec<Step>,
}

impl Steps<'_> {
    fn add(&mut self, step: Step) {
        self.program.printer.answer(&report::setup::line(&step));
        self.done.push(step);
    }
}

fn check(program: &Program) -> Result<Step, Failure> {
    let facts = super::check::machine(program, &[])?;
    let diagnosis = Diagnosis::of(&facts, &Selection::default());
    Ok(Step::done("check", vec![report::setup::diagnosis(&diagnosis)]))
}

/// The program that the scripts will start: the one that was named, the build in use, or one that is installed now.
fn server(program: &Program, arguments: &SetupCommand, brings: bool) -> Result<(Option<PathBuf>, Step), Failure> {
    if let Some(path) = &arguments.place.server {
        return Ok((None, Step::done("install", vec![format!("not needed: {} was named", path.display())])));
    }
    let store = Store::new(program.home()?);
    if let Some(build) = store.current()? {
        return Ok((Some(build.path.clone()), Step::done("install", vec![format!("{} is in use", build.receipt.id)])));
    }
    if let Ok(path) = which::which("llama-server") {
        let found = format!("{} is in PATH", path.display());
        return Ok((Some(path), Step::done("install", vec![found])));
    }
    if !brings {
        let missing = if program.global.offline {
            "no llama.cpp build here, and the network is off: `llama-doctor install` brings it, or `--from` an archive"
        } else {
            "no llama.cpp build here; `llama-doctor install` on the machine itself brings it"
        };
        return Ok((None, Step::missing("install", missing)));
    }
    let report = super::install::install(program, &InstallArguments::default())?;
    let Some(build) = report.installed else {
        return Ok((None, Step::missing("install", "the build was not put to use")));
    };
    Ok((Some(build.path), Step::done("install", [build.id].into_iter().chain(report.reason).collect())))
}

/// Models as they were named or suggested, looked up once, and the plan for them.
struct Planned {
    models: Vec<String>,
    resolved: Vec<ResolvedModel>,
    plan: Plan,
}

fn suggest_or_plan(program: &Program, arguments: &SetupCommand) -> Result<Planned, Failure> {
    let plan = |models: Vec<String>| -> Result<Planned, Failure> {
        let resolved = super::fit::resolve(program, &models)?;
        let plan = super::fit::plan_of(program, &arguments.fit, &resolved)?;
        Ok(Planned { models, resolved, plan })
    };
    if !arguments.models.is_empty() {
        return plan(arguments.models.clone());
    }
    let mut last = None;
    for suggestion in SUGGESTIONS {
        let planned = plan(vec![suggestion.to_owned()])?;
        let option = planned.plan.recommended.and_then(|index| planned.plan.options.get(index));
        if option.is_some_and(|option| option.servers[0].context >= ROOM_TO_TALK) {
            return Ok(planned);
        }
        last = Some(planned);
    }
    last.ok_or_else(|| Failure::usage("no model was named"))
}

/// Brings the files that are not here; of those, `resolved` names the place afterwards.
fn pull(program: &Program, plan: &Plan, resolved: &mut [ResolvedModel], brings: bool) -> Result<Step, Failure> {
    let missing: Vec<&mut ResolvedModel> = resolved.iter_mut().filter(|model| model.path().is_none()).collect();
    if missing.is_empty() {
        return Ok(Step::present("pull", "every file is here"));
    }
    if !brings || plan.recommended.is_none() {
        let names = missing.iter().map(|model| format!("`llama-doctor pull {}`", model.source));
        let names = names.collect::<Vec<_>>().join(", ");
        return Ok(Step::missing("pull", &format!("not here: {names} on the machine itself brings it")));
    }
    let client = program.client()?;
    let progress = Reporter::new(program.printer);
    let mut files = Vec::new();
    for model in missing {
        let options = Options { to: None, without_projector: true, with_draft: false };
        let pulled = super::pull::one(program, &client, &model.source, &options, &progress)?;
        files.extend(pulled.files.iter().map(|file| file.name.clone()));
        *model = crate::model::resolve(program, &model.source)?;
    }
    Ok(Step::done("pull", files))
}

fn fit(plan: &Plan) -> Step {
    match plan.recommended.and_then(|index| plan.options.get(index)) {
        Some(option) => Step::done("fit", report::setup::option(plan, option)),
        None => Step::missing("fit", "nothing fits; the table says by how much"),
    }
}
