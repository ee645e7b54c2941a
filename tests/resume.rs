//! `install`, killed at random points: nothing half-done is ever visible, and nothing is fetched twice beyond one slice.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may stop, and tells its seed")]
#![cfg(target_os = "linux")]

mod support;

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use llama_doctor::install::store::Store;
use llama_doctor::net::digest::Sha256Digest;
use llama_doctor::net::download::SLICE;
use support::archives::Tar;
use support::server::{Reply, Server};

/// Four slices.
const SIZE: usize = 56 << 20;

/// Bytes that do not shrink.
fn noise(length: usize, mut state: u64) -> Vec<u8> {
    let words = std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.take(length / 8).flatten().collect()
}

fn survive(kills: u32) {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    let name = if cfg!(target_arch = "aarch64") { "ubuntu-arm64" } else { "ubuntu-x64" };
    let name = format!("llama-b11434-bin-{name}.tar.gz");
    let archive = Arc::new(
        Tar::default()
            .program("llama-b11434/llama-server", fs_err::read("/bin/true").unwrap())
            .file("llama-b11434/libggml-cpu.so", fs_err::read("/bin/true").unwrap())
            .file("llama-b11434/weights", noise(SIZE, 7))
            .gz(),
    );
    let asset = serde_json::json!({
        "name": name, "state": "uploaded", "size": archive.len(), "digest": format!("sha256:{}", Sha256Digest::of(&archive)),
    });
    let release = serde_json::json!({"tag_name": "b11434", "assets": [asset]}).to_string();
    let served = Arc::clone(&archive);
    let server = Server::start(move |request| {
        if request.path.contains("/releases/tags/") {
            return Reply::new(200, release.clone());
        }
        Reply::file(request, &served, "\"one\"").pace(6 << 20)
    });
    let run = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_llama-doctor"));
        command.args(["install", "b11434", "--backend", "cpu", "--quiet"]).env_clear();
        command.env("HOME", folder.path()).env("LLAMA_DOCTOR_HOME", &home);
        command.env("LLAMA_DOCTOR_GITHUB_URL", server.url("")).env("LLAMA_DOCTOR_GITHUB_API_URL", server.url(""));
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        command
    };
    let store = Store::new(home.clone());
    let mut random = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64 | 1;
    println!("seed {random}");
    let (mut wounded, mut rounds) = (0, 1);
    for _ in 0..kills {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let mut child = run().spawn().unwrap();
        std::thread::sleep(Duration::from_millis(random % 700));
        if child.try_wait().unwrap().is_none() {
            wounded += 1;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // Whatever is visible is whole.
        for build in store.list().unwrap() {
            assert!(build.receipt.differences(&build.path, true).unwrap().is_empty());
        }
        if let Some(current) = store.current().unwrap() {
            assert!(current.path.join("llama-server").is_file());
        }
        if store.current().unwrap().is_some() && wounded < kills / 2 {
            // Done early: begin anew, so that every part of an install is hit.
            fs_err::remove_dir_all(&home).unwrap();
            rounds += 1;
        }
    }
    let output = run().output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let build = store.current().unwrap().unwrap();
    assert!(build.receipt.differences(&build.path, true).unwrap().is_empty());
    assert_eq!(fs_err::read(build.path.join("weights")).unwrap(), noise(SIZE, 7));
    let most = rounds * archive.len() as u64 + u64::from(wounded) * SLICE.0;
    assert!(server.sent() <= most, "{} bytes were served, and at most {most} were needed", server.sent());
    println!(
        "{wounded} of {kills} runs were killed; {} bytes served for {rounds} times {}",
        server.sent(),
        archive.len()
    );
}

#[test]
fn ten_kills_harm_nothing() {
    survive(10);
}

#[test]
#[ignore = "a minute and more"]
fn a_hundred_kills_harm_nothing() {
    survive(100);
}
