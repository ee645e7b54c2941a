//! `explain`: one check in prose.

use std::process::ExitCode;

use super::Program;
use crate::check::Selection;
use crate::cli::explain::ExplainArguments;
use crate::failure::Failure;
use crate::report;

pub(super) fn run(program: &Program, arguments: &ExplainArguments) -> Result<ExitCode, Failure> {
    // A group's name is no check's, and a name that is neither gets the nearest ones as a hint.
    let known = Selection::new(std::slice::from_ref(&arguments.id), &[]).map(|_| crate::check::find(&arguments.id));
    match known? {
        Some(check) => report::explain::print(program.printer, check)?,
        None => {
            return Err(Failure::usage(format!("`{}` is a group of checks", arguments.id))
                .hinted("`llama-doctor check --list-checks` lists the checks in it"));
        }
    }
    Ok(ExitCode::SUCCESS)
}
