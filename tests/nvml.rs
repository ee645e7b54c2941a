//! The NVML path, end to end, against a fake `libnvidia-ml.so.1` that this test compiles: two GPUs, a library that
//! refuses, a card split by MIG, a card that is lost.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

/// The folder of the fake library, compiled once. It lies among Cargo's own temporary files: a folder that a `static`
/// holds is never dropped, and would stay behind in `/tmp`.
fn fake() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let compile = || {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("fake-nvml");
        fs_err::create_dir_all(&folder).unwrap();
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/fake_nvml.rs");
        let compiler = option_env!("RUSTC").unwrap_or("rustc");
        let status = Command::new(compiler)
            .args(["--edition", "2024", "--crate-type", "cdylib", "-C", "panic=abort", "-o"])
            .arg(folder.join("libnvidia-ml.so.1"))
            .arg(source)
            .status()
            .unwrap();
        assert!(status.success());
        folder
    };
    FOLDER.get_or_init(compile)
}

/// What `check --json` says with the fake in `mood`, and its exit code.
fn check(mood: &str, variables: &[(&str, &str)]) -> (Value, i32) {
    let home = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_llama-doctor"))
        .args(["check", "--json", "--home"])
        .arg(home.path())
        .env_remove("CUDA_VISIBLE_DEVICES")
        .env_remove("CUDA_DEVICE_ORDER")
        .env("HOME", home.path())
        .env("LD_LIBRARY_PATH", fake())
        .env("FAKE_NVML", mood)
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    (serde_json::from_str(&text).unwrap(), output.status.code().unwrap())
}

fn status(answer: &Value, id: &str) -> String {
    let findings = answer["findings"].as_array().unwrap();
    findings.iter().find(|finding| finding["id"] == id).unwrap()["status"].as_str().unwrap().to_owned()
}

fn names(answer: &Value) -> Vec<String> {
    let gpus = answer["gpus"].as_array().unwrap();
    gpus.iter().map(|gpu| format!("{} {}", gpu["id"].as_str().unwrap(), gpu["name"].as_str().unwrap())).collect()
}

#[test]
fn two_gpus_are_numbered_as_cuda_numbers_them() {
    let (answer, _) = check("two", &[]);
    assert_eq!(names(&answer), ["CUDA0 NVIDIA Fast", "CUDA1 NVIDIA Slow"]);
    let fast = &answer["gpus"][0];
    assert_eq!(fast["total"], 24_u64 << 30);
    assert_eq!(fast["free"], 23_u64 << 30);
    assert_eq!(fast["compute_capability"], "8.9");
    assert_eq!(fast["uuid"]["value"], "GPU-00000001-0000-0000-0000-000000000000");
    assert_eq!(fast["memory_bandwidth"]["value"], 936_096_000_000_u64);
    assert_eq!(fast["ecc_enabled"]["unknown"], "this GPU or driver does not offer it (NVML 3)");
    assert_eq!(answer["driver"]["version"]["value"], "580.95.05");
    assert_eq!(answer["driver"]["cuda"]["value"], "13.0");
    assert!(answer["driver"]["nvml"]["value"].as_str().unwrap().ends_with("libnvidia-ml.so.1"));

    let (answer, _) = check("two", &[("CUDA_DEVICE_ORDER", "PCI_BUS_ID")]);
    assert_eq!(names(&answer), ["CUDA0 NVIDIA Slow", "CUDA1 NVIDIA Fast"]);
    let (answer, _) = check("two", &[("CUDA_VISIBLE_DEVICES", "1")]);
    assert_eq!(names(&answer), ["CUDA0 NVIDIA Slow", "hidden NVIDIA Fast"]);
}

#[test]
fn no_gpu_is_visible_where_the_variable_hides_them() {
    let (answer, code) = check("two", &[("CUDA_VISIBLE_DEVICES", "")]);
    assert_eq!(names(&answer), ["hidden NVIDIA Fast", "hidden NVIDIA Slow"]);
    // The fake machine has no libcuda: that is found first, and is the cause of what follows.
    assert_eq!(code, 1);
    assert_eq!(answer["verdict"]["status"], "broken");
}

#[test]
fn a_library_that_refuses_says_its_code_in_words() {
    let (answer, code) = check("error 18", &[]);
    assert_eq!(code, 1);
    assert_eq!(answer["driver"]["nvml_code"], 18);
    assert_eq!(status(&answer, "driver-library-mismatch"), "fail");
    assert_eq!(status(&answer, "cuda-starts"), "skip");
    let why = answer["driver"]["version"]["unknown"].as_str().unwrap();
    assert_eq!(why, "the driver's libraries and its kernel module have different versions (NVML 18)");

    let (answer, _) = check("error 9", &[]);
    assert_eq!(answer["driver"]["nvml_code"], 9);
    assert_eq!(answer["gpus"], serde_json::json!([]));
    assert!(answer["driver"]["cuda"]["unknown"].as_str().unwrap().contains("not loaded"));
}

#[test]
fn a_split_card_shows_its_instances() {
    let (answer, _) = check("mig", &[]);
    assert_eq!(names(&answer), ["CUDA0 NVIDIA Big MIG 3g.20gb", "hidden NVIDIA Big MIG 3g.20gb"]);
    assert_eq!(answer["gpus"][0]["total"], 20_u64 << 30);
    assert_eq!(answer["gpus"][0]["mig_enabled"]["value"], true);
}

#[test]
fn a_lost_card_is_told_and_the_other_one_stays() {
    let (answer, code) = check("lost", &[]);
    assert_eq!(code, 1);
    assert_eq!(names(&answer), ["CUDA0 NVIDIA Slow"]);
    assert_eq!(answer["driver"]["unreadable"][0]["code"], 15);
    assert_eq!(status(&answer, "gpu-lost"), "fail");
}
