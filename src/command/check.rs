//! `check`: gather the facts, let the checks judge them, report.

use std::path::PathBuf;
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
    let facts = machine(program, &arguments.build)?;
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

/// The machine and its builds, with the GPUs of `--gpu` in the place of its own. A recorded machine has its builds recorded.
fn machine(program: &Program, builds: &[PathBuf]) -> Result<Facts, Failure> {
    let mut facts = program.facts()?;
    if !program.global.gpu.is_empty() {
        facts.gpus = program.gpus()?;
    }
    if program.global.facts.is_none() || !builds.is_empty() {
        crate::build::survey::survey(&mut facts, &program.host, &program.home()?, builds)?;
    }
    Ok(facts)
}
