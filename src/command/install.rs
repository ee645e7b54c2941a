//! `install`: find the release, choose, download, unpack, prove, put to use.

use std::process::ExitCode;

use super::Program;
use crate::build::examine::Machinery;
use crate::build::verdict::Driver;
use crate::cli::install::{BackendName, CudartSource, InstallArguments};
use crate::failure::Failure;
use crate::host::environment;
use crate::host::facts::{Facts, Gpu};
use crate::install::InstallError;
use crate::install::choose::{self, Choice, Machine, Rejected, Wanted};
use crate::install::fetch::{self, Archive};
use crate::install::prove::{Proof, prove};
use crate::install::stage;
use crate::install::store::{Installed, Store};
use crate::manifest::releases::Role;
use crate::net::client::Client;
use crate::net::redirect::Redirects;
use crate::report::install::{Asset, Done, InstallReport, SCHEMA, decision, done};
use crate::report::progress::Reporter;
use crate::source::github::{Artifact, Github, Place, Version};
use crate::source::pypi;
use crate::units::CudaVersion;

mod container;

pub(super) fn run(program: &Program, arguments: &InstallArguments) -> Result<ExitCode, Failure> {
    let store = Store::new(program.home()?);
    if !arguments.from.is_empty() {
        return from_disk(program, arguments, &store);
    }
    let client = program.client()?;
    let github = Github::new(&client, place(program), &store.answers())?;
    if arguments.container {
        return container::run(program, arguments, &store, &github);
    }
    let (mut choice, notes) = decide(program, arguments, &github)?;
    let wheels = wheels(program, arguments, &client, choice.cuda)?;
    if !wheels.is_empty() {
        choice.runtime = None;
        choice.warnings.retain(|warning| !warning.contains("no archive of CUDA's libraries"));
    }
    let mut report = InstallReport::of(&choice, notes);
    report.assets.extend(wheels.iter().map(Asset::of));
    talk(program, &report);
    if arguments.dry_run {
        print(program, &report, &decision(&report))?;
        return Ok(ExitCode::SUCCESS);
    }
    let id = format!("{}-{}", choice.tag, choice.backend);
    let installed = if let Some(installed) =
        intact(&store, &id, std::iter::once(&choice.build).chain(&choice.runtime).chain(&wheels))?
    {
        program.printer.note(&format!("{id} is here already"));
        // A kill between unpacking and use leaves the archive.
        fetch::forget(&choice.build, &store.archives())?;
        installed
    } else {
        let progress = Reporter::new(program.printer);
        let bring = |artifact: &Artifact, role| {
            let digestless = arguments.allow_missing_digest;
            // A wheel comes from wherever the index says; its digest is the index's word.
            let redirects = if wheels.contains(artifact) { Redirects::Any } else { github.redirects() };
            fetch::fetch(&client, redirects, artifact, role, &store.archives(), digestless, &progress)
        };
        let mut archives = vec![bring(&choice.build, Role::Build)?];
        for runtime in choice.runtime.iter().chain(&wheels) {
            archives.push(bring(runtime, Role::Runtime)?);
        }
        unpack(program, &store, &choice.tag, &choice.backend, &archives)?
    };
    finish(program, &store, &installed, &mut report)
}

/// The release and the files of it that run here.
fn decide(program: &Program, arguments: &InstallArguments, github: &Github) -> Result<(Choice, Vec<String>), Failure> {
    let machine = machine(program)?;
    let wanted = wanted(arguments.backend);
    let (release, notes) =
        github.find(version(arguments)?, &|release| choose::is_complete(release, wanted, &machine))?;
    Ok((choose::choose(&release, wanted, &machine)?, notes))
}

/// The machine is looked at once a question: that may take a second.
fn seen(program: &Program) -> Result<(Facts, Vec<Gpu>), Failure> {
    let facts = program.facts()?;
    let gpus = if program.global.gpu.is_empty() { facts.gpus.clone() } else { program.gpus()? };
    Ok((facts, gpus))
}

fn machine(program: &Program) -> Result<Machine, Failure> {
    let (facts, gpus) = seen(program)?;
    Ok(Machine::new(&facts, gpus))
}

fn version(arguments: &InstallArguments) -> Result<Version, Failure> {
    Ok(match arguments.version.as_str() {
        "stable" => Version::Stable,
        "nightly" => Version::Nightly,
        other => Version::Exact(other.parse()?),
    })
}

/// With `--cudart pypi`, the wheels that hold CUDA's libraries.
fn wheels(
    program: &Program,
    arguments: &InstallArguments,
    client: &Client,
    cuda: Option<CudaVersion>,
) -> Result<Vec<Artifact>, Failure> {
    let (CudartSource::Pypi, Some(cuda)) = (arguments.cudart, cuda) else { return Ok(Vec::new()) };
    let index = program.host.text_variable(environment::PIP_INDEX_URL.name);
    let index = index.as_deref().unwrap_or(pypi::PUBLIC_URL);
    let machine = Machine::new(&program.facts()?, Vec::new());
    Ok(pypi::wheels(client, index, cuda, machine.system, &machine.arch)?)
}

pub(super) fn wanted(name: BackendName) -> Wanted {
    match name {
        BackendName::Auto => Wanted::Auto,
        BackendName::Cuda => Wanted::Cuda,
        BackendName::Cuda12 => Wanted::CudaMajor(12),
        BackendName::Cuda13 => Wanted::CudaMajor(13),
        BackendName::Vulkan => Wanted::Vulkan,
        BackendName::Cpu => Wanted::Cpu,
    }
}

fn place(program: &Program) -> Place {
    let variable = |variable: environment::Variable| program.host.text_variable(variable.name);
    Place {
        base: variable(environment::LLAMA_DOCTOR_GITHUB_URL),
        api: variable(environment::LLAMA_DOCTOR_GITHUB_API_URL),
        token: variable(environment::GH_TOKEN).or_else(|| variable(environment::GITHUB_TOKEN)),
        hosts: program.allowed_hosts(),
    }
}

/// The build, if it is installed from the very same files and nothing of it has changed.
fn intact<'a>(
    store: &Store,
    id: &str,
    mut wanted: impl Iterator<Item = &'a Artifact>,
) -> Result<Option<Installed>, Failure> {
    let installed = match store.find(id) {
        Ok(installed) => installed,
        Err(InstallError::NoBuild { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let digest = |name: &str| {
        let known = installed.receipt.ingredients.iter().find(|ingredient| ingredient.name == name);
        known.map(|ingredient| ingredient.sha256)
    };
    let same = wanted.all(|artifact| artifact.sha256.is_some() && artifact.sha256 == digest(&artifact.name));
    let whole = same && installed.receipt.differences(&installed.path, false)?.is_empty();
    Ok(whole.then_some(installed))
}

fn from_disk(program: &Program, arguments: &InstallArguments, store: &Store) -> Result<ExitCode, Failure> {
    let (name, mut archives) = fetch::from_disk(&arguments.from)?;
    if arguments.cudart == CudartSource::Pypi && !arguments.dry_run {
        let client = program.client()?;
        let progress = Reporter::new(program.printer);
        for wheel in wheels(program, arguments, &client, name.cuda)? {
            let cache = store.archives();
            archives.push(fetch::fetch(&client, Redirects::Any, &wheel, Role::Runtime, &cache, false, &progress)?);
        }
    }
    let (tag, backend) = (name.tag.clone().unwrap_or_else(|| "unknown".to_owned()), name.label());
    let machine = machine(program)?;
    let mut warnings = Vec::new();
    if name.system != Some(machine.system) || name.arch != machine.arch {
        let system = choose::system_name(machine.system);
        warnings.push(format!("`{}` is not for {system} on {}", name.name, machine.arch));
    }
    if name.backend == "cuda" && !archives.iter().any(|archive| archive.role == Role::Runtime) {
        warnings.push(
            "without the archive of CUDA's libraries (cudart-llama-...), those of the system must serve".to_owned(),
        );
    }
    let mut report = InstallReport {
        schema: SCHEMA.to_owned(),
        tag: tag.clone(),
        assets: archives.iter().map(asset).collect(),
        backend: backend.clone(),
        reason: vec!["the archives were given; their digests have nothing to be compared with".to_owned()],
        rejected: Vec::<Rejected>::new(),
        warnings,
        notes: Vec::new(),
        installed: None,
    };
    talk(program, &report);
    if arguments.dry_run {
        print(program, &report, &decision(&report))?;
        return Ok(ExitCode::SUCCESS);
    }
    let installed = unpack(program, store, &tag, &backend, &archives)?;
    finish(program, store, &installed, &mut report)
}

fn asset(archive: &Archive) -> Asset {
    let path = std::path::absolute(&archive.path).unwrap_or_else(|_| archive.path.clone());
    Asset {
        name: archive.ingredient.name.clone(),
        url: url::Url::from_file_path(path).map(Into::into).unwrap_or_default(),
        size: Some(archive.ingredient.size),
        sha256: Some(archive.ingredient.sha256.to_string()),
    }
}

fn unpack(
    program: &Program,
    store: &Store,
    tag: &str,
    backend: &str,
    archives: &[Archive],
) -> Result<Installed, Failure> {
    program.printer.note(&format!("unpacking {tag} {backend}"));
    let lock = store.lock()?;
    let installed = stage::install(store, tag, backend, archives, &lock)?;
    for sentence in &installed.receipt.repaired {
        program.printer.warning(sentence);
    }
    for archive in archives.iter().filter(|archive| archive.role != Role::Runtime && archive.ingredient.url.is_some()) {
        // CUDA's libraries serve the next build too; the build itself is unpacked now.
        fs_err::remove_file(&archive.path)?;
    }
    Ok(installed)
}

/// Proves a build and puts it to use. One that fails stays where it is, unused.
fn finish(
    program: &Program,
    store: &Store,
    installed: &Installed,
    report: &mut InstallReport,
) -> Result<ExitCode, Failure> {
    let proof = proven(program, installed)?;
    let lock = store.lock()?;
    store.activate(installed, &lock)?;
    let outcome = Done {
        id: installed.receipt.id.clone(),
        path: installed.path.clone(),
        active: true,
        proof: proof.notes.into_iter().chain(signature(installed)).collect(),
    };
    let text = done(report, &outcome);
    report.installed = Some(outcome);
    print(program, report, &text)?;
    Ok(ExitCode::SUCCESS)
}

/// What the digests prove, and what they do not.
fn signature(installed: &Installed) -> Option<String> {
    let ingredients = &installed.receipt.ingredients;
    let from_network = ingredients.iter().any(|ingredient| ingredient.url.is_some());
    let checked = ingredients.iter().all(|ingredient| ingredient.checked);
    let digests = if checked {
        "size and sha256 are those that the source publishes"
    } else {
        "no published sha256 was compared"
    };
    from_network.then(|| format!("{digests}; signatures were not looked at"))
}

/// The proof of an installed build, or what speaks against it.
pub(super) fn proven(program: &Program, installed: &Installed) -> Result<Proof, Failure> {
    let (facts, gpus) = seen(program)?;
    let machinery = Machinery { host: &program.host, gpus: &gpus, driver: Driver::of_machine(&facts) };
    let planned = !program.global.gpu.is_empty() || program.global.facts.is_some();
    let proof = prove(&installed.path, &installed.receipt.backend, &machinery, planned)?;
    if proof.obstacles.is_empty() {
        return Ok(proof);
    }
    Err(InstallError::Unproven { id: installed.receipt.id.clone(), obstacles: proof.obstacles }.into())
}

fn talk(program: &Program, report: &InstallReport) {
    for note in &report.notes {
        program.printer.note(note);
    }
    for warning in &report.warnings {
        program.printer.warning(warning);
    }
}

fn print(program: &Program, report: &InstallReport, text: &str) -> Result<(), Failure> {
    if program.printer.json {
        return program.printer.json(report);
    }
    program.printer.answer(text);
    Ok(())
}
