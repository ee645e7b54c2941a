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
        facts = machine(&program.looking_anew(), &arguments.build)?;
    }
    let redaction = Redaction::of(&program.host, &vocabulary());
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

/// What every machine's report says: the names of fields and their fixed values, and the texts of the checks.
fn vocabulary() -> String {
    let schemas = [schemars::schema_for!(Facts), schemars::schema_for!(Diagnosis)];
    let mut text: String = schemas.iter().filter_map(|schema| serde_json::to_string(schema).ok()).collect();
    for check in crate::check::ALL {
        text.extend([" ", check.id(), " ", check.title(), " ", check.explanation()]);
    }
    text
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

/// The machine and its builds, with the GPUs of `--gpu` in the place of its own. A recorded machine has its builds
/// recorded.
pub(super) fn machine(program: &Program, builds: &[PathBuf]) -> Result<Facts, Failure> {
    let home = program.home()?;
    let simulated = if program.global.gpu.is_empty() { None } else { Some(program.gpus()?) };
    let search = program.global.facts.is_none() || !builds.is_empty();
    let look = |facts: &mut Facts| {
        if let Some(gpus) = simulated {
            facts.gpus = gpus;
        }
        if search { crate::build::survey::survey(facts, &program.host, &home, builds) } else { Ok(()) }
    };
    let (mut facts, surveyed) = if program.global.facts.is_some() {
        let mut facts = program.facts()?;
        let surveyed = look(&mut facts);
        (facts, surveyed)
    } else {
        crate::host::observe_while(&program.host, &home, look)
    };
    surveyed?;
    facts.builds_named |= !builds.is_empty();
    Ok(facts)
}
