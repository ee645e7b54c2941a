//! `models`: what is found of other programs, what is verified, and that only our own is removed.

#![allow(clippy::unwrap_used, reason = "a test helper may stop the test")]

mod support;

use std::path::Path;
use std::process::Command;

use llama_doctor::net::digest::Sha256Digest;
use serde_json::Value;
use support::gguf::Gguf;
use support::hub::{COMMIT, Hub, cache};

const REPOSITORY: &str = "org/Tiny-GGUF";

fn hub() -> Hub {
    let model = |name| Gguf::llama().text("general.basename", name).file();
    Hub::start(REPOSITORY, &[("tiny-Q4_K_M.gguf", model("a")), ("tiny-Q8_0.gguf", model("b"))])
}

fn write(path: &Path, bytes: &[u8]) {
    fs_err::create_dir_all(path.parent().unwrap()).unwrap();
    fs_err::write(path, bytes).unwrap();
}

fn list(hub: &Hub, home: &Path) -> Vec<Value> {
    let output = hub.run(home, &["--json", "models"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    document["models"].as_array().unwrap().clone()
}

#[cfg(target_os = "linux")]
#[test]
fn every_keepers_models_are_found() {
    let (hub, home) = (hub(), tempfile::tempdir().unwrap());
    let (home, file) = (home.path(), Gguf::llama().file());
    hub.run(home, &["pull", REPOSITORY]);
    write(&home.join(".cache/llama.cpp/org_repo_old-Q8_0.gguf"), &file);
    write(&home.join(".lmstudio/models/org/repo/lm-F16.gguf"), &file[..file.len() - 100]);
    let digest = Sha256Digest::of(&file);
    write(&home.join(format!(".ollama/models/blobs/sha256-{digest}")), &file);
    let manifest = format!(
        r#"{{"schemaVersion": 2, "config": {{}}, "layers": [
            {{"mediaType": "application/vnd.ollama.image.model", "digest": "sha256:{digest}", "size": {}}},
            {{"mediaType": "application/vnd.ollama.image.license", "digest": "sha256:{digest}", "size": 3}}]}}"#,
        file.len()
    );
    write(&home.join(".ollama/models/manifests/registry.ollama.ai/library/tiny/1b"), manifest.as_bytes());
    hub.run(home, &["pull", "--to", "mine", &format!("{REPOSITORY}:Q8_0")]);

    let models = list(&hub, home);
    let names: Vec<_> = models.iter().map(|model| model["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["org/Tiny-GGUF:Q4_K_M", "org_repo_old-Q8_0", "org/repo/lm-F16", "tiny:1b", "tiny-Q8_0"]);
    assert!(models.iter().all(|model| model["architecture"] == "llama" || !model["problem"].is_null()));
    assert!(models[2]["problem"].as_str().unwrap().contains("cut off"));
    let removable: Vec<_> = models.iter().map(|model| model["removable"].as_bool().unwrap()).collect();
    assert_eq!(removable, [true, false, false, false, true]);

    let text = String::from_utf8(hub.run(home, &["models"]).stdout).unwrap();
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

#[test]
fn verify_finds_a_flipped_bit() {
    verify_finds_it(&|hub, home| hub.program(home));
}

#[test]
fn without_links_verify_finds_it_too() {
    verify_finds_it(&without_links);
}

fn without_links(hub: &Hub, home: &Path) -> Command {
    let mut command = hub.program(home);
    command.env("HF_HUB_DISABLE_SYMLINKS", "1");
    command
}

fn verify_finds_it(program: &dyn Fn(&Hub, &Path) -> Command) {
    let (hub, home) = (hub(), tempfile::tempdir().unwrap());
    let run = |arguments: &[&str]| program(&hub, home.path()).args(arguments).output().unwrap();
    run(&["pull", REPOSITORY]);
    let output = run(&["models", "verify"]);
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("good"), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let path = cache(home.path(), REPOSITORY).join("snapshots").join(COMMIT).join("tiny-Q4_K_M.gguf");
    let mut bytes = fs_err::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs_err::write(&path, bytes).unwrap();
    let output = run(&["models", "verify", REPOSITORY]);
    assert_eq!(output.status.code(), Some(5));
    assert!(String::from_utf8(output.stdout).unwrap().starts_with("damaged"));
    // Pulling it again repairs it.
    assert!(run(&["pull", REPOSITORY]).status.success());
    assert!(run(&["models", "verify", REPOSITORY]).status.success());
}

#[test]
fn remove_takes_only_what_we_brought() {
    remove_takes_only_ours(&|hub, home| hub.program(home));
}

#[test]
fn without_links_remove_takes_only_ours_too() {
    remove_takes_only_ours(&without_links);
}

fn remove_takes_only_ours(program: &dyn Fn(&Hub, &Path) -> Command) {
    let (hub, home) = (hub(), tempfile::tempdir().unwrap());
    let home = home.path();
    let run = |arguments: &[&str]| program(&hub, home).args(arguments).output().unwrap();
    run(&["pull", REPOSITORY]);
    // Another program brought this one: its blob was here before we were asked.
    let other = Gguf::llama().text("general.basename", "b").file();
    write(&cache(home, REPOSITORY).join("blobs").join(Sha256Digest::of(&other).to_string()), &other);
    run(&["pull", &format!("{REPOSITORY}:Q8_0")]);

    let output = run(&["models", "remove", &format!("{REPOSITORY}:Q8_0")]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("another program"));
    let output = run(&["models", "remove", "--dry-run", &format!("{REPOSITORY}:Q4_K_M")]);
    assert!(output.status.success());
    assert_eq!(list(&hub, home).len(), 2);
    let output = run(&["models", "remove", &format!("{REPOSITORY}:Q4_K_M")]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let left = list(&hub, home);
    assert_eq!((left.len(), left[0]["name"].as_str().unwrap()), (1, "org/Tiny-GGUF:Q8_0"));
    // The other program's bytes are where it put them.
    assert_eq!(fs_err::read_dir(cache(home, REPOSITORY).join("blobs")).unwrap().count(), 1);
    assert_eq!(run(&["models", "remove", "none"]).status.code(), Some(2));
}
