//! `inspect` and `fit` of models that are on a hub: what is shown, and how little is downloaded for it.

#![allow(clippy::unwrap_used, reason = "a test helper may stop the test")]

mod support;

use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;

use llama_doctor::net::digest::Sha256Digest;
use serde_json::Value;
use support::gguf::Gguf;
use support::hub::{COMMIT, Hub};

const REPOSITORY: &str = "org/Tiny-GGUF";
const GPU: &str = "big:24GiB:8.6:23GiB";

/// A model whose header has some 600 kB and whose weights have `elements` more f32.
fn model(elements: u64) -> Gguf {
    let words = (0..40_000).map(|index| format!("word{index}"));
    Gguf::llama().texts("tokenizer.ggml.tokens", words).tensor("output.weight", elements)
}

fn hub() -> Hub {
    Hub::start(
        REPOSITORY,
        &[
            ("preset.ini", b"[*]\n".to_vec()),
            ("tiny-Q4_K_M.gguf", model(2_000_000).file()),
            ("tiny-Q8_0.gguf", model(4_000_000).file()),
            ("big-F16-00001-of-00002.gguf", model(10).file()),
            ("mmproj-F16.gguf", Gguf::llama().file()),
            ("../evil.gguf", b"x".to_vec()),
        ],
    )
}

fn json(hub: &Hub, home: &Path, arguments: &[&str]) -> Value {
    let output = hub.run(home, &[&["--json", "--gpu", GPU], arguments].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_repository_shows_everything_before_anything_is_downloaded() {
    let (hub, home) = (hub(), tempfile::tempdir().unwrap());
    let document = json(&hub, home.path(), &["inspect", REPOSITORY]);
    assert_eq!((&document["kind"], &document["gguf"]["architecture"]), (&"gguf".into(), &"llama".into()));
    let repository = &document["repository"];
    assert_eq!(repository["commit"], COMMIT);
    assert_eq!(repository["inspected"], "tiny-Q4_K_M.gguf");
    assert_eq!(repository["has_preset"], true);
    assert_eq!(repository["refused"][0], "../evil.gguf");
    assert_eq!(repository["sidecars"][0]["kind"], "projector");
    let models = repository["models"].as_array().unwrap();
    let tags: Vec<_> = models.iter().map(|model| model["quantization"].as_str().unwrap()).collect();
    assert_eq!(tags, ["Q4_K_M", "Q8_0", "F16"]);
    assert_eq!(models[1]["sha256"][0], Sha256Digest::of(&model(4_000_000).file()).to_string());
    assert_eq!(models[1]["pull"], "org/Tiny-GGUF:Q8_0");
    assert!(models[2]["problem"].as_str().unwrap().contains("00002-of-00002"));
    assert!(models[0]["largest"]["context"].as_u64().unwrap() > 0);
    assert_eq!(
        (&models[0]["largest"]["is_estimate"], &models[1]["largest"]["is_estimate"]),
        (&false.into(), &true.into())
    );

    let header = model(0).header().len();
    let file = model(2_000_000).file();
    let requests = hub.cdn.requests();
    let asked: usize = requests.iter().map(|request| request.range(file.len()).unwrap().unwrap().len()).sum();
    assert!(requests.len() <= 3 && asked <= header + (256 << 10), "{} requests, {asked} of {header}", requests.len());
}

#[test]
fn people_read_it_at_eighty_columns() {
    let (hub, home) = (hub(), tempfile::tempdir().unwrap());
    let output = hub.run(home.path(), &["--gpu", GPU, "inspect", &format!("{REPOSITORY}:Q8_0")]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("llama-doctor pull org/Tiny-GGUF:Q8_0") && text.contains("preset.ini"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

#[test]
fn a_plan_needs_the_header_only_and_then_the_cache() {
    let (hub, home) = (hub(), tempfile::tempdir().unwrap());
    let name = format!("{REPOSITORY}:Q8_0");
    let before = json(&hub, home.path(), &["fit", &name]);
    let header = model(0).header().len() as u64;
    assert!(hub.cdn.sent() < header + (1 << 20), "{}", hub.cdn.sent());
    assert!(hub.run(home.path(), &["pull", "--no-mmproj", &name]).status.success());
    let sent = hub.cdn.sent();
    let after = json(&hub, home.path(), &["fit", &name]);
    assert_eq!(hub.cdn.sent(), sent);
    let numbers = |document: &Value| {
        let server = &document["options"][0]["servers"][0];
        (server["context"].clone(), server["memory"].clone(), document["models"][0]["file_bytes"].clone())
    };
    assert_eq!(numbers(&before), numbers(&after));
    let arguments = after["options"][0]["servers"][0]["arguments"].to_string();
    assert!(arguments.contains("tiny-Q8_0.gguf"), "{arguments}");
}

#[test]
fn an_address_is_a_model_too() {
    let (hub, home) = (hub(), tempfile::tempdir().unwrap());
    let address = hub.server.url(&format!("/{REPOSITORY}/resolve/main/tiny-Q8_0.gguf?download=true"));
    assert_eq!(json(&hub, home.path(), &["inspect", &address])["gguf"]["architecture"], "llama");
    let elsewhere = support::server::Server::start(|request| {
        support::server::Reply::file(request, &std::sync::Arc::new(Gguf::llama().file()), "\"one\"")
    });
    let document = json(&hub, home.path(), &["inspect", &elsewhere.url("/some/m.gguf")]);
    assert_eq!(document["gguf"]["architecture"], "llama");
}

#[test]
fn what_cannot_be_seen_says_why() {
    let (hub, home) = (hub(), tempfile::tempdir().unwrap());
    let check = |name: &str, code: i32, word: &str| {
        let output = hub.run(home.path(), &["inspect", name]);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(text.contains(word), "{text}");
    };
    check("org/Tiny-GGUF:F16", 5, "00002-of-00002");
    check("org/Tiny-GGUF:Q", 2, "Q4_K_M");
    check("nothing-like-this", 2, "catalogue");
    check("./none.gguf", 2, "not on this machine");
    hub.mood.gated.store(true, Relaxed);
    check(REPOSITORY, 4, "accept the terms");
}

#[test]
fn a_silent_hub_is_no_reason_to_forget_what_is_here() {
    let (hub, home) = (hub(), tempfile::tempdir().unwrap());
    let name = format!("{REPOSITORY}:Q8_0");
    assert!(hub.run(home.path(), &["pull", "--no-mmproj", &name]).status.success());
    let mut command = hub.program(home.path());
    // Nobody listens at port 9 of loopback.
    command.env("HF_ENDPOINT", "http://127.0.0.1:9").args(["--gpu", GPU, "fit", &name]);
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && text.contains("what the cache holds"), "{text}");
}

#[test]
fn the_catalogue_needs_no_network() {
    let (hub, home) = (hub(), tempfile::tempdir().unwrap());
    let document = json(&hub, home.path(), &["fit", "qwen2.5-3b-instruct"]);
    assert_eq!(document["models"][0]["quantization"], "Q4_K_M");
    assert_eq!(hub.server.requests().len(), 0);
    let document = json(&hub, home.path(), &["--offline", "inspect", "qwen2.5-14b-instruct:Q8_0"]);
    assert_eq!(document["gguf"]["architecture"], "qwen2");
}
