//! `setup` as a user runs it: no GPU, no network, the embedded catalogue; real scripts come out.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;
use std::process::{Command, Output};

fn setup(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_llama-doctor"))
        .arg("setup")
        .args(["--offline", "--home"])
        .arg(folder.join("home"))
        .args(arguments)
        .current_dir(folder)
        // Nothing of this machine may decide: no cache, no llama-server in PATH.
        .env("HF_HOME", folder.join("hub"))
        .env("PATH", "/usr/bin:/bin")
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn plans_and_writes_scripts_without_gpu_or_network() {
    let folder = tempfile::tempdir().unwrap();
    let output = setup(folder.path(), &["--gpu", "rtx-3090", "--format", "sh,cmd"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let answer = text(&output.stdout);
    for step in ["check ", "install ", "pull ", "fit ", "launch "] {
        assert!(answer.lines().any(|line| line.starts_with(step)), "{answer}");
    }
    let unwrapped = answer.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(unwrapped.contains("llama-doctor install"), "what is missing is said: {answer}");
    assert!(answer.lines().all(|line| line.chars().count() <= 80), "{answer}");
    let script = fs_err::read_to_string(folder.path().join("launch/qwen2.5-14b-instruct.sh")).unwrap();
    assert!(script.contains("--port"), "{script}");
    assert!(folder.path().join("launch/qwen2.5-14b-instruct.cmd").is_file());
}

#[test]
fn json_is_one_document_with_the_plan_and_the_files() {
    let folder = tempfile::tempdir().unwrap();
    let models = ["qwen2.5-14b-instruct", "qwen2.5-3b-instruct", "--gpu", "rtx-3090", "--json"];
    let output = setup(folder.path(), &models);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["schema"], "llama-doctor/setup/1");
    let names: Vec<&str> =
        answer["steps"].as_array().unwrap().iter().map(|step| step["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["check", "install", "pull", "fit", "launch"]);
    assert_eq!(answer["launch"]["servers"].as_array().unwrap().len(), 2);
    assert_eq!(answer["plan"]["models"].as_array().unwrap().len(), 2);
}

#[test]
fn a_card_that_is_too_small_ends_with_the_table_and_no_script() {
    let folder = tempfile::tempdir().unwrap();
    let output = setup(folder.path(), &["llama-3.3-70b-instruct", "--gpu", "rtx-3060"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("What would fit"), "{}", text(&output.stdout));
    assert!(!folder.path().join("launch").exists());
}

#[test]
fn an_unknown_model_names_its_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let output = setup(folder.path(), &["qwen2.5-14b-instrukt", "--gpu", "rtx-3090"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("qwen2.5-14b-instruct"), "{}", text(&output.stderr));
}
