//! `launch`: a plan becomes scripts, and with `--run` servers.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::build::at_hand::{self, CudaBackend};
use crate::cli::fit::FitArguments;
use crate::cli::launch::{LaunchArguments, LaunchCommand};
use crate::command::Program;
use crate::failure::Failure;
use crate::fit::plan::{Plan, PlanServer};
use crate::gguf::ShardName;
use crate::install::store::{SERVER, Store};
use crate::report;
use crate::report::launch::{LaunchReport, RunReport};
use crate::script::arguments::{self, Argument};
use crate::script::file::Written;
use crate::script::launch::Surroundings;
use crate::script::quote::shown;
use crate::script::{Format, Launch, ModelFile, ScriptFile, format};
use crate::server::fleet::{Event, Fleet, READY_LIMIT, starts};
use crate::server::{promise, supervise};
use crate::source::hub_cache::HubCache;
use crate::units::{BuildTag, Bytes};

pub(super) fn run(program: &Program, arguments: &LaunchCommand) -> Result<ExitCode, Failure> {
    let program_file = find_server(program, &arguments.place)?;
    let fit = program_file.fitted(&arguments.fit);
    let plan = match &arguments.plan {
        Some(path) => read_plan(path)?,
        None => super::fit::plan(program, &fit, &arguments.models)?,
    };
    let launch = prepare(program, &plan, plan.recommended, &arguments.place, &program_file)?;
    let formats = if arguments.format.is_empty() { Format::native() } else { arguments.format.clone() };
    let files = write(&launch, &formats, &arguments.place.out, arguments.force)?;
    warn_of_overrides(program);
    let mut answer = LaunchReport::new(&launch, files);
    if !arguments.run {
        report::launch::print(program.printer, &answer, arguments.explain)?;
        return Ok(ExitCode::SUCCESS);
    }
    if !program.printer.json {
        report::launch::print(program.printer, &answer, arguments.explain)?;
    }
    answer.run = Some(run_here(program, &launch, &arguments.place.out)?);
    if program.printer.json {
        program.printer.json(&answer)?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn read_plan(path: &Path) -> Result<Plan, Failure> {
    let text = fs_err::read_to_string(path).map_err(Failure::usage)?;
    serde_json::from_str(&text).map_err(|error| {
        Failure::usage(format!("{} is not a plan: {error}", path.display()))
            .hinted("`llama-doctor fit MODEL --json > FILE` writes one")
    })
}

/// The launch of one option of a plan on this machine; `option` none = nothing fitted.
pub(super) fn prepare(
    program: &Program,
    plan: &Plan,
    option: Option<usize>,
    place: &LaunchArguments,
    server: &ServerProgram,
) -> Result<Launch, Failure> {
    let Some(option) = option else {
        return Err(Failure::new(crate::failure::Kind::Environment, "nothing fits this machine's GPUs")
            .hinted("`llama-doctor fit` with the same flags shows how much is missing"));
    };
    let mut plan = plan.clone();
    let out = absolute(&place.out)?;
    let mut fetch = Vec::new();
    for (index, one) in plan.options.iter_mut().enumerate() {
        for one in &mut one.servers {
            let source = plan.models.get(one.model).map(|model| model.source.as_str()).unwrap_or_default();
            let command = locate_files(program, one, &out, server.build, source)?;
            if index == option {
                fetch.push(command);
            }
        }
    }
    let uuids = program.gpus()?.into_iter().filter_map(|gpu| Some((gpu.id, gpu.uuid.value()?.clone()))).collect();
    let servers = plan.options.get(option).map(|option| option.servers.as_slice()).unwrap_or_default();
    let files = servers.iter().map(|server| {
        let at = server.arguments.iter().position(|word| word == "-m").map(|at| at + 1);
        at.and_then(|at| server.arguments.get(at)).map(|path| shards(Path::new(path))).unwrap_or_default()
    });
    let api_key_file = place.api_key_file.as_ref().map(|file| absolute(file)).transpose()?;
    let around = Surroundings {
        server: text(&server.path)?,
        build: server.build,
        files: files.collect(),
        fetch,
        uuids,
        host: place.host.clone(),
        port: place.port,
        api_key_file: api_key_file.as_deref().map(text).transpose()?,
        device_name: device_name(&server.path),
    };
    Ok(Launch::from_plan(&plan, option, &around)?)
}

/// Scripts run in any folder, so they name files by absolute paths. Of a model that is not here, the path is the one that
/// it has after the command that is answered: where only its repository is known, that brings it beside the scripts.
fn locate_files(
    program: &Program,
    server: &mut PlanServer,
    out: &Path,
    build: Option<BuildTag>,
    source: &str,
) -> Result<Vec<String>, Failure> {
    let pulls = !source.is_empty() && !Path::new(source).is_file();
    let mut fetch: Vec<String> =
        if pulls { ["llama-doctor", "pull", source].map(str::to_owned).to_vec() } else { Vec::new() };
    let mut beside = |name: &str| {
        if pulls && !fetch.contains(&"--to".to_owned()) {
            fetch.extend(["--to".to_owned(), out.display().to_string()]);
        }
        out.join(name.rsplit(['/', '\\']).next().unwrap_or(name))
    };
    let mut repository = None;
    let mut arguments = Vec::new();
    for mut argument in arguments::pair(&server.arguments, build) {
        let value = argument.value.clone().unwrap_or_default();
        match argument.id.as_str() {
            "hf-repo" | "hf-repo-draft" => {
                repository = Some(value);
                continue;
            }
            "no-mmproj" => continue,
            "hf-file" => {
                let path = cached_file(program, repository.take(), &value).unwrap_or_else(|| beside(&value));
                arguments.extend(spelled("model", build, text(&path)?));
                continue;
            }
            "model" | "mmproj" | "model-draft" => {
                let here = absolute(Path::new(&value))?;
                let path = match repository.take() {
                    Some(repository) => {
                        cached_file(program, Some(repository), &value).unwrap_or_else(|| beside(&value))
                    }
                    None if here.exists() || Path::new(&value).is_absolute() => here,
                    None => beside(&value),
                };
                argument.value = Some(text(&path)?);
            }
            _ => {}
        }
        arguments.push(argument);
    }
    server.arguments = arguments::flatten(&arguments);
    Ok(fetch)
}

fn spelled(id: &str, build: Option<BuildTag>, value: String) -> Option<Argument> {
    let spelling = crate::manifest::server_flags::spelling(id, build)?;
    Some(Argument { id: id.to_owned(), flag: spelling.text.clone(), value: Some(value) })
}

/// A file of the hub that was pulled since the plan was made.
fn cached_file(program: &Program, repository: Option<String>, name: &str) -> Option<PathBuf> {
    let (repository, name) = (repository?.parse().ok()?, name.parse().ok()?);
    HubCache::all(&program.host).iter().map(|cache| cache.repository(&repository)).find_map(|cached| {
        cached.snapshots().iter().find_map(|commit| cached.file(commit, &name)).map(|file| file.path)
    })
}

/// A llama-server, and which build it is where its files say so.
#[derive(Debug, Clone)]
pub(super) struct ServerProgram {
    pub(super) path: PathBuf,
    pub(super) build: Option<BuildTag>,
    /// Its CUDA backend, where one lies beside it.
    cuda: Option<CudaBackend>,
}

impl ServerProgram {
    fn at(path: PathBuf) -> Self {
        let at_hand = at_hand::beside(&path);
        Self { path, build: at_hand.tag, cuda: at_hand.cuda }
    }

    /// The flags of the plan, for this build unless another was asked for.
    pub(super) fn fitted(&self, fit: &FitArguments) -> FitArguments {
        // Of another build than this one, the code at hand tells nothing.
        let is_this = fit.for_build.is_none_or(|tag| Some(tag) == self.build);
        let cuda = self.cuda.clone().filter(|_| is_this);
        FitArguments { for_build: fit.for_build.or(self.build), cuda, ..fit.clone() }
    }
}

/// The program to start: `--server`, or the one that would be started here.
pub(super) fn find_server(program: &Program, place: &LaunchArguments) -> Result<ServerProgram, Failure> {
    if place.server.is_some() {
        return Ok(ServerProgram::at(named_server(place, SERVER)?));
    }
    current_server(program)
}

/// The server of the current build, the one in PATH, or its name for a machine that has it.
pub(super) fn current_server(program: &Program) -> Result<ServerProgram, Failure> {
    let current = Store::new(program.home()?).current()?;
    if let Some(build) = current
        && let Some(path) = build.server()
    {
        // The build's own folder, not `current`: a later build may know other flags.
        let path = absolute(&path)?;
        let cuda = at_hand::cuda_beside(&path, build.receipt.cuda.as_ref());
        return Ok(ServerProgram { path, build: build.receipt.tag.parse().ok(), cuda });
    }
    Ok(ServerProgram::at(which::which(SERVER).unwrap_or_else(|_| SERVER.into())))
}

/// Plans name cards as the CUDA backend does. A build that has Vulkan and no CUDA calls them `Vulkan0`.
fn device_name(server: &Path) -> Option<&'static str> {
    let folder = server.parent()?;
    let has = |backend: &str| {
        let names = [format!("libggml-{backend}.so"), format!("ggml-{backend}.dll")];
        names.iter().any(|name| folder.join(name).is_file())
    };
    (has("vulkan") && !has("cuda")).then_some("Vulkan")
}

fn named_server(place: &LaunchArguments, name: &str) -> Result<PathBuf, Failure> {
    let path = place.server.as_deref().unwrap_or(Path::new(name));
    let path = if path.is_dir() { path.join(name) } else { path.to_owned() };
    if !path.is_file() {
        return Err(Failure::usage(format!("there is no llama-server at {}", path.display()))
            .hinted("give `--server` the program or the folder that holds it"));
    }
    absolute(&path)
}

fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    Ok(std::path::absolute(path)?)
}

fn text(path: &Path) -> Result<String, Failure> {
    let text = path.to_str().map(str::to_owned);
    text.ok_or_else(|| Failure::usage(format!("{} is not Unicode: scripts cannot name it", path.display())))
}

/// All files of a model that is here: the file, or every shard of a split one.
fn shards(first: &Path) -> Vec<ModelFile> {
    let Some(name) = first.file_name().and_then(|name| name.to_str()) else { return Vec::new() };
    let all = match ShardName::parse(name) {
        Some(shard) => (1..=shard.count).map(|number| shard.sibling(number)).collect(),
        None => vec![name.to_owned()],
    };
    let one = |name: &String| {
        let path = first.with_file_name(name);
        let bytes = fs_err::metadata(&path).ok()?.len();
        Some(ModelFile { path: path.to_str()?.to_owned(), bytes: Some(Bytes(bytes)) })
    };
    // Of a file that is still to come the catalogue knows the shape, not the exact size.
    let absent = || first.to_str().map(|path| ModelFile { path: path.to_owned(), bytes: None }).into_iter().collect();
    all.iter().map(one).collect::<Option<Vec<_>>>().unwrap_or_else(absent)
}

/// Writes all files, or none if one of them was edited by its owner.
pub(super) fn write(
    launch: &Launch,
    formats: &[Format],
    out: &Path,
    force: bool,
) -> Result<Vec<(PathBuf, Written)>, Failure> {
    let folder = absolute(out)?;
    let files: Vec<ScriptFile> = format::files(launch, formats, &folder)?;
    for file in &files {
        file.may_write(&folder, force)?;
    }
    let written = files.iter().map(|file| file.write(out, force)).collect::<Result<Vec<_>, _>>()?;
    Ok(written)
}

/// What would change llama-server's defaults behind the plan's back (b11434 `common/arg.cpp:722`).
pub(super) fn warn_of_overrides(program: &Program) {
    let variables = overriding_variables(program);
    if !variables.is_empty() {
        let names = variables.join(", ");
        program.printer.warning(&format!("the environment changes llama-server's defaults: {names}"));
    }
    for file in configuration_files(program) {
        if file.is_file() {
            program.printer.warning(&format!("{} changes llama-server's defaults", file.display()));
        }
    }
}

pub(super) fn overriding_variables(program: &Program) -> Vec<String> {
    let prefix = crate::host::environment::LLAMA_ARG.name.trim_end_matches('*');
    program.host.variables_starting_with(prefix).into_keys().collect()
}

fn configuration_files(program: &Program) -> Vec<PathBuf> {
    use crate::host::environment as names;
    let folder = |name: &str| program.host.variable(name).map(PathBuf::from);
    let folders = if cfg!(windows) {
        vec![folder(names::PROGRAMDATA.name), folder(names::APPDATA.name)]
    } else {
        let own = folder(names::XDG_CONFIG_HOME.name);
        let own = own.or_else(|| Some(folder(names::HOME.name)?.join(".config")));
        vec![Some(program.host.path("/etc")), own]
    };
    folders.into_iter().flatten().map(|folder| folder.join("llama.cpp/config.ini")).collect()
}

fn run_here(program: &Program, launch: &Launch, out: &Path) -> Result<Vec<RunReport>, Failure> {
    if let Some(server) = launch.servers.iter().find(|server| server.is_missing()) {
        let missing = format!("the model file {} is not here", server.files[0].path);
        return Err(Failure::environment(missing).hinted(format!("fetch it: `{}`", shown(&server.fetch))));
    }
    supervise::watch_signals()?;
    let starts = starts(launch, Path::new(&launch.server), out, &[]);
    let mut told = std::time::Instant::now();
    let mut fleet = Fleet::start(&starts, READY_LIMIT, &mut |event| match event {
        Event::Starting { server } => {
            program.printer.note(&format!("starting {}; its log: {}", server.name, server.log().display()));
        }
        Event::Waiting { name, waited } => {
            if told.elapsed().as_secs() >= 5 {
                told = std::time::Instant::now();
                program.printer.note(&format!("{name} is loading, {} s", waited.as_secs()));
            }
        }
        Event::Ready { index, waited, .. } => {
            let url = launch.servers[index].url();
            program.printer.note(&format!("ready after {:.1} s: {url}", waited.as_secs_f64()));
        }
    })?;
    let mut reports = Vec::new();
    for (planned, server) in launch.servers.iter().zip(&fleet.servers) {
        let facts = server.facts()?;
        let load = facts.load_of(&planned.files[0].path).cloned().unwrap_or_default();
        let report = RunReport {
            name: planned.name.clone(),
            url: planned.url(),
            log: server.log(),
            promises: promise::compare(&planned.plan, &load),
            differences: promise::settings_differ(&planned.plan, &facts, &load),
        };
        report::launch::print_run(program.printer, &report);
        reports.push(report);
    }
    program.printer.note("Ctrl-C stops");
    fleet.watch()?;
    program.printer.note("stopping");
    fleet.stop()?;
    Ok(reports)
}
