//! Windows as a whole: the programs that `.ci/windows-fakes.sh` builds stand for NVIDIA's and llama.cpp's, and
//! `.ci/fetch-windows.sh` brings real builds. `.ci/windows-test.sh` prepares both and runs these tests under wine.
#![cfg(windows)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]
#![expect(clippy::disallowed_methods, reason = "the runner says in the environment where its files are")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use llama_doctor::fit::plan::Plan;
use llama_doctor::script::launch::Surroundings;
use llama_doctor::script::{Launch, cmd};

/// Names that break careless scripts and that Windows allows. None has a percent sign: wine's cmd expands again what an
/// expansion brought, which cmd.exe does not. The quoting is tested against cmd's grammar in `launch_scripts.rs`.
const NASTY: &[&str] = &[
    "plain",
    "two words",
    "it's",
    "$(touch pwned) `touch pwned` $HOME ${x}",
    "^caret! & ; [a] {b} ~ #",
    "-leading --dashes",
    "(parentheses) a=b,c;d",
    "naïve モデル 🦙",
];

fn fakes() -> PathBuf {
    PathBuf::from(std::env::var("LLAMA_DOCTOR_WINDOWS_FAKES").unwrap())
}

fn doctor(arguments: &[&str]) -> Output {
    let home = tempfile::tempdir().unwrap();
    Command::new(env!("CARGO_BIN_EXE_llama-doctor"))
        .args(arguments)
        .args(["--color", "never"])
        .env("LLAMA_DOCTOR_HOME", home.path())
        .output()
        .unwrap()
}

fn json(arguments: &[&str]) -> serde_json::Value {
    let output = doctor(arguments);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", said(&output)))
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
#[ignore = "needs the fakes in System32"]
fn the_card_is_seen() {
    let answer = json(&["check", "--json"]);
    assert_eq!(answer["host"]["operating_system"], "windows");
    assert_eq!(answer["driver"]["version"]["value"], "581.42");
    assert_eq!(answer["gpus"][0]["id"], "CUDA0");
    assert_eq!(answer["gpus"][0]["name"], "NVIDIA GeForce RTX 3090");
    assert_eq!(answer["gpus"][0]["compute_capability"], "8.6");
    assert_eq!(answer["gpus"][0]["driver_model"]["value"], "wddm");
}

/// A launch whose server writes down its arguments and answers 7.
struct Machine {
    folder: tempfile::TempDir,
    plan: Plan,
}

impl Machine {
    fn new(model_name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs_err::copy(fakes().join("record-arguments.exe"), folder.path().join("llama server.exe")).unwrap();
        let model = folder.path().join(model_name);
        fs_err::write(&model, b"GGUF").unwrap();
        let mut plan: Plan = serde_json::from_str(include_str!("launch/qwen2.5-14b.json")).unwrap();
        plan.models[0].file_bytes.0 = 4;
        plan.options[0].servers[0].arguments[1] = model.to_str().unwrap().to_owned();
        Self { folder, plan }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let server = self.folder.path().join("llama server.exe").to_str().unwrap().to_owned();
        let launch = Launch::from_plan(&self.plan, 0, &Surroundings { server, ..Surroundings::default() }).unwrap();
        let script = cmd::script(&launch).unwrap().write(self.folder.path(), true).unwrap().0;
        Command::new("cmd").arg("/d").arg("/c").arg(script).args(arguments).output().unwrap()
    }

    fn arguments(&self) -> Vec<String> {
        read_arguments(self.folder.path())
    }
}

fn read_arguments(folder: &Path) -> Vec<String> {
    let text = fs_err::read_to_string(folder.join("arguments")).unwrap();
    text.split_terminator('\0').map(str::to_owned).collect()
}

#[test]
#[ignore = "needs the recording program"]
fn every_argument_arrives_through_cmd() {
    for name in NASTY {
        let machine = Machine::new(name);
        let output = machine.run(&["--no-check", "--alias", "mine"]);
        assert_eq!(output.status.code(), Some(7), "{name}: {}", said(&output));
        let mut expected = machine.plan.options[0].servers[0].arguments.clone();
        expected.extend(["--alias".to_owned(), "mine".to_owned()]);
        assert_eq!(machine.arguments(), expected, "{name}");
    }
}

#[test]
#[ignore = "needs the recording program"]
fn a_missing_or_changed_model_is_named_by_the_script() {
    let machine = Machine::new("model (1).gguf");
    let model = machine.folder.path().join("model (1).gguf");
    let output = machine.run(&[]);
    assert_eq!(output.status.code(), Some(7), "{}", said(&output));
    fs_err::write(&model, b"GGUF and more").unwrap();
    let output = machine.run(&[]);
    assert_eq!(output.status.code(), Some(5), "{}", said(&output));
    assert!(said(&output).contains("has 13 bytes, and 4 were planned for"), "{}", said(&output));
    fs_err::remove_file(&model).unwrap();
    let output = machine.run(&[]);
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    assert!(said(&output).contains("is missing"), "{}", said(&output));
}
