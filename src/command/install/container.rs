//! `install --container`: the build out of the project's image, for releases without an archive that runs here.

use super::{finish, machine, unpack, version, wanted};
use crate::cli::install::InstallArguments;
use crate::command::Program;
use crate::failure::Failure;
use crate::host::environment;
use crate::install::choose;
use crate::install::fetch;
use crate::install::stage;
use crate::install::store::Store;
use crate::manifest::releases::releases;
use crate::report;
use crate::report::install::{Asset, InstallReport, SCHEMA};
use crate::report::progress::Reporter;
use crate::source::container::{Layer, PUBLIC_URL, Registry};
use crate::source::github::{Github, Version};

pub(super) fn install(
    program: &Program,
    arguments: &InstallArguments,
    store: &Store,
    github: &Github,
) -> Result<InstallReport, Failure> {
    let machine = machine(program)?;
    let (image, reason) = choose::choose_image(wanted(arguments.backend), &machine)?;
    let version = version(arguments)?;
    let (release, mut notes) = github.find(version, &|_| true)?;
    let client = program.client()?;
    let base = program.host.text_variable(environment::LLAMA_DOCTOR_CONTAINER_URL.name);
    let hosts = releases().registry.hosts.iter().cloned().chain(program.allowed_hosts()).collect();
    let base = base.as_deref().unwrap_or(PUBLIC_URL);
    let registry = Registry::new(&client, base, &releases().repository, hosts);
    let mut tags = vec![format!("{}-{}", image.tag, release.tag)];
    if !matches!(version, Version::Exact(_)) {
        tags.push(image.tag.clone());
    }
    let found = registry.image(&tags, &machine.arch)?;
    if found.tag != tags[0] {
        notes.push(format!("{} has no image; the newest image is taken", release.tag));
    }
    let is_exact = found.tag == tags[0];
    let tag = found.version.clone().filter(|_| !is_exact).unwrap_or_else(|| release.tag.clone());
    let backend = format!("cuda-{}", image.cuda);
    let mut report = InstallReport {
        schema: SCHEMA.to_owned(),
        tag: tag.clone(),
        assets: found.layers.iter().map(asset).collect(),
        backend: backend.clone(),
        reason: reason.into_iter().chain([format!("taken out of the container image {}", found.tag)]).collect(),
        rejected: Vec::new(),
        warnings: Vec::new(),
        notes,
        installed: None,
    };
    report::install::talk(program.printer, &report);
    if arguments.dry_run {
        return Ok(report);
    }
    stage::check_room(store, found.layers.iter().map(|layer| layer.size).fold(0, u64::saturating_add))?;
    let progress = Reporter::new(program.printer);
    let mut archives = Vec::new();
    for layer in &found.layers {
        let (redirects, secret) = (registry.redirects(), found.secret.clone());
        archives.push(fetch::fetch_layer(&client, redirects, layer, secret, &store.archives(), &progress)?);
    }
    let installed = unpack(program, store, &tag, &backend, &archives)?;
    finish(program, store, &installed, &mut report)?;
    Ok(report)
}

fn asset(layer: &Layer) -> Asset {
    let digest = layer.sha256.to_string();
    Asset {
        name: format!("layer-{}.tar.gz", &digest[..16]),
        url: layer.url.to_string(),
        size: Some(layer.size),
        sha256: Some(digest),
    }
}
