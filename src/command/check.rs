//! `check`: gather the facts, let the checks judge them, report.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::Program;
use crate::check::machine::Diagnosis;
use crate::check::{Selection, Status};
use crate::cli::check::CheckArguments;
use crate::failure::{Failure, Kind};
use crate::host::facts::Facts;
use crate::host::redaction::Redaction;
use crate::report;

pub(super) fn run(program: &Program, arguments: &CheckArguments) -> Result<ExitCode, Failure> {
    if arguments.list_checks {
        report::check::list(program.printer)?;
        return Ok(ExitCode::SUCCESS);
    }
    let selection = Selection::new(&arguments.only, &arguments.skip)?;
    if arguments.undo {
        super::fix::undo(program)?;
    }
    let mut facts = machine(program, &arguments.build)?;
    if arguments.fix && super::fix::fix(program, &facts, arguments.yes)? {
        facts = machine(program, &arguments.build)?;
    }
    let redaction = Redaction::of(&program.host);
    if let Some(path) = &arguments.save {
        redaction.value(&facts).map_err(internal)?.save(path)?;
        program.printer.note(&format!("recorded this machine in `{}`", path.display()));
    }
    let diagnosis = Diagnosis::of(&facts, &selection);
    if let Some(path) = &arguments.report {
        write_report(path, &redaction.value(&diagnosis).map_err(internal)?)?;
        program.printer.note(&format!("wrote `{}`", path.display()));
    }
    report::check::print(program.printer, &diagnosis)?;
    let worst = if arguments.strict { Status::Warn } else { Status::Fail };
    let failed = diagnosis.findings.iter().any(|finding| finding.status >= worst);
    Ok(ExitCode::from(u8::from(failed)))
}

fn internal(error: serde_json::Error) -> Failure {
    Failure::new(Kind::Internal, error)
}

fn write_report(path: &Path, diagnosis: &Diagnosis) -> Result<(), Failure> {
    let text = match path.extension().and_then(|extension| extension.to_str()) {
        Some("md") => report::bug_report::markdown(diagnosis),
        Some("html" | "htm") => report::bug_report::html(diagnosis),
        _ => {
            return Err(Failure::usage(format!("`{}` is neither a `.md` nor a `.html` file", path.display()))
                .hinted("name the report for instance `report.md`"));
        }
    };
    Ok(fs_err::write(path, text)?)
}

/// The machine and its builds, with the GPUs of `--gpu` in the place of its own. A recorded machine has its builds recorded.
pub(super) fn machine(program: &Program, builds: &[PathBuf]) -> Result<Facts, Failure> {
    let mut facts = program.facts()?;
    if !program.global.gpu.is_empty() {
        facts.gpus = program.gpus()?;
    }
    if program.global.facts.is_none() || !builds.is_empty() {
        crate::build::survey::survey(&mut facts, &program.host, &program.home()?, builds)?;
    }
    facts.builds_named |= !builds.is_empty();
    Ok(facts)
}
