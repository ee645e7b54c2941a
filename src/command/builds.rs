//! `builds`: what is installed, and which of it is in use.

use std::process::ExitCode;

use super::Program;
use super::install::proven;
use crate::cli::builds::{BuildsAction, BuildsArguments};
use crate::failure::Failure;
use crate::install::InstallError;
use crate::install::store::{Installed, Store};
use crate::report::builds::{BuildsReport, Row, SCHEMA, human};

pub(super) fn run(program: &Program, arguments: &BuildsArguments) -> Result<ExitCode, Failure> {
    let store = Store::new(program.home()?);
    match arguments.action.clone().unwrap_or(BuildsAction::List) {
        BuildsAction::List => {}
        BuildsAction::Use { id, force } => {
            let lock = store.lock()?;
            let build = store.find(&id)?;
            if !force {
                proven(program, &build)?;
            }
            store.activate(&build, &lock)?;
            program.printer.note(&format!("{id} is in use"));
        }
        BuildsAction::Rollback => {
            let lock = store.lock()?;
            let build = store.roll_back(&lock)?;
            program.printer.note(&format!("{} is in use again", build.receipt.id));
        }
        BuildsAction::Remove { id } => {
            let lock = store.lock()?;
            let build = store.remove(&id, &lock)?;
            program.printer.note(&format!("{} is gone", build.receipt.id));
        }
        BuildsAction::Verify { id } => {
            let build = store.find(&id)?;
            let differences = build.receipt.differences(&build.path, true)?;
            if !differences.is_empty() {
                return Err(InstallError::Damaged { id, differences }.into());
            }
            let count = build.receipt.files.len();
            program.printer.note(&format!("{id} is as it was installed: {count} files, each with its sha256"));
        }
    }
    print(program, &store)
}

fn print(program: &Program, store: &Store) -> Result<ExitCode, Failure> {
    let current = store.current()?.map(|build| build.receipt.id);
    let row = |build: Installed| -> Result<Row, Failure> {
        Ok(Row {
            current: current.as_ref() == Some(&build.receipt.id),
            bytes: build.receipt.bytes(),
            differences: build.receipt.differences(&build.path, false)?,
            path: build.path,
            id: build.receipt.id,
            tag: build.receipt.tag,
            backend: build.receipt.backend,
            installed: build.receipt.installed,
        })
    };
    let builds = store.list()?.into_iter().map(row).collect::<Result<_, _>>()?;
    let report = BuildsReport { schema: SCHEMA.to_owned(), builds };
    if program.printer.json {
        program.printer.json(&report)?;
    } else {
        program.printer.answer(&human(&report));
    }
    Ok(ExitCode::SUCCESS)
}
