//! The catalogue of failure modes is covered: each has a check, or a reason why none can tell it.
#![expect(clippy::unwrap_used, reason = "a test that cannot read its table has failed")]

use std::collections::BTreeSet;

use llama_doctor::check::ALL;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Catalogue {
    mode: Vec<Mode>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mode {
    id: String,
    what: String,
    #[serde(default)]
    checks: Vec<String>,
    /// Why no check can tell it.
    why_not: Option<String>,
    /// What the checks do not see of it.
    note: Option<String>,
}

/// How many modes each group of the catalogue has: driver, libraries, builds, containers, memory, models.
const GROUPS: [(char, usize); 6] = [('A', 25), ('B', 20), ('C', 22), ('D', 15), ('E', 19), ('F', 13)];

fn catalogue() -> Vec<Mode> {
    toml::from_str::<Catalogue>(include_str!("catalogue.toml")).unwrap().mode
}

#[test]
fn every_mode_is_there_once_and_in_order() {
    let ids: Vec<String> = catalogue().into_iter().map(|mode| mode.id).collect();
    let of_group = |(letter, count)| (1..=count).map(move |number| format!("{letter}{number:02}"));
    let expected: Vec<String> = GROUPS.into_iter().flat_map(of_group).collect();
    assert_eq!(ids, expected);
}

#[test]
fn every_mode_has_its_checks_or_a_reason() {
    for mode in catalogue() {
        assert!(!mode.what.is_empty() && !mode.what.ends_with('.'), "{}", mode.id);
        assert!(mode.checks.is_empty() == mode.why_not.is_some(), "{} needs checks or a reason, and not both", mode.id);
        assert!(mode.note.is_none_or(|note| note.len() > 20), "{}", mode.id);
        for check in &mode.checks {
            assert!(llama_doctor::check::find(check).is_some(), "{}: no check is named `{check}`", mode.id);
        }
        // What a reason names by an id must exist as well.
        let named = mode.why_not.iter().flat_map(|why| why.split('`').skip(1).step_by(2));
        for word in named.filter(|word| word.contains('-') && !word.contains(' ')) {
            assert!(llama_doctor::check::find(word).is_some(), "{}: no check is named `{word}`", mode.id);
        }
    }
}

#[test]
fn most_checks_come_from_the_catalogue() {
    let named: BTreeSet<String> = catalogue().into_iter().flat_map(|mode| mode.checks).collect();
    // These ask what the catalogue takes for granted, or what was met later.
    let beyond = [
        "build-found",
        "backend-path-unset",
        "gpu-new-enough",
        "memory-limit-wide",
        "module-not-loaded",
        "nvml-answers",
        "one-driver-installed",
        "store-writable",
    ];
    let without: Vec<&str> =
        ALL.iter().map(|check| check.id()).filter(|id| !named.contains(*id) && !beyond.contains(id)).collect();
    assert!(without.is_empty(), "in no mode: {without:?}");
}
