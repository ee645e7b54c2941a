//! `check --fix` and `--undo`: show each repair, ask, do it, remember it.

use std::io::IsTerminal as _;

use super::Program;
use crate::failure::Failure;
use crate::host::facts::Facts;
use crate::install::choose::{self, Machine};
use crate::install::fetch;
use crate::install::repair::{self, Repair, Step};
use crate::install::store::Store;
use crate::manifest::releases::{AssetName, Role};
use crate::report::progress::Reporter;
use crate::source::github::{Github, Version};

/// Whether anything was mended.
pub(super) fn fix(program: &Program, facts: &Facts, yes: bool) -> Result<bool, Failure> {
    if program.global.facts.is_some() {
        return Err(
            Failure::usage("`--fix` mends this machine, and `--facts` shows another one").hinted("leave `--facts` out")
        );
    }
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
        let step = if let Repair::Companion { id, .. } = repair {
            bring_companion(program, facts, &store, id)?
        } else {
            repair::apply(repair, &store, &store.lock()?)?
        };
        let Some(step) = step else { continue };
        repair::remember(&store, step)?;
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
        program.printer.note(&format!("next: {what}"));
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

/// Downloads CUDA's libraries from the release that the build came from, and puts them beside it.
fn bring_companion(program: &Program, facts: &Facts, store: &Store, id: &str) -> Result<Option<Step>, Failure> {
    let receipt = store.find(id)?.receipt;
    let client = program.client()?;
    let github = Github::new(&client, super::install::place(program), &store.answers())?;
    let (release, _) = github.find(Version::Exact(receipt.tag.parse()?), &|_| true)?;
    let build = receipt.ingredients.iter().find_map(|known| AssetName::parse(&known.name));
    let machine = Machine::new(facts, Vec::new());
    let Some(companion) = build.and_then(|build| choose::runtime_for(&release, &build, &machine)) else {
        program.printer.warning(&format!(
            "release {} has no archive of CUDA's libraries for {id}: `llama-doctor install --cudart pypi` brings others",
            release.tag
        ));
        return Ok(None);
    };
    let progress = Reporter::new(program.printer);
    let (redirects, cache) = (github.redirects(), store.archives());
    let mut archive = fetch::fetch(&client, redirects, &companion, Role::Runtime, &cache, false, &progress)?;
    super::install::attest(program, &github, &mut archive)?;
    Ok(repair::add_companion(id, &archive, store, &store.lock()?)?)
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
