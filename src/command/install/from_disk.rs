//! `install --from`: the official archives that the user has.

use super::attestations::Attestations;
use super::{finish, machine, place, unpack, wheels};
use crate::cli::install::{AttestationPolicy, CudartSource, InstallArguments};
use crate::command::Program;
use crate::failure::Failure;
use crate::install::choose;
use crate::install::fetch::{self, Archive};
use crate::install::store::Store;
use crate::manifest::releases::Role;
use crate::net::redirect::Redirects;
use crate::report;
use crate::report::install::{Asset, InstallReport, SCHEMA};
use crate::report::progress::Reporter;
use crate::source::github::Github;

pub(super) fn install(
    program: &Program,
    arguments: &InstallArguments,
    store: &Store,
) -> Result<InstallReport, Failure> {
    let (name, mut archives) = fetch::from_disk(&arguments.from)?;
    attest(program, arguments, store, &mut archives)?;
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
        rejected: Vec::new(),
        warnings,
        notes: Vec::new(),
        installed: None,
    };
    report::install::talk(program.printer, &report);
    if arguments.dry_run {
        return Ok(report);
    }
    let installed = unpack(program, store, &tag, &backend, &archives)?;
    finish(program, store, &installed, &mut report)?;
    Ok(report)
}

fn attest(
    program: &Program,
    arguments: &InstallArguments,
    store: &Store,
    archives: &mut [Archive],
) -> Result<(), Failure> {
    let attestations = Attestations::new(arguments.attestation, program)?;
    // Archives on the disk need no network, unless it alone can give what is required.
    let github = match arguments.attestation {
        AttestationPolicy::Require => Some(Github::new(&program.client()?, place(program), &store.answers())?),
        _ => None,
    };
    for archive in archives {
        let ingredient = &mut archive.ingredient;
        ingredient.attested =
            attestations.of_file(github.as_ref(), &archive.path, &ingredient.name, ingredient.sha256)?;
    }
    Ok(())
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
