//! Archives in the official layouts, assembled from real binaries of the registries, taken through `install` and `builds`.
//!
//! `.ci/fetch-builds.sh` and `.ci/fetch-server.sh` fetch the parts; a test whose parts are not there says so and passes.
#![allow(clippy::unwrap_used, reason = "a test helper may stop the test")]
#![cfg(target_os = "linux")]

#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use llama_doctor::binary::{Depth, read_file};
use llama_doctor::net::digest::Sha256Digest;
use serde_json::{Value, json};
use support::field::{artifact, fake_driver, machine_has_cuda};
use support::server::{Reply, Server};
use support::user::{User, code, talk};

const BUILD: &str = "llama-b11156-bin-ubuntu-cuda-13.4-x64.tar.gz";
const RUNTIME: &str = "cudart-llama-b11156-bin-ubuntu-cuda-13.4-x64.tar.gz";
const LIBRARIES: [&str; 3] = ["libcudart.so.13", "libcublas.so.13", "libcublasLt.so.13"];

/// One top folder, packed as the project packs it: links as links, everything else as files.
fn pack(folder: &Path, top: &str, archive: &str) -> String {
    let path = folder.join(archive);
    let mut tar = Command::new("tar");
    // The fastest level: hundreds of megabytes of GPU code hardly shrink.
    tar.args(["--use-compress-program", "gzip -1", "-C"]).arg(folder).arg("-cf").arg(&path).arg(top);
    assert!(tar.status().unwrap().success());
    path.to_str().unwrap().to_owned()
}

/// Real libraries of a CUDA 13 build under the names and links of a release.
fn cuda_build(folder: &Path) -> Option<String> {
    let parts = artifact("x/node-llama-cpp-linux-x64-cuda-3.22.1")?.join("package/bins/linux-x64-cuda");
    let top = folder.join("llama-b11156");
    fs_err::create_dir_all(&top).unwrap();
    for entry in fs_err::read_dir(parts).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        if name.starts_with("lib") {
            fs_err::copy(entry.path(), top.join(name)).unwrap();
        }
    }
    for (link, to) in [
        ("libllama.so.0", "libllama.cuda.v0.5.0.so"),
        ("libllama.so", "libllama.so.0"),
        ("libggml.so.0", "libggml.cuda.v0.5.0.so"),
        ("libggml.so", "libggml.so.0"),
    ] {
        std::os::unix::fs::symlink(to, top.join(link)).unwrap();
    }
    fs_err::copy("/bin/true", top.join("llama-server")).unwrap();
    fs_err::write(top.join("LICENSE"), "MIT").unwrap();
    Some(pack(folder, "llama-b11156", BUILD))
}

/// NVIDIA's libraries as the release's companion holds them.
fn cuda_runtime(folder: &Path) -> Option<String> {
    let runtime = artifact("x/nvidia_cuda_runtime-13.*manylinux_2_17_x86_64")?;
    let cublas = artifact("x/nvidia_cublas-13.*x86_64")?;
    let name = RUNTIME.strip_suffix(".tar.gz").unwrap();
    fs_err::create_dir_all(folder.join(name)).unwrap();
    for library in LIBRARIES {
        let from = [&runtime, &cublas].map(|wheel| wheel.join("nvidia/cu13/lib").join(library));
        place(from.iter().find(|path| path.is_file()).unwrap(), &folder.join(name).join(library));
    }
    Some(pack(folder, name, RUNTIME))
}

/// A link where that is possible: the files are large. Only one test may do so: tar stumbles over a new link meanwhile.
fn place(from: &Path, to: &Path) {
    if fs_err::hard_link(from, to).is_err() {
        fs_err::copy(from, to).unwrap();
    }
}

/// The processor's build of b11434, whole and able to run.
fn cpu_build(folder: &Path) -> Option<String> {
    let server = artifact("server/bin")?;
    let copied = Command::new("cp").arg("-a").arg(server).arg(folder.join("llama-b11434")).status().unwrap();
    assert!(copied.success());
    Some(pack(folder, "llama-b11434", "llama-b11434-bin-ubuntu-x64.tar.gz"))
}

fn run(user: &User, driver: Option<&Path>, arguments: &[&str]) -> Output {
    let mut command = user.command(arguments);
    if let Some(driver) = driver {
        command.env("LD_LIBRARY_PATH", driver).env("FAKE_GPUS", "NVIDIA GeForce RTX 3090:24576:8.6");
    }
    command.output().unwrap()
}

fn answer(output: &Output) -> Value {
    assert_eq!(code(output), 0, "{}", talk(output));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
#[ignore = "needs artifacts"]
fn a_cuda_release_is_installed_proven_used_rolled_back_and_removed() {
    let (user, folder) = (User::new(), tempfile::tempdir().unwrap());
    let Some(driver) = fake_driver() else { return };
    let Some(build) = cuda_build(folder.path()) else { return };
    let Some(runtime) = cuda_runtime(folder.path()) else { return };
    let Some(processor) = cpu_build(folder.path()) else { return };
    let driver = Some(driver.as_path());

    if !machine_has_cuda() {
        let install = ["install", "--offline", "--from", &build, &runtime];
        let output = run(&user, None, &install);
        assert_eq!(code(&output), 3, "{}", talk(&output));
        let said = talk(&output);
        assert!(said.contains("was not put to use") && said.contains("libcuda.so.1"), "{said}");
        assert!(!user.home().join("current").exists());
        let proven = run(&user, None, &["builds", "use", "b11156-cuda-13.4", "--json", "--gpu", "rtx-3090"]);
        assert_eq!(code(&proven), 0, "the plan is for another machine: {}", talk(&proven));
        answer(&run(&user, None, &["install", "--offline", "--json", "--from", &processor]));
        answer(&run(&user, None, &["builds", "remove", "b11156-cuda-13.4", "--json"]));
    }

    let report = answer(&run(&user, driver, &["install", "--offline", "--json", "--from", &build, &runtime]));
    assert_eq!(report["installed"]["id"], "b11156-cuda-13.4");
    let proof = report["installed"]["proof"].to_string();
    assert!(proof.contains("CUDA: loaded, lists CUDA0"), "{proof}");
    let current = user.home().join("current");
    for library in LIBRARIES {
        let image = read_file(&current.join(library), Depth::Links).unwrap();
        assert_eq!(image.name.as_deref(), Some(library));
    }
    assert_eq!(fs_err::read_link(current.join("libllama.so")).unwrap(), PathBuf::from("libllama.so.0"));
    let report = answer(&run(&user, driver, &["inspect", "--run", "--json", current.to_str().unwrap()]));
    assert_eq!(report["build"]["devices"][0]["name"], "CUDA0", "{report:#}");

    answer(&run(&user, driver, &["install", "--offline", "--json", "--from", &processor]));
    let version = Command::new(current.join("llama-server")).arg("--version").output().unwrap();
    assert!(version.status.success() && talk(&version).contains("11434"), "{}", talk(&version));
    let list = answer(&run(&user, driver, &["builds", "--json"]));
    let in_use = |list: &Value| {
        let rows = list["builds"].as_array().unwrap().clone();
        rows.into_iter().find(|row| row["current"] == true).map(|row| row["id"].clone()).unwrap_or_default()
    };
    assert_eq!(in_use(&list), "b11434-cpu");
    assert_eq!(in_use(&answer(&run(&user, driver, &["builds", "rollback", "--json"]))), "b11156-cuda-13.4");

    answer(&run(&user, driver, &["builds", "verify", "b11156-cuda-13.4", "--json"]));
    let backend = current.join("libggml-cuda.so");
    let mut bytes = fs_err::read(&backend).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    fs_err::write(&backend, bytes).unwrap();
    let output = run(&user, driver, &["builds", "verify", "b11156-cuda-13.4"]);
    assert_eq!(code(&output), 5);
    assert!(talk(&output).contains("`libggml-cuda.so` has another content"), "{}", talk(&output));
    answer(&run(&user, driver, &["install", "--offline", "--json", "--from", &build, &runtime]));
    answer(&run(&user, driver, &["builds", "verify", "b11156-cuda-13.4", "--json"]));
    answer(&run(&user, driver, &["builds", "use", "b11434-cpu", "--json"]));
    answer(&run(&user, driver, &["builds", "remove", "b11156-cuda-13.4", "--json"]));
    assert!(!user.home().join("builds/b11156-cuda-13.4").exists());
}

/// An index on loopback with the wheels of the cache, as pip would be served.
fn index() -> Option<Server> {
    let mut wheels = BTreeMap::new();
    for pattern in ["pypi/nvidia_cuda_runtime-13.4.*x86_64.whl", "pypi/nvidia_cublas-13.7.*x86_64.whl"] {
        let path = artifact(pattern)?;
        let bytes = Arc::new(fs_err::read(&path).unwrap());
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        wheels.insert(name, (Sha256Digest::of(&bytes).to_string(), bytes));
    }
    Some(Server::start(move |request| {
        let name = request.path.rsplit('/').next().unwrap();
        if let Some((digest, bytes)) = wheels.get(name) {
            return Reply::file(request, bytes, &format!("\"{digest}\""));
        }
        let package = request.path.trim_matches('/').replace('-', "_") + "-";
        let files = wheels.iter().filter(|(name, _)| name.starts_with(&package));
        let files = files.map(|(name, (digest, bytes))| {
            json!({"filename": name, "url": format!("../files/{name}"), "size": bytes.len(), "hashes": {"sha256": digest}})
        });
        Reply::new(200, json!({"files": files.collect::<Vec<_>>()}).to_string())
    }))
}

#[test]
#[ignore = "needs artifacts"]
fn nvidias_wheels_serve_as_the_companion() {
    let (user, folder) = (User::new(), tempfile::tempdir().unwrap());
    let Some(build) = cuda_build(folder.path()) else { return };
    let Some(index) = index() else { return };
    if machine_has_cuda() {
        return;
    }
    let arguments = ["install", "--json", "--gpu", "rtx-3090", "--cudart", "pypi", "--from", &build];
    let output = user.command(&arguments).env("PIP_INDEX_URL", index.url("")).output().unwrap();
    let report = answer(&output);
    let folder = user.home().join("builds/b11156-cuda-13.4");
    for library in LIBRARIES {
        let image = read_file(&folder.join(library), Depth::Links).unwrap();
        assert_eq!(image.name.as_deref(), Some(library));
    }
    // libcublas finds libcublasLt beside itself, and libggml-cuda finds both.
    let proof = report["installed"]["proof"].to_string();
    assert!(proof.contains("everything but the driver is found"), "{proof}");
    assert!(!folder.join("nvidia").exists());
    assert_eq!(code(&user.run(&["builds", "verify", "b11156-cuda-13.4"])), 0);
}
