//! `pull`: a model from a hub or an address into the shared cache, or into a folder.

use std::process::ExitCode;

use crate::cli::fit::FitArguments;
use crate::cli::pull::PullArguments;
use crate::command::{Program, fit};
use crate::failure::Failure;
use crate::gguf::Model;
use crate::manifest::models;
use crate::model::name::ModelName;
use crate::model::pull::{self, Options, PullError, Pulled};
use crate::model::repository::Repository;
use crate::model::{Place, ResolvedModel, catalogue_name, name};
use crate::net::client::Client;
use crate::report::progress::Reporter;
use crate::report::pull::Report;
use crate::report::repository::Largest;
use crate::source::huggingface;

pub fn run(program: &Program, arguments: &PullArguments) -> Result<ExitCode, Failure> {
    let options =
        Options { to: arguments.to.clone(), without_projector: arguments.no_mmproj, with_draft: arguments.draft };
    let client = program.client()?;
    let progress = Reporter::new(program.printer);
    let mut pulled = Vec::new();
    for text in &arguments.models {
        let mut one = one(program, &client, text, &options, &progress)?;
        if options.to.is_none() && !text.contains("://") {
            // The name leads to the file from now on, and reads better than its path.
            one.model.clone_from(text);
        }
        pulled.push(Report { largest: largest(program, &one), pulled: one });
    }
    crate::report::pull::print(program.printer, &pulled)?;
    Ok(ExitCode::SUCCESS)
}

/// What fits on the GPUs at hand. Without one, or for a file that cannot be planned, there is nothing to say.
fn largest(program: &Program, pulled: &Pulled) -> Option<Largest> {
    if !program.gpus().is_ok_and(|gpus| gpus.iter().any(|gpu| gpu.visible)) {
        return None;
    }
    let path = pulled.files.first()?.path.clone();
    let model = Model::open(&path).ok()?;
    let resolved =
        ResolvedModel { source: pulled.model.clone(), model, place: Place::Local(path), notes: Vec::new(), mtp: None };
    match fit::plan_of(program, &FitArguments::default(), &[resolved]) {
        Ok(plan) => Some(Largest::of(&plan, false)),
        Err(failure) => {
            program.printer.note(&format!("its memory cannot be foreseen: {failure}"));
            None
        }
    }
}

/// Pulls the model that `text` names; also what `setup` does.
pub fn one(
    program: &Program,
    client: &Client,
    text: &str,
    options: &Options,
    progress: &Reporter,
) -> Result<Pulled, Failure> {
    let endpoint = huggingface::endpoint(&program.host)?;
    let mut vouched = None;
    let name = match ModelName::parse(text, &endpoint)? {
        ModelName::Catalogue { name, quantization } => {
            vouched = models::file(&name, quantization.as_deref()).ok();
            catalogue_name(&name, quantization.as_deref())?
        }
        other => other,
    };
    match name {
        ModelName::File(path) => Err(PullError::Local(path).into()),
        ModelName::Url(url) => pull::from_url(program, client, &url, options, progress),
        ModelName::Hub { hub, repository, revision, selection } => {
            let mut repository = Repository::look(program, client, hub, &repository, revision.as_deref())?;
            if let Some(file) = vouched
                && let Some(sha256) = file.entry.sha256.get(&file.quantization)
            {
                repository.compare(&file.file_name, *sha256);
            }
            pull::from_repository(program, client, &repository, &selection, options, progress)
        }
        ModelName::Catalogue { .. } => Err(name::ModelNameError::Unknown(text.to_owned()).into()),
    }
}
