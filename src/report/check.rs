//! The doctor's answer for people: the verdict, the machine, the problems by weight, then what is fine.

use std::fmt::Write as _;

use serde::Serialize;

use super::printer::{Printer, Verbosity};
use super::text::{WIDTH, wrapped};
use crate::build::{Backend, BackendState};
use crate::check::machine::Diagnosis;
use crate::check::{ALL, Check, Finding, Group, Remedy, Status, VerdictStatus};
use crate::failure::Failure;
use crate::host::facts::{Fact, Gpu};

pub fn print(printer: Printer, diagnosis: &Diagnosis) -> Result<(), Failure> {
    if printer.json {
        return printer.json(diagnosis);
    }
    printer.answer(text(diagnosis, printer.verbosity).trim_end());
    Ok(())
}

/// The whole answer, without colour, at most 80 columns wide but for commands.
pub(super) fn text(diagnosis: &Diagnosis, verbosity: Verbosity) -> String {
    let mut text = String::new();
    let word = diagnosis.verdict.status.word();
    let _ = writeln!(text, "{}\n", wrapped(&format!("{word}  {}", diagnosis.verdict.summary), WIDTH, word.len() + 2));
    machine(&mut text, diagnosis, verbosity);
    problems(&mut text, diagnosis);
    match verbosity {
        Verbosity::Quiet => return text,
        Verbosity::Normal => healthy_groups(&mut text, diagnosis),
        Verbosity::Verbose => everything(&mut text, diagnosis),
    }
    let _ = write!(
        text,
        "\n{} checks passed, {} do not apply.",
        diagnosis.count(Status::Pass),
        diagnosis.count(Status::Skip)
    );
    if verbosity < Verbosity::Verbose {
        text.push_str(" Details: -v");
    }
    if let Some(first) = by_weight(diagnosis).first() {
        let _ = write!(text, "\nWhy: llama-doctor explain {}", first.id);
    }
    text.push('\n');
    text
}

fn machine(text: &mut String, diagnosis: &Diagnosis, verbosity: Verbosity) {
    for gpu in &diagnosis.gpus {
        let label = gpu.id.strip_prefix("CUDA").map_or_else(|| "GPU -".to_owned(), |number| format!("GPU {number}"));
        let _ = writeln!(text, "{label:<8}{}", wrapped(&describe(gpu), WIDTH - 8, 8));
    }
    match (&diagnosis.driver.version, &diagnosis.driver.cuda) {
        (Fact::Known { value: version, .. }, Fact::Known { value: cuda, .. }) => {
            let _ = writeln!(text, "Driver  {version}, runs CUDA up to {cuda}");
        }
        (Fact::Known { value: version, .. }, Fact::Unknown { .. }) => {
            let _ = writeln!(text, "Driver  {version}");
        }
        // The reason stands among the problems, if it is one.
        (Fact::Unknown { .. }, _) => {}
    }
    build(text, diagnosis, verbosity);
    let host = &diagnosis.host;
    let parts: Vec<String> = [
        host.distribution.value().cloned(),
        host.libc.value().cloned(),
        host.cpu.value().cloned(),
        host.memory_total.value().map(|total| format!("{total} RAM")),
    ]
    .into_iter()
    .flatten()
    .collect();
    if !parts.is_empty() {
        let _ = writeln!(text, "System  {}", wrapped(&parts.join(", "), WIDTH - 8, 8));
    }
}

/// The build that the verdict is about: what it is, what its CUDA file holds, what became of loading it; with `-v` also
/// what it says of itself.
fn build(text: &mut String, diagnosis: &Diagnosis, verbosity: Verbosity) {
    let wanted = diagnosis.verdict.build.as_ref();
    let Some(build) = diagnosis.builds.iter().find(|build| Some(&build.path) == wanted) else { return };
    let version = build.version.as_deref().unwrap_or("of unknown version");
    let _ = writeln!(text, "Build   {}", wrapped(&format!("{version}, {}", build.path.display()), WIDTH - 8, 8));
    if let Some(cuda) = build.backend("CUDA") {
        backend(text, cuda);
    }
    if let Some(info) = build.system_info.as_ref().filter(|_| verbosity == Verbosity::Verbose) {
        let _ = writeln!(
            text,
            "        {}",
            wrapped(&format!("says: {}", info.trim_end_matches([' ', '|'])), WIDTH - 8, 8)
        );
    }
}

fn backend(text: &mut String, cuda: &Backend) {
    let proof = match cuda.state {
        BackendState::Works => "works",
        BackendState::Loads => "loads",
        BackendState::Blocked => "cannot be used",
        BackendState::Absent => "absent",
    };
    let major = cuda.runtime_major.map_or_else(String::new, |major| format!(" {major}"));
    let line = format!("CUDA{major} {proof}: {}", cuda.reason);
    let _ = writeln!(text, "        {}", wrapped(&line, WIDTH - 8, 8));
    // What the reason says already of one card need not stand there twice.
    for verdict in cuda.per_gpu.iter().filter(|verdict| !cuda.reason.contains(&verdict.reason)) {
        let _ = writeln!(text, "        {}", wrapped(&format!("{}: {}", verdict.gpu, verdict.reason), WIDTH - 8, 8));
    }
}

fn describe(gpu: &Gpu) -> String {
    let capability = gpu.compute_capability.map(|capability| format!(", compute {capability}")).unwrap_or_default();
    // A card that is split is no device itself; its instances are.
    let split = gpu.mig_enabled.value() == Some(&true) && !gpu.name.contains(" MIG ");
    let hidden = match (gpu.visible, split) {
        (true, _) => "",
        (false, true) => ", split by MIG",
        (false, false) => ", hidden by CUDA_VISIBLE_DEVICES",
    };
    format!("{}, {} ({:.1} free){capability}{hidden}", gpu.name, gpu.total, gpu.free.gib())
}

fn by_weight(diagnosis: &Diagnosis) -> Vec<&Finding> {
    crate::check::problems(&diagnosis.findings)
}

fn problems(text: &mut String, diagnosis: &Diagnosis) {
    for (number, finding) in by_weight(diagnosis).into_iter().enumerate() {
        let _ = writeln!(text, "\n{:<3}{}  {}", number + 1, finding.status.word(), finding.id);
        let _ = writeln!(text, "   {}", wrapped(&finding.summary, WIDTH - 3, 3));
        for evidence in &finding.evidence {
            let seen = if evidence.r#where.is_empty() {
                evidence.what.clone()
            } else {
                format!("{} ({})", evidence.what, evidence.r#where)
            };
            let _ = writeln!(text, "     {}", wrapped(&seen, WIDTH - 5, 5));
        }
        for remedy in &finding.remedies {
            let _ = writeln!(text, "   > {}", wrapped(&title(remedy), WIDTH - 5, 5));
            if !remedy.command.is_empty() {
                let _ = writeln!(text, "       {}", remedy.command);
            }
        }
    }
}

fn title(remedy: &Remedy) -> String {
    if remedy.command.is_empty() { remedy.title.clone() } else { format!("{}:", remedy.title) }
}

fn group_of(finding: &Finding) -> Option<Group> {
    crate::check::find(&finding.id).map(Check::group)
}

fn healthy_groups(text: &mut String, diagnosis: &Diagnosis) {
    if diagnosis.verdict.status != VerdictStatus::Ready || !by_weight(diagnosis).is_empty() {
        text.push('\n');
    } else {
        text.push_str("\nNothing is wrong.\n");
    }
    for group in Group::ALL {
        let of_group: Vec<&Finding> =
            diagnosis.findings.iter().filter(|finding| group_of(finding) == Some(*group)).collect();
        let passed = of_group.iter().filter(|finding| finding.status == Status::Pass).count();
        if passed > 0 && of_group.iter().all(|finding| finding.status <= Status::Skip) {
            let checks = if passed == 1 { "check" } else { "checks" };
            let _ = writeln!(text, "ok      {:<12} {passed} {checks}", group.name());
        }
    }
}

fn everything(text: &mut String, diagnosis: &Diagnosis) {
    for group in Group::ALL {
        let mut named = false;
        let mut moot: std::collections::BTreeMap<&str, usize> = std::collections::BTreeMap::new();
        for finding in &diagnosis.findings {
            if group_of(finding) != Some(*group) || finding.status > Status::Skip {
                continue;
            }
            if !named {
                let _ = writeln!(text, "\n{}", group.name());
                named = true;
            }
            if finding.status == Status::Skip && finding.summary.starts_with("moot:") {
                *moot.entry(&finding.summary).or_default() += 1;
                continue;
            }
            let line = format!("{}  {}: {}", finding.status.word(), finding.id, finding.summary);
            let _ = writeln!(text, "  {}", wrapped(&line, WIDTH - 2, 8));
        }
        for (why, count) in moot {
            let _ = writeln!(text, "  skip  {count} more are {why}");
        }
    }
}

/// `--list-checks`.
pub fn list(printer: Printer) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Listed {
        id: &'static str,
        group: Group,
        title: &'static str,
    }
    let listed: Vec<Listed> =
        ALL.iter().map(|check| Listed { id: check.id(), group: check.group(), title: check.title() }).collect();
    if printer.json {
        return printer.json(&listed);
    }
    let mut text = String::new();
    for group in Group::ALL {
        let of_group: Vec<&&dyn Check> = ALL.iter().filter(|check| check.group() == *group).collect();
        if of_group.is_empty() {
            continue;
        }
        let _ = writeln!(text, "{}", group.name());
        for check in of_group {
            let _ = writeln!(text, "  {:<28} {}", check.id(), wrapped(check.title(), WIDTH - 31, 31));
        }
    }
    printer.answer(text.trim_end());
    Ok(())
}
