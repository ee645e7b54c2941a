//! Recorded machines, each with exactly the findings that a good support engineer would name: a false alarm is a bug.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its machines has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use llama_doctor::check::machine::Diagnosis;
use llama_doctor::check::{ALL, Selection, Status, VerdictStatus};
use llama_doctor::host::facts::Facts;
use serde::Deserialize;

/// What stands beside the facts in each file.
#[derive(Deserialize)]
struct Recorded {
    story: String,
    expect: Expected,
}

#[derive(Deserialize)]
struct Expected {
    verdict: VerdictStatus,
    findings: BTreeMap<String, Status>,
}

fn machines() -> Vec<(PathBuf, Recorded, Diagnosis)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/machines");
    let mut paths: Vec<PathBuf> = fs_err::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path: PathBuf| {
        let recorded: Recorded = serde_json::from_str(&fs_err::read_to_string(&path).unwrap()).unwrap();
        let facts = Facts::load(&path).unwrap();
        let diagnosis = Diagnosis::of(&facts, &Selection::default());
        (path, recorded, diagnosis)
    };
    paths.into_iter().map(read).collect()
}

#[test]
fn each_machine_has_the_findings_expected_and_no_other() {
    let mut wrong = Vec::new();
    let machines = machines();
    assert!(machines.len() >= 40);
    for (path, recorded, diagnosis) in &machines {
        let mut found: BTreeMap<String, Status> = BTreeMap::new();
        for finding in diagnosis.findings.iter().filter(|finding| finding.status >= Status::Warn) {
            let status = found.entry(finding.id.clone()).or_insert(finding.status);
            *status = finding.status.max(*status);
        }
        if found != recorded.expect.findings || diagnosis.verdict.status != recorded.expect.verdict {
            wrong.push(format!(
                "{} ({}): {:?} {found:?}, expected {:?} {:?}",
                path.file_stem().unwrap().to_string_lossy(),
                recorded.story,
                diagnosis.verdict.status,
                recorded.expect.verdict,
                recorded.expect.findings
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_check_passes_fails_and_is_skipped_somewhere() {
    let mut seen: BTreeMap<&str, BTreeSet<Status>> = BTreeMap::new();
    let machines = machines();
    for (_, _, diagnosis) in &machines {
        for finding in &diagnosis.findings {
            let status = if finding.status == Status::Warn { Status::Fail } else { finding.status };
            seen.entry(&finding.id).or_default().insert(status);
        }
    }
    let mut lacking = Vec::new();
    for check in ALL {
        for status in [Status::Pass, Status::Fail, Status::Skip] {
            // These questions can always be answered.
            let always = [
                "gpu-present",
                "processor-supported",
                "no-offload-variable",
                "no-removed-variable",
                "backend-path-unset",
                "libc-is-glibc",
                "program-loader-usual",
                "disk-space-enough",
                "no-stale-downloads",
            ];
            // A build that is there is a pass, and none is no fault.
            let never_fails = ["build-found"];
            // Windows' overflow setting cannot be read by programs.
            let never_passes = ["sysmem-fallback"];
            let excused = (status == Status::Pass && never_passes.contains(&check.id()))
                || (status == Status::Skip && always.contains(&check.id()))
                || (status == Status::Fail && never_fails.contains(&check.id()));
            if !excused && !seen.get(check.id()).is_some_and(|statuses| statuses.contains(&status)) {
                lacking.push(format!("{} never has {status:?}", check.id()));
            }
        }
    }
    assert!(lacking.is_empty(), "{}", lacking.join("\n"));
}

#[test]
fn every_problem_has_evidence_or_a_remedy_that_can_be_pasted() {
    for (path, _, diagnosis) in &machines() {
        for finding in diagnosis.findings.iter().filter(|finding| finding.status >= Status::Warn) {
            let name = format!("{} of {}", finding.id, path.display());
            assert!(!finding.summary.is_empty() && !finding.summary.ends_with('.'), "{name}");
            assert!(!finding.remedies.is_empty() || !finding.evidence.is_empty(), "{name}");
            for remedy in &finding.remedies {
                assert!(!remedy.title.is_empty(), "{name}");
                assert!(!remedy.command.contains("reinstall everything"), "{name}");
            }
        }
    }
}
