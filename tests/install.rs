//! `install` and `builds`, run as a user runs them, against a GitHub on loopback.
#![allow(clippy::unwrap_used, reason = "a test helper may stop the test")]
#![cfg(target_os = "linux")]

mod support;

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use support::archives::Tar;
use support::user::{TODAY, User, code, cpu_build, cpu_name, elf, program, talk};

const AUGUST: &str = include_str!("releases/b10353.json");

#[test]
fn a_dry_run_says_what_why_and_why_not() {
    let user = User::new();
    let facts = user.machine("rtx-3090", "570.124.06", "glibc 2.39");
    let answer = user.json(&["install", "--dry-run", "--json", "--facts", &facts]);
    assert_eq!(answer["schema"], "llama-doctor/install/1");
    assert_eq!(answer["tag"], "b11434");
    assert_eq!(answer["backend"], "cuda-12.8");
    let names: Vec<_> =
        answer["assets"].as_array().unwrap().iter().map(|asset| asset["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        ["llama-b11434-bin-ubuntu-cuda-12.8-x64.tar.gz", "cudart-llama-b11434-bin-ubuntu-cuda-12.8-x64.tar.gz"]
    );
    assert!(answer["assets"][0]["url"].as_str().unwrap().starts_with(&user.github.web.url("/ggml-org")));
    assert!(answer["reason"][0].as_str().unwrap().contains("native code for 8.6"));
    let rejected = answer["rejected"].as_array().unwrap();
    let newer = rejected.iter().find(|row| row["name"].as_str().unwrap().contains("cuda-13.4")).unwrap();
    assert!(newer["why"].as_str().unwrap().contains("CUDA 13 needs a driver for CUDA 13.0"), "{newer}");
    assert!(!user.home().join("builds").exists());

    let output = user.run(&["install", "--dry-run", "--facts", &facts]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.starts_with("b11434 cuda-12.8\n"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

#[test]
fn a_build_is_installed_proven_used_and_rolled_back() {
    let user = User::new();
    user.github.add(AUGUST, &[(&cpu_name("b10353"), cpu_build("b10353"))]);
    let answer = user.json(&["install", "b10353", "--backend", "cpu", "--json"]);
    assert_eq!(answer["installed"]["id"], "b10353-cpu");
    let answer = user.json(&["install", "--backend", "cpu", "--json"]);
    assert_eq!(answer["installed"]["active"], true);
    assert_eq!(fs_err::read_to_string(user.home().join("current/LICENSE")).unwrap(), "b11434");

    // A second time, nothing is fetched.
    let before = user.github.files.requests().len();
    let output = user.run(&["install", "--backend", "cpu"]);
    assert!(talk(&output).contains("here already"), "{}", talk(&output));
    assert_eq!(user.github.files.requests().len(), before);

    let list = user.json(&["builds", "--json"]);
    assert_eq!(list["builds"].as_array().unwrap().len(), 2);
    assert_eq!(code(&user.run(&["builds", "remove", "b11434-cpu"])), 2);
    assert_eq!(code(&user.run(&["builds", "rollback"])), 0);
    assert_eq!(fs_err::read_to_string(user.home().join("current/LICENSE")).unwrap(), "b10353");
    assert_eq!(code(&user.run(&["builds", "rollback"])), 2);
    assert_eq!(code(&user.run(&["builds", "use", "b11434-cpu"])), 0);
    assert_eq!(code(&user.run(&["builds", "verify", "b11434-cpu"])), 0);
    fs_err::write(user.home().join("builds/b11434-cpu/LICENSE"), "b11435").unwrap();
    assert_eq!(code(&user.run(&["builds", "verify", "b11434-cpu"])), 5);
    assert_eq!(code(&user.run(&["builds", "remove", "b10353-cpu"])), 0);
    assert_eq!(code(&user.run(&["builds", "use", "b10353-cpu"])), 2);
}

#[test]
fn a_build_that_cannot_work_is_not_put_to_use() {
    let user = User::new();
    user.github.add(AUGUST, &[(&cpu_name("b10353"), cpu_build("b10353"))]);
    user.json(&["install", "b10353", "--backend", "cpu", "--json"]);
    let broken =
        Tar::default().program("llama-b11434/llama-server", program()).file("llama-b11434/libllama.so", elf()).gz();
    user.github.state.lock().unwrap().releases.clear();
    user.github.add(TODAY, &[(&cpu_name("b11434"), broken)]);
    let output = user.run(&["install", "b11434", "--backend", "cpu"]);
    assert_eq!(code(&output), 3);
    assert!(talk(&output).contains("was not put to use: it has no CPU backend"), "{}", talk(&output));
    assert_eq!(fs_err::read_to_string(user.home().join("current/LICENSE")).unwrap(), "b10353");
    assert_eq!(code(&user.run(&["builds", "use", "b11434-cpu"])), 3);
    assert_eq!(code(&user.run(&["builds", "use", "b11434-cpu", "--force"])), 0);
}

#[test]
fn an_exhausted_api_is_not_needed() {
    let user = User::new();
    user.github.state.lock().unwrap().api_exhausted = true;
    let answer = user.json(&["install", "--backend", "cpu", "--json"]);
    assert_eq!(answer["installed"]["id"], "b11434-cpu");
    assert!(answer["notes"][0].as_str().unwrap().contains("read from the release's page"), "{}", answer["notes"]);
    // Not even for the newest.
    let nightly = user.json(&["install", "nightly", "--backend", "cpu", "--dry-run", "--json"]);
    assert_eq!(nightly["tag"], "b11434");
}

#[test]
fn a_bad_token_is_left_out_and_never_reaches_the_files() {
    let user = User::new();
    user.github.state.lock().unwrap().bad_token = true;
    let output = user.command(&["install", "--backend", "cpu"]).env("GH_TOKEN", "expired").output().unwrap();
    assert_eq!(code(&output), 0, "{}", talk(&output));
    let api = user.github.web.requests();
    assert!(api.iter().any(|request| request.header("authorization") == Some("Bearer expired")));
    let download = api.iter().filter(|request| request.path.contains("/releases/download/"));
    assert!(download.chain(&user.github.files.requests()).all(|request| request.header("authorization").is_none()));
}

#[test]
fn a_fresh_release_without_its_files_steps_back() {
    let user = User::new();
    let newer = TODAY.replace("b11434", "b11440").replace("\"state\": \"uploaded\"", "\"state\": \"open\"");
    user.github.add(&newer, &[]);
    user.github.state.lock().unwrap().stable = Some("b11440".to_owned());
    for version in ["stable", "nightly"] {
        let answer = user.json(&["install", version, "--backend", "cpu", "--dry-run", "--json"]);
        assert_eq!(answer["tag"], "b11434");
        assert!(answer["notes"].to_string().contains("b11440 does not have all its files yet"), "{}", answer["notes"]);
    }
    assert_eq!(code(&user.run(&["install", "b11440", "--backend", "cpu", "--dry-run"])), 3);
    assert_eq!(code(&user.run(&["install", "b9", "--dry-run"])), 2);
    assert_eq!(code(&user.run(&["install", "latest"])), 2);
}

#[test]
fn a_tampered_file_and_a_strange_host_are_refused() {
    let user = User::new();
    user.github.state.lock().unwrap().tampered = true;
    let output = user.run(&["install", "--backend", "cpu"]);
    assert_eq!(code(&output), 5);
    assert!(talk(&output).contains("sha256"), "{}", talk(&output));
    let elsewhere = format!("http://localhost:{}", user.github.files.port());
    let mut state = user.github.state.lock().unwrap();
    (state.tampered, state.redirect_to) = (false, Some(elsewhere));
    drop(state);
    let output = user.run(&["install", "--backend", "cpu"]);
    assert_eq!(code(&output), 4);
    assert!(
        talk(&output).contains("LLAMA_DOCTOR_ALLOW_HOSTS") && !talk(&output).contains("secret"),
        "{}",
        talk(&output)
    );
    let output =
        user.command(&["install", "--backend", "cpu"]).env("LLAMA_DOCTOR_ALLOW_HOSTS", "localhost").output().unwrap();
    assert_eq!(code(&output), 0, "{}", talk(&output));
    let is_empty = |path: &Path| {
        fs_err::read_dir(path).is_ok_and(|mut entries| {
            entries.all(|entry| fs_err::read_dir(entry.unwrap().path()).unwrap().next().is_none())
        })
    };
    assert!(is_empty(&user.home().join("cache/archives")), "the archive of the build stays no longer than needed");
}

#[test]
fn a_missing_digest_has_to_be_accepted() {
    let user = User::new();
    for asset in user.github.state.lock().unwrap().releases[0]["assets"].as_array_mut().unwrap() {
        asset["digest"] = Value::Null;
    }
    let output = user.run(&["install", "--backend", "cpu"]);
    assert_eq!(code(&output), 5);
    assert!(talk(&output).contains("--allow-missing-digest"), "{}", talk(&output));
    assert!(user.github.files.requests().is_empty());
    assert_eq!(code(&user.run(&["install", "--backend", "cpu", "--allow-missing-digest"])), 0);
}

#[test]
fn archives_on_the_disk_need_no_network() {
    let user = User::new();
    let path = user.folder.path().join(cpu_name("b11434"));
    fs_err::write(&path, cpu_build("b11434")).unwrap();
    let answer = user.json(&["install", "--offline", "--from", path.to_str().unwrap(), "--json"]);
    assert_eq!(answer["installed"]["id"], "b11434-cpu");
    assert!(path.exists() && user.github.web.requests().is_empty());
    let odd = user.folder.path().join("odd.tar.gz");
    fs_err::write(&odd, "x").unwrap();
    assert_eq!(code(&user.run(&["install", "--from", odd.to_str().unwrap()])), 2);
    assert_eq!(code(&user.run(&["install", "--offline"])), 4);
    let evil = user.folder.path().join(cpu_name("b11435"));
    fs_err::write(&evil, Tar::default().file("../../evil", "x").gz()).unwrap();
    assert_eq!(code(&user.run(&["install", "--from", evil.to_str().unwrap()])), 5);
    let builds: Vec<_> =
        fs_err::read_dir(user.home().join("builds")).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert_eq!(builds, ["b11434-cpu"]);
}

#[test]
fn every_recorded_release_is_understood() {
    for recorded in [
        TODAY,
        AUGUST,
        include_str!("releases/b6123.json"),
        include_str!("releases/b4297.json"),
        include_str!("releases/b2356.json"),
    ] {
        let release: Value = serde_json::from_str(recorded).unwrap();
        for asset in release["assets"].as_array().unwrap() {
            let name = asset["name"].as_str().unwrap();
            let is_other = ["-ui.", "xcframework", "s390x", "snapdragon"].iter().any(|word| name.contains(word));
            let read = llama_doctor::manifest::releases::AssetName::parse(name);
            assert!(read.is_some() || is_other, "{name}");
        }
    }
}

#[test]
fn cuda_libraries_come_from_an_index_too() {
    use support::archives::Zip;
    use support::server::{Reply, Server};
    let user = User::new();
    let wheel = |path: &str| Zip::default().file(path, elf()).file("nvidia/__init__.py", "").bytes();
    let wheels = [
        (
            "nvidia_cuda_runtime_cu12-12.8.90-py3-none-manylinux2014_x86_64.whl",
            wheel("nvidia/cuda_runtime/lib/libcudart.so.12"),
        ),
        ("nvidia_cublas_cu12-12.8.4.1-py3-none-manylinux2014_x86_64.whl", wheel("nvidia/cublas/lib/libcublas.so.12")),
    ];
    let index = Server::start(move |request| {
        if let Some((_, bytes)) = wheels.iter().find(|(name, _)| request.path.ends_with(name)) {
            return Reply::file(request, &std::sync::Arc::new(bytes.clone()), "\"wheel\"");
        }
        let package = request.path.trim_matches('/').replace('-', "_");
        let file = |(name, bytes): &(&str, Vec<u8>)| {
            let digest = llama_doctor::net::digest::Sha256Digest::of(bytes).to_string();
            serde_json::json!({"filename": name, "url": format!("/files/{name}"), "hashes": {"sha256": digest}})
        };
        let files: Vec<_> = wheels.iter().filter(|(name, _)| name.starts_with(&package)).map(file).collect();
        Reply::new(200, serde_json::json!({"files": files}).to_string())
    });
    let build = Tar::default().program("t/llama-server", program()).file("t/libggml-cuda.so", elf()).gz();
    user.github.state.lock().unwrap().releases.clear();
    user.github.add(TODAY, &[("llama-b11434-bin-ubuntu-cuda-12.8-x64.tar.gz", build)]);
    let facts = user.machine("rtx-3090", "570.124.06", "glibc 2.39");
    let mut command = user.command(&["install", "--cudart", "pypi", "--json", "--facts", &facts]);
    let output = command.env("PIP_INDEX_URL", index.url("")).output().unwrap();
    assert!(talk(&output).contains("holds no GPU code"), "{}", talk(&output));
    let folder = user.home().join("builds/b11434-cuda-12.8");
    for name in ["libcudart.so.12", "libcublas.so.12", "libggml-cuda.so"] {
        assert!(folder.join(name).is_file(), "{name}");
    }
    assert!(!folder.join("nvidia").exists());
}

#[test]
fn a_windows_release_keeps_its_layout_with_cudas_libraries_beside() {
    use support::archives::Zip;
    let user = User::new();
    let file = |name: &str, bytes: Vec<u8>| {
        let path = user.folder.path().join(name);
        fs_err::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let build =
        Zip::default().file("llama-server.exe", "MZ").file("ggml-cuda.dll", "MZ").file("ggml-base.dll", "MZ").bytes();
    let build = file("llama-b11434-bin-win-cuda-12.4-x64.zip", build);
    let libraries = Zip::default().file("cudart64_12.dll", "MZ").file("cublas64_12.dll", "MZ").bytes();
    let libraries = file("cudart-llama-bin-win-cuda-12.4-x64.zip", libraries);
    let output = user.run(&["install", "--from", &build, &libraries]);
    // Not for this system: kept, never used.
    assert_eq!(code(&output), 3);
    assert!(talk(&output).contains("is not for Linux"), "{}", talk(&output));
    for name in ["llama-server.exe", "ggml-cuda.dll", "cudart64_12.dll", "cublas64_12.dll"] {
        assert!(user.home().join("builds/b11434-cuda-12.4").join(name).is_file(), "{name}");
    }
    assert!(!user.home().join("current").exists());
    let other = file("cudart-llama-bin-win-cuda-13.4-x64.zip", Zip::default().file("cudart64_13.dll", "MZ").bytes());
    let output = user.run(&["install", "--from", &build, &other]);
    assert_eq!(code(&output), 2);
    assert!(talk(&output).contains("different CUDA versions"), "{}", talk(&output));
}

/// `LLAMA_DOCTOR_FIELD_BUILD` names a folder with a real llama-server for the CPU, and its libraries.
#[test]
#[ignore = "needs a real build"]
fn a_real_build_in_the_official_layout_is_installed_and_runs() {
    let Some(build) = llama_doctor::host::Host::Live.variable("LLAMA_DOCTOR_FIELD_BUILD") else { return };
    let user = User::new();
    let top = user.folder.path().join("llama-b11434");
    let copied = Command::new("cp").arg("-a").arg(&build).arg(&top).status().unwrap();
    assert!(copied.success());
    let archive = user.folder.path().join(cpu_name("b11434"));
    let packed =
        Command::new("tar").arg("-C").arg(user.folder.path()).arg("-czf").arg(&archive).arg("llama-b11434").status();
    assert!(packed.unwrap().success());
    let answer = user.json(&["install", "--from", archive.to_str().unwrap(), "--json"]);
    assert!(answer["installed"]["proof"].to_string().contains("loaded, and lists a device"), "{answer}");
    let version = Command::new(user.home().join("current/llama-server")).arg("--version").output().unwrap();
    assert!(version.status.success());
}
