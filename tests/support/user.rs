//! Somebody who runs `install` against a GitHub on loopback, in a home of their own.
#![allow(clippy::unwrap_used, reason = "a test helper may stop the test")]

use std::process::{Command, Output};

use serde_json::Value;

use super::archives::Tar;
use super::github::Github;

pub const TODAY: &str = include_str!("../releases/b11434.json");

pub struct User {
    pub folder: tempfile::TempDir,
    pub github: Github,
}

impl User {
    pub fn new() -> Self {
        let user = Self { folder: tempfile::tempdir().unwrap(), github: Github::start() };
        user.github.add(TODAY, &[(&cpu_name("b11434"), cpu_build("b11434"))]);
        user.github.state.lock().unwrap().stable = Some("b11434".to_owned());
        user
    }

    pub fn home(&self) -> std::path::PathBuf {
        self.folder.path().join("home")
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_llama-doctor"));
        command.args(arguments).env_clear().env("HOME", self.folder.path()).env("LLAMA_DOCTOR_HOME", self.home());
        command.env("LLAMA_DOCTOR_GITHUB_URL", self.github.web.url(""));
        command.env("LLAMA_DOCTOR_GITHUB_API_URL", self.github.web.url(""));
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    pub fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(arguments);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{}", talk(&output));
        serde_json::from_str(&text).unwrap()
    }

    /// A machine with this card, driver and C library, for `--facts`.
    pub fn machine(&self, card: &str, driver: &str, libc: &str) -> String {
        let gpu = llama_doctor::manifest::gpus::simulated(card, 0).unwrap();
        let facts = serde_json::json!({
            "schema": "llama-doctor/facts/1",
            "host": {"operating_system": "linux", "architecture": "x86_64", "libc": {"value": libc, "from": "operating-system"}},
            "driver": {"version": {"value": driver, "from": "nvml"}},
            "gpus": [gpu],
        });
        let path = self.folder.path().join("machine.json");
        fs_err::write(&path, facts.to_string()).unwrap();
        path.to_string_lossy().into_owned()
    }
}

pub fn talk(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

pub fn cpu_name(tag: &str) -> String {
    let arch = if cfg!(target_arch = "aarch64") { "ubuntu-arm64" } else { "ubuntu-x64" };
    format!("llama-{tag}-bin-{arch}.tar.gz")
}

/// A file of this machine's format that needs nothing.
pub fn elf() -> Vec<u8> {
    use object::{Architecture, BinaryFormat, Endianness};
    let arch = if cfg!(target_arch = "aarch64") { Architecture::Aarch64 } else { Architecture::X86_64 };
    object::write::Object::new(BinaryFormat::Elf, arch, Endianness::Little).write().unwrap()
}

/// A program that starts and ends well, whatever it is asked.
pub fn program() -> Vec<u8> {
    fs_err::read("/bin/true").unwrap()
}

/// An archive in the official layout, whose programs do nothing.
pub fn cpu_build(tag: &str) -> Vec<u8> {
    let top = format!("llama-{tag}");
    Tar::default()
        .program(format!("{top}/llama-server"), program())
        .file(format!("{top}/libggml-cpu.so"), elf())
        .file(format!("{top}/libggml-base.so.0.26.0"), elf())
        .link(format!("{top}/libggml-base.so.0"), "libggml-base.so.0.26.0")
        .file(format!("{top}/LICENSE"), tag)
        .gz()
}
