//! `models`: what is on this machine, whether it is still what it was, and away with what we brought.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::cli::models::{ModelsAction, ModelsArguments};
use crate::command::Program;
use crate::failure::{Failure, Kind};
use crate::model::discover::{self, FoundFile, FoundModel};
use crate::model::hash::sha256_of;
use crate::model::receipts::Receipts;
use crate::model::remove::{RemoveError, remove};
use crate::report::models::{self as report, Health, Verified};
use crate::report::progress::Reporter;

pub(super) fn run(program: &Program, arguments: &ModelsArguments) -> Result<ExitCode, Failure> {
    let home = program.home()?;
    let receipts = Receipts::in_home(&home);
    let all = discover::all(&program.host, &home, &receipts.read()?);
    match &arguments.action {
        None | Some(ModelsAction::List) => report::list(program.printer, &all)?,
        Some(ModelsAction::Verify { models }) => return verify(program, &meant(&all, models)?),
        Some(ModelsAction::Remove { models, dry_run }) => {
            let chosen = meant(&all, models)?;
            if let Some(foreign) = chosen.iter().find(|model| !model.removable) {
                return Err(RemoveError::NotOurs { name: foreign.name.clone(), keeper: foreign.keeper.name() }.into());
            }
            let paths: Vec<PathBuf> =
                chosen.iter().flat_map(|model| &model.files).map(|file| file.path.clone()).collect();
            let freed = if *dry_run { None } else { Some(remove(&program.host, &home, &paths)?) };
            if freed.is_some() {
                receipts.forget(&paths)?;
            }
            report::removed(program.printer, &chosen, freed)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The models that were named; all, when none was.
fn meant<'a>(all: &'a [FoundModel], names: &[String]) -> Result<Vec<&'a FoundModel>, Failure> {
    if names.is_empty() {
        return Ok(all.iter().collect());
    }
    let mut chosen = Vec::new();
    for name in names {
        let before = chosen.len();
        chosen.extend(all.iter().filter(|model| model.is_meant_by(name)));
        if chosen.len() == before {
            return Err(RemoveError::Unknown(name.clone()).into());
        }
    }
    Ok(chosen)
}

fn verify(program: &Program, models: &[&FoundModel]) -> Result<ExitCode, Failure> {
    let progress = Reporter::new(program.printer);
    let mut verified = Vec::new();
    for model in models {
        let mut health = Health::Unknown;
        let mut problem = model.problem.clone();
        for FoundFile { path, sha256, .. } in model.files.iter().filter(|_| model.problem.is_none()) {
            let Some(expected) = sha256 else { continue };
            let name = path.file_name().unwrap_or(Path::new("").as_os_str()).to_string_lossy();
            let actual = sha256_of(path, &name, &progress)?;
            if actual == *expected {
                health = Health::Good;
            } else {
                problem = Some(format!("`{name}` has sha256 {actual}, and {expected} was promised"));
                break;
            }
        }
        if problem.is_some() {
            health = Health::Damaged;
        }
        verified.push(Verified { model, health, problem });
    }
    report::verified(program.printer, &verified)?;
    let is_damaged = verified.iter().any(|one| one.health == Health::Damaged);
    Ok(if is_damaged { ExitCode::from(Kind::Integrity as u8) } else { ExitCode::SUCCESS })
}
