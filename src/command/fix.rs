//! `check --fix` and `--undo`: show each repair, ask, do it, remember it.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use super::Program;
use crate::cli::install::{BackendName, InstallArguments};
use crate::failure::Failure;
use crate::host::facts::Facts;
use crate::install::repair::{self, Repair, Step};
use crate::install::store::Store;

/// Whether anything was mended.
pub(super) fn fix(program: &Program, facts: &Facts, yes: bool) -> Result<bool, Failure> {
    let store = Store::new(program.home()?);
    let repairs = repair::plan(facts, &store)?;
    if repairs.is_empty() {
        program
            .printer
            .note("nothing here can be mended by `--fix`: it touches only what llama-doctor itself installed");
        return Ok(false);
    }
    let mut mended = false;
    for repair in &repairs {
        if !allowed(program, repair, yes) {
            continue;
        }
        if let Repair::Companion { id, tag, major } = repair {
            bring_companion(program, &store, id, tag, *major)?;
        } else {
            let lock = store.lock()?;
            if let Some(step) = repair::apply(repair, &store, &lock)? {
                repair::remember(&store, step)?;
            }
        }
        mended = true;
        program.printer.note(&format!("done: {}", repair.describe()));
    }
    if mended {
        program.printer.note("`llama-doctor check --undo` takes it back");
    }
    Ok(mended)
}

/// Asks on the terminal. Without one, nothing is done unless `--yes` was given.
fn allowed(program: &Program, repair: &Repair, yes: bool) -> bool {
    let what = repair.describe();
    if yes {
        return true;
    }
    if !std::io::stdin().is_terminal() {
        program.printer.note(&format!("would {what}: `--yes` does it without a terminal to ask on"));
        return false;
    }
    program.printer.note(&format!("{what}? [y/N]"));
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}

/// The same official build again, this time with its companion archive; the files that were not there before are
/// what `--undo` removes.
fn bring_companion(program: &Program, store: &Store, id: &str, tag: &str, major: u32) -> Result<(), Failure> {
    let files = |store: &Store| -> Result<Vec<PathBuf>, Failure> {
        let folder = store.find(id)?.path;
        Ok(fs_err::read_dir(folder)?.flatten().map(|entry| entry.path()).collect())
    };
    let before = files(store)?;
    let arguments = InstallArguments {
        version: tag.to_owned(),
        backend: if major >= 13 { BackendName::Cuda13 } else { BackendName::Cuda12 },
        ..InstallArguments::default()
    };
    super::install::install(program, &arguments)?;
    let added: Vec<PathBuf> = files(store)?.into_iter().filter(|path| !before.contains(path)).collect();
    Ok(repair::remember(store, Step::Added { files: added })?)
}

pub(super) fn undo(program: &Program) -> Result<(), Failure> {
    let store = Store::new(program.home()?);
    let lock = store.lock()?;
    let done = repair::undo(&store, &lock)?;
    if done.is_empty() {
        program.printer.note("`--fix` has done nothing that could be taken back");
    }
    for what in done {
        program.printer.note(&what);
    }
    Ok(())
}
