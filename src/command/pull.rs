//! `pull`: a model from a hub or an address into the shared cache, or into a folder.

use std::process::ExitCode;

use crate::cli::pull::PullArguments;
use crate::command::Program;
use crate::failure::Failure;
use crate::model::name::ModelName;
use crate::model::pull::{self, Options, PullError, Pulled};
use crate::model::repository::Repository;
use crate::model::{catalogue_name, name};
use crate::net::client::Client;
use crate::report::progress::Reporter;
use crate::source::huggingface;

pub fn run(program: &Program, arguments: &PullArguments) -> Result<ExitCode, Failure> {
    let options = Options { to: arguments.to.clone(), without_projector: arguments.no_mmproj };
    let client = program.client()?;
    let progress = Reporter::new(program.printer);
    let mut pulled = Vec::new();
    for text in &arguments.models {
        pulled.push(one(program, &client, text, &options, &progress)?);
    }
    crate::report::pull::print(program.printer, &pulled)?;
    Ok(ExitCode::SUCCESS)
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
    let name = match ModelName::parse(text, &endpoint)? {
        ModelName::Catalogue { name, quantization } => catalogue_name(&name, quantization.as_deref())?,
        other => other,
    };
    match name {
        ModelName::File(path) => Err(PullError::Local(path).into()),
        ModelName::Url(url) => pull::from_url(program, client, &url, options, progress),
        ModelName::Hub { hub, repository, revision, selection } => {
            let repository = Repository::look(program, client, hub, &repository, revision.as_deref())?;
            pull::from_repository(program, client, &repository, &selection, options, progress)
        }
        ModelName::Catalogue { .. } => Err(name::ModelNameError::Unknown(text.to_owned()).into()),
    }
}
