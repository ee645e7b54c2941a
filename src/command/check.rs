//! `check`: gather the facts, let the checks judge them, report.

use std::process::ExitCode;

use super::Program;
use crate::check::machine::Diagnosis;
use crate::check::{Selection, Status};
use crate::cli::check::CheckArguments;
use crate::failure::Failure;
use crate::host::facts::Facts;
use crate::report;

pub(super) fn run(program: &Program, arguments: &CheckArguments) -> Result<ExitCode, Failure> {
    if arguments.list_checks {
        report::check::list(program.printer)?;
        return Ok(ExitCode::SUCCESS);
    }
    let selection = Selection::new(&arguments.only, &arguments.skip)?;
    let facts = machine(program)?;
    if let Some(path) = &arguments.save {
        facts.save(path)?;
        program.printer.note(&format!("recorded this machine in `{}`", path.display()));
    }
    let diagnosis = Diagnosis::of(&facts, &selection);
    report::check::print(program.printer, &diagnosis)?;
    let worst = if arguments.strict { Status::Warn } else { Status::Fail };
    let failed = diagnosis.findings.iter().any(|finding| finding.status >= worst);
    Ok(ExitCode::from(u8::from(failed)))
}

/// The machine, with the GPUs of `--gpu` in the place of its own.
fn machine(program: &Program) -> Result<Facts, Failure> {
    let mut facts = program.facts()?;
    if !program.global.gpu.is_empty() {
        facts.gpus = program.gpus()?;
    }
    Ok(facts)
}
