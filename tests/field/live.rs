//! The doctor on a simulated CUDA machine with a real CUDA build: what it names, and nothing else.
//!
//! `.ci/fetch-builds.sh` fetches the builds; the machine is `tests/support/fake_cuda.c`. What is not there is skipped.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test helper may stop the test")]
#![allow(clippy::print_stderr, reason = "a skipped test says why")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Instant;

use llama_doctor::host::Host;
use serde_json::Value;

const CUDA_13: &str = "x/node-llama-cpp-linux-x64-cuda-3.22.1";
const CUDA_12: &str = "x/fugood-node-llama-linux-x64-cuda-1.7.15";
const CARD: (&str, &str) = ("FAKE_CARD", "NVIDIA GeForce RTX 3090:24576:24000:8.6");

fn build(name: &str) -> Option<PathBuf> {
    let variable = |name: &str| Host::Live.variable(name).map(PathBuf::from);
    let cache =
        variable("LLAMA_DOCTOR_FIELD_CACHE").or_else(|| Some(variable("HOME")?.join(".cache/llama-doctor-field")))?;
    let path = cache.join(name);
    if !path.exists() {
        eprintln!("skipped: {} is not there; .ci/fetch-builds.sh fetches it", path.display());
        return None;
    }
    Some(path)
}

/// The folder of the simulated machine's libraries, compiled once. None where no C compiler is.
fn machine() -> Option<&'static Path> {
    static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
    let compile = || {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("fake-cuda");
        fs_err::create_dir_all(&folder).unwrap();
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/fake_cuda.c");
        for (part, name) in [
            ("-DNVML", "libnvidia-ml.so.1"),
            ("-DDRIVER", "libcuda.so.1"),
            ("-DRUNTIME", "libcudart.so.13"),
            ("-DBLAS", "libcublas.so.13"),
        ] {
            let mut command = Command::new("cc");
            command.args(["-shared", "-fPIC", "-w", part, "-o"]).arg(folder.join(name)).arg(source);
            if !command.arg(format!("-Wl,-soname,{name}")).status().is_ok_and(|status| status.success()) {
                eprintln!("skipped: no working `cc`");
                return None;
            }
        }
        Some(folder)
    };
    FOLDER.get_or_init(compile).as_deref()
}

/// The answer of `check`, with the problems that are about the GPU, its driver, the environment and the build.
struct Answer {
    verdict: String,
    problems: Vec<String>,
    code: i32,
    builds: Value,
}

fn check(build: &Path, libraries: &Path, settings: &[(&str, &str)]) -> Answer {
    let home = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_llama-doctor"))
        .args(["check", "--json", "--only", "hardware,driver,containers,environment,builds,vram-available"])
        .arg("--build")
        .arg(build)
        .arg("--home")
        .arg(home.path())
        .env_clear()
        .env("HOME", home.path())
        .env("PATH", "/usr/bin:/bin")
        .env("LD_LIBRARY_PATH", libraries)
        .envs(settings.iter().copied())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let answer: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}{output:?}"));
    let findings = answer["findings"].as_array().unwrap();
    let bad = findings.iter().filter(|finding| ["warn", "fail"].contains(&finding["status"].as_str().unwrap()));
    Answer {
        verdict: answer["verdict"]["status"].as_str().unwrap().to_owned(),
        problems: bad.map(|finding| finding["id"].as_str().unwrap().to_owned()).collect(),
        code: output.status.code().unwrap(),
        builds: answer["builds"].clone(),
    }
}

/// On the whole simulated machine.
fn on(settings: &[(&str, &str)]) -> Option<Answer> {
    Some(check(&build(CUDA_13)?, machine()?, settings))
}

#[test]
#[ignore = "needs artifacts"]
fn a_healthy_machine_is_ready() {
    let begin = Instant::now();
    let Some(answer) = on(&[CARD]) else { return };
    assert_eq!((answer.verdict.as_str(), answer.code), ("ready", 0), "{:?}", answer.problems);
    assert_eq!(answer.problems, Vec::<String>::new());
    let cuda = &answer.builds[0]["backends"][0];
    assert_eq!((cuda["name"].as_str(), cuda["state"].as_str()), (Some("CUDA"), Some("works")), "{cuda:#}");
    assert_eq!(cuda["per_gpu"][0]["runs"], "native");
    assert_eq!(answer.builds[0]["devices"][0]["free_bytes"], 24_000_u64 << 20);
    eprintln!("{:?} with a CUDA build, read and run", begin.elapsed());
}

#[test]
#[ignore = "needs artifacts"]
fn each_fault_is_named_alone() {
    let with = |more: &[(&'static str, &'static str)]| [&[CARD][..], more].concat();
    let cases = [
        (with(&[("FAKE_DRIVER", "570.124.06"), ("FAKE_CUDA", "12080")]), "driver-too-old"),
        (with(&[("FAKE_NVML", "18")]), "driver-library-mismatch"),
        (with(&[("CUDA_VISIBLE_DEVICES", "-1")]), "gpu-visible"),
        (with(&[("CUDA_VISIBLE_DEVICES", "")]), "gpu-visible"),
        (vec![("FAKE_CARD", "Tesla K80:11520:11500:3.7")], "gpu-new-enough"),
        (vec![("FAKE_CARD", "NVIDIA GeForce GTX 750:2048:2000:5.0")], "gpu-code-present"),
        (vec![("FAKE_CARD", "Tesla V100-SXM2-16GB:16384:16000:7.0")], "gpu-code-present"),
        (vec![("FAKE_CARD", "NVIDIA GeForce RTX 3090:24576:300:8.6")], "vram-available"),
    ];
    for (settings, expected) in cases {
        let Some(answer) = on(&settings) else { return };
        assert_eq!(answer.problems, [expected], "{settings:?}");
        assert_eq!((answer.verdict.as_str(), answer.code), ("broken", 1), "{settings:?}");
    }
}

#[test]
#[ignore = "needs artifacts"]
fn a_driver_that_refuses_is_told_once() {
    // What 9 and 999 mean depends on where this runs: a container has lost its GPU, a machine its module.
    let meanings = [
        ("9", &["nvml-answers", "module-not-loaded", "driver-missing", "module-not-built"][..]),
        ("999", &["nvml-answers", "container-kept-gpu"]),
    ];
    for (code, meanings) in meanings {
        let Some(answer) = on(&[CARD, ("FAKE_NVML", code)]) else { return };
        let [only] = &answer.problems[..] else { panic!("{code}: {:?}", answer.problems) };
        assert!(meanings.contains(&only.as_str()), "{code}: {only}");
        assert_eq!(answer.code, 1);
    }
}

#[test]
#[ignore = "needs artifacts"]
fn missing_libraries_and_those_of_another_major_are_named() {
    let (Some(cuda_13), Some(whole)) = (build(CUDA_13), machine()) else { return };
    let folder = tempfile::tempdir().unwrap();
    for name in ["libnvidia-ml.so.1", "libcuda.so.1"] {
        fs_err::os::unix::fs::symlink(whole.join(name), folder.path().join(name)).unwrap();
    }
    let answer = check(&cuda_13, folder.path(), &[CARD]);
    assert_eq!(answer.problems, ["cuda-runtime-present"]);
    assert_eq!(answer.builds[0]["backends"][0]["missing"], serde_json::json!(["libcudart.so.13", "libcublas.so.13"]));
    let Some(cuda_12) = build(CUDA_12) else { return };
    let answer = check(&cuda_12, whole, &[("FAKE_CARD", "NVIDIA GeForce RTX 4090:24576:24000:8.9")]);
    assert_eq!(answer.problems, ["cuda-runtime-major-fits"], "CUDA 13 is here, and the build wants 12");
}

#[test]
#[ignore = "needs artifacts"]
fn without_a_card_it_stays_calm() {
    let Some(cuda_13) = build(CUDA_13) else { return };
    let nothing = tempfile::tempdir().unwrap();
    if Path::new("/proc/driver/nvidia").exists() || Path::new("/dev/dxg").exists() {
        eprintln!("skipped: this machine has a driver of its own");
        return;
    }
    let answer = check(&cuda_13, nothing.path(), &[]);
    assert_eq!(answer.problems, ["gpu-present"]);
    assert_eq!((answer.verdict.as_str(), answer.code), ("no-gpu", 0));
}
