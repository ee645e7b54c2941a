//! `install`: find the release, choose, download, unpack, prove, put to use.

use std::process::ExitCode;

use super::Program;
use crate::build::examine::Machinery;
use crate::cli::install::{AttestationPolicy, BackendName, CudartSource, InstallArguments};
use crate::failure::Failure;
use crate::host::facts::{Facts, Gpu};
use crate::host::{environment, replace};
use crate::install::InstallError;
use crate::install::choose::{self, Choice, Machine, Wanted};
use crate::install::fetch::{self, Archive};
use crate::install::prove::{Proof, prove};
use crate::install::stage;
use crate::install::store::{Installed, Store};
use crate::manifest::releases::Role;
use crate::net::client::Client;
use crate::net::redirect::Redirects;
use crate::report;
use crate::report::install::{Asset, Done, InstallReport};
use crate::report::progress::Reporter;
use crate::source::github::{Artifact, Github, Place, Version};
use crate::source::pypi;
use crate::units::CudaVersion;

mod attestations;
mod container;
mod from_disk;

use attestations::Attestations;

pub(super) fn run(program: &Program, arguments: &InstallArguments) -> Result<ExitCode, Failure> {
    let report = install(program, arguments)?;
    report::install::print(program.printer, &report)?;
    Ok(ExitCode::SUCCESS)
}

/// Brings what the arguments mean and puts it to use; with `dry_run`, only says what that would be. Other commands that
/// need a build call this too.
pub(super) fn install(program: &Program, arguments: &InstallArguments) -> Result<InstallReport, Failure> {
    let store = Store::new(program.home()?);
    if !arguments.from.is_empty() {
        return from_disk::install(program, arguments, &store);
    }
    let client = program.client()?;
    let github = Github::new(&client, place(program), &store.answers())?;
    if arguments.container {
        return container::install(program, arguments, &store, &github);
    }
    let (mut choice, notes) = decide(program, arguments, &github)?;
    let wheels = wheels(program, arguments, &client, choice.cuda)?;
    if !wheels.is_empty() {
        choice.runtime = None;
        choice.warnings.retain(|warning| !warning.contains("no archive of CUDA's libraries"));
    }
    let mut report = InstallReport::of(&choice, notes);
    report.assets.extend(wheels.iter().map(Asset::of));
    report::install::talk(program.printer, &report);
    if arguments.dry_run {
        return Ok(report);
    }
    let attestations = Attestations::new(arguments.attestation, program)?;
    let id = format!("{}-{}", choice.tag, choice.backend);
    let installed = if let Some(installed) =
        intact(&store, &id, std::iter::once(&choice.build).chain(&choice.runtime).chain(&wheels))?
    {
        program.printer.note(&format!("{id} is here already"));
        // A kill between unpacking and use leaves the archive.
        fetch::forget(&choice.build, &store.archives())?;
        installed
    } else {
        let wanted = std::iter::once(&choice.build).chain(&choice.runtime).chain(&wheels);
        stage::check_room(&store, wanted.filter_map(|artifact| artifact.size).fold(0, u64::saturating_add))?;
        let progress = Reporter::new(program.printer);
        let (cache, digestless) = (store.archives(), arguments.allow_missing_digest);
        let bring = |artifact: &Artifact, role| -> Result<Archive, Failure> {
            let attested = |digest| attestations.of_release(&github, &artifact.name, digest);
            // Asked before the download where the digest is known: what is refused need not come.
            let known = artifact.sha256.map(attested).transpose()?;
            let mut archive = fetch::fetch(&client, github.redirects(), artifact, role, &cache, digestless, &progress)?;
            archive.ingredient.attested = known.map_or_else(|| attested(archive.ingredient.sha256), Ok)?;
            Ok(archive)
        };
        let mut archives = vec![bring(&choice.build, Role::Build)?];
        if let Some(runtime) = &choice.runtime {
            archives.push(bring(runtime, Role::Runtime)?);
        }
        for wheel in &wheels {
            // A wheel comes from wherever the index says; its digest is the index's word.
            archives.push(fetch::fetch(&client, Redirects::Any, wheel, Role::Runtime, &cache, false, &progress)?);
        }
        unpack(program, &store, &choice.tag, &choice.backend, &archives)?
    };
    finish(program, &store, &installed, &mut report)?;
    Ok(report)
}

/// Writes down who attests to a file that a repair brought, as an installation would.
pub(super) fn attest(program: &Program, github: &Github, archive: &mut Archive) -> Result<(), Failure> {
    let attestations = Attestations::new(AttestationPolicy::Auto, program)?;
    let known = attestations.of_release(github, &archive.ingredient.name, archive.ingredient.sha256)?;
    archive.ingredient.attested = known;
    Ok(())
}

/// The release and the files of it that run here.
fn decide(program: &Program, arguments: &InstallArguments, github: &Github) -> Result<(Choice, Vec<String>), Failure> {
    let machine = machine(program)?;
    let wanted = wanted(arguments.backend);
    let (release, notes) =
        github.find(version(arguments)?, &|release| choose::is_complete(release, wanted, &machine))?;
    Ok((choose::choose(&release, wanted, &machine)?, notes))
}

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
        other => Version::Exact(other.parse().map_err(|error| {
            Failure::usage(error).hinted("`stable`, the default, is the newest release, and `nightly` the newest build")
        })?),
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

fn wanted(name: BackendName) -> Wanted {
    match name {
        BackendName::Auto => Wanted::Auto,
        BackendName::Cuda => Wanted::Cuda,
        BackendName::Cuda12 => Wanted::CudaMajor(12),
        BackendName::Cuda13 => Wanted::CudaMajor(13),
        BackendName::Vulkan => Wanted::Vulkan,
        BackendName::Cpu => Wanted::Cpu,
    }
}

pub(super) fn place(program: &Program) -> Place {
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
        replace::remove_file(&archive.path)?;
    }
    Ok(installed)
}

/// Proves a build and puts it to use. One that fails stays where it is, unused.
fn finish(program: &Program, store: &Store, installed: &Installed, report: &mut InstallReport) -> Result<(), Failure> {
    let proof = proven(program, installed)?;
    let lock = store.lock()?;
    store.activate(installed, &lock)?;
    report.installed = Some(Done {
        id: installed.receipt.id.clone(),
        path: installed.path.clone(),
        active: true,
        proof: proof.notes.into_iter().chain(attestations::summary(installed)).collect(),
    });
    Ok(())
}

/// The proof of an installed build, or what speaks against it.
pub(super) fn proven(program: &Program, installed: &Installed) -> Result<Proof, Failure> {
    let (facts, gpus) = seen(program)?;
    let machinery = Machinery { gpus: &gpus, ..Machinery::of(&facts, &program.host) };
    let planned = !program.global.gpu.is_empty() || program.global.facts.is_some();
    let proof = prove(&installed.path, &installed.receipt.backend, &machinery, planned)?;
    if proof.obstacles.is_empty() {
        return Ok(proof);
    }
    Err(InstallError::Unproven { id: installed.receipt.id.clone(), obstacles: proof.obstacles }.into())
}
