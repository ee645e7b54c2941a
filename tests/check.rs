//! `check` and `explain` as a user runs them: what they print, where, and with which exit code.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::path::PathBuf;
use std::process::{Command, Output};

fn doctor(arguments: &[&str]) -> Output {
    let home = tempfile::tempdir().unwrap();
    Command::new(env!("CARGO_BIN_EXE_llama-doctor")).args(arguments).arg("--home").arg(home.path()).output().unwrap()
}

fn machine(name: &str) -> String {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests", "machines", &format!("{name}.json")].iter().collect();
    path.to_string_lossy().into_owned()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn the_exit_code_tells_failures_and_strict_counts_warnings() {
    let code = |arguments: &[&str]| doctor(arguments).status.code().unwrap();
    let (good, warned, broken) = (machine("healthy-linux-desktop"), machine("debian-12"), machine("library-mismatch"));
    assert_eq!(code(&["check", "--facts", &good]), 0);
    assert_eq!(code(&["check", "--facts", &good, "--strict"]), 0);
    assert_eq!(code(&["check", "--facts", &warned]), 0);
    assert_eq!(code(&["check", "--facts", &warned, "--strict"]), 1);
    assert_eq!(code(&["check", "--facts", &broken]), 1);
    assert_eq!(code(&["--facts", &broken]), 1, "check is the default");
    assert_eq!(code(&["check", "--facts", &broken, "--skip", "driver"]), 0);
    assert_eq!(code(&["check", "--facts", &good, "--only", "no-such-check"]), 2);
    assert_eq!(code(&["explain", "no-such-check"]), 2);
    assert_eq!(code(&["check", "--facts", "/nonexistent.json"]), 2);
}

#[test]
fn the_verdict_comes_first_and_every_line_fits() {
    for name in ["library-mismatch", "cuda-runtime-missing", "broken-models", "variables-everywhere"] {
        let text = out(&doctor(&["check", "--facts", &machine(name), "-v"]));
        let first = text.split_whitespace().next().unwrap();
        assert!(["ready", "degraded", "broken"].contains(&first), "{text}");
        // Commands are to be pasted whole; they stand seven spaces deep. A path alone may be longer than a line.
        for line in text.lines().filter(|line| !line.starts_with("       ") && line.trim().contains(' ')) {
            assert!(line.chars().count() <= 80, "{name}: {line}");
        }
    }
}

#[test]
fn what_the_build_says_of_itself_is_shown_to_who_asks() {
    let machine = machine("real-h200");
    assert!(out(&doctor(&["check", "--facts", &machine, "-v"])).contains("says: CUDA : ARCHS = 900 |"));
    assert!(!out(&doctor(&["check", "--facts", &machine])).contains("ARCHS"));
}

#[test]
fn a_selection_shows_only_itself() {
    let output = doctor(&["check", "--json", "--facts", &machine("library-mismatch"), "--only", "port-free,memory"]);
    let answer: serde_json::Value = serde_json::from_str(&out(&output)).unwrap();
    let ids: Vec<&str> =
        answer["findings"].as_array().unwrap().iter().map(|finding| finding["id"].as_str().unwrap()).collect();
    assert!(ids.contains(&"port-free") && ids.contains(&"ram-available"));
    assert!(!ids.contains(&"driver-library-mismatch"));
}

#[test]
fn a_record_replays_to_the_same_findings_and_names_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home/annaliese");
    fs_err::create_dir_all(&home).unwrap();
    let file = folder.path().join("machine.json");
    let report = folder.path().join("report.md");
    let run = |arguments: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_llama-doctor"))
            .args(arguments)
            .env("HOME", &home)
            .env("USER", "annaliese")
            .env("HOSTNAME", "annas-tower")
            .env("LLAMA_ARG_API_KEY", "sk-0123456789abcdef0123456789")
            .env("LD_PRELOAD_NOTE", "annaliese")
            .env("GGML_BACKEND_PATH", "/srv/annas-tower/annaliese/hf_abcdefghijklmnop/libggml.so")
            .output()
            .unwrap()
    };
    let path = |path: &std::path::Path| path.to_string_lossy().into_owned();
    let live = run(&["check", "--json", "--save", &path(&file), "--report", &path(&report)]);
    let replayed = run(&["check", "--json", "--facts", &path(&file)]);
    let statuses = |output: &Output| -> Vec<(String, String)> {
        let answer: serde_json::Value = serde_json::from_str(&out(output)).unwrap();
        let findings = answer["findings"].as_array().unwrap();
        findings.iter().map(|finding| (finding["id"].to_string(), finding["status"].to_string())).collect()
    };
    assert_eq!(statuses(&live), statuses(&replayed));
    for text in [fs_err::read_to_string(&file).unwrap(), fs_err::read_to_string(&report).unwrap()] {
        for secret in ["annaliese", "annas-tower", "sk-0123", "hf_abcdef"] {
            assert!(!text.contains(secret), "{secret} is in the file");
        }
        assert!(text.contains("GGML_BACKEND_PATH"));
    }
}

#[test]
fn every_check_is_listed_and_explained() {
    let listed = out(&doctor(&["check", "--list-checks", "--json"]));
    let checks: Vec<serde_json::Value> = serde_json::from_str(&listed).unwrap();
    assert!(checks.len() >= 60);
    let id = checks[0]["id"].as_str().unwrap();
    assert!(out(&doctor(&["explain", id])).starts_with(id));
}
