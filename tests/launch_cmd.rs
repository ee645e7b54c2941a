//! The cmd scripts of `launch`, run by the real `cmd`: every argument arrives byte for byte, every check acts.
//!
//! Copied as `llama-server.exe`, this program writes down its arguments; hence it has a `main` of its own.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]
#![expect(clippy::print_stdout, reason = "a test program of its own says what it tested")]

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};

use llama_doctor::fit::plan::Plan;
use llama_doctor::script::launch::Surroundings;
use llama_doctor::script::{Launch, cmd};

const ECHO_TO: &str = "LLAMA_DOCTOR_TEST_ECHO_TO";
/// What the echo ends with.
const ECHO_CODE: u8 = 7;

/// Names that break careless scripts, of those that a Windows file can have.
const NASTY: &[&str] = &[
    "plain",
    "two words",
    "it's `so` $(x) ${y}",
    "100% %PATH% %%x %1 %~dp0",
    "a & b && c",
    "caret^ ^^ x",
    "bang! !PATH!",
    "(paren) [x] {y}",
    "semi; comma, equals=",
    "-leading --dashes",
    "naïve モデル 🦙",
    "@at #hash ~tilde",
];

fn main() -> ExitCode {
    #[expect(clippy::disallowed_methods, reason = "the scripts' server is told so by its environment")]
    if let Some(path) = std::env::var_os(ECHO_TO) {
        let words: Vec<String> = std::env::args_os().skip(1).map(|word| word.to_str().unwrap().to_owned()).collect();
        fs_err::write(path, serde_json::to_vec(&words).unwrap()).unwrap();
        return ExitCode::from(ECHO_CODE);
    }
    if std::env::args().any(|word| word == "--list") {
        return ExitCode::SUCCESS;
    }
    if !cfg!(windows) {
        println!("skipped: the cmd scripts need cmd");
        return ExitCode::SUCCESS;
    }
    every_argument_arrives_and_the_exit_code_passes();
    what_is_missing_or_changed_is_named();
    println!("cmd: {} names arrived, missing and changed files were named", NASTY.len());
    ExitCode::SUCCESS
}

struct Machine {
    folder: tempfile::TempDir,
    plan: Plan,
}

impl Machine {
    fn new(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut plan: Plan = serde_json::from_str(include_str!("launch/qwen2.5-14b.json")).unwrap();
        plan.models[0].file_bytes.0 = 4;
        let inside = folder.path().join(name);
        fs_err::create_dir_all(&inside).unwrap();
        let model = inside.join(format!("{name}.gguf"));
        fs_err::write(&model, b"GGUF").unwrap();
        fs_err::copy(std::env::current_exe().unwrap(), inside.join("llama-server.exe")).unwrap();
        model.to_str().unwrap().clone_into(&mut plan.options[0].servers[0].arguments[1]);
        Self { folder, plan }
    }

    fn arguments(&self) -> &[String] {
        &self.plan.options[0].servers[0].arguments
    }

    fn model(&self) -> &Path {
        Path::new(&self.arguments()[1])
    }

    fn script(&self) -> PathBuf {
        let server = self.model().with_file_name("llama-server.exe").to_str().unwrap().to_owned();
        let build = Some("b11434".parse().unwrap());
        let fetch = vec![["llama-doctor", "pull", "qwen2.5-14b-instruct"].map(str::to_owned).to_vec()];
        let around = Surroundings { server, build, fetch, ..Surroundings::default() };
        let launch = Launch::from_plan(&self.plan, 0, &around).unwrap();
        cmd::script(&launch).unwrap().write(self.folder.path(), true).unwrap().0
    }

    fn run(&self, more: &[&str]) -> Output {
        Command::new("cmd").args(["/d", "/c"]).arg(self.script()).args(more).env(ECHO_TO, self.echo()).output().unwrap()
    }

    fn echo(&self) -> PathBuf {
        self.folder.path().join("arguments.json")
    }
}

#[expect(clippy::disallowed_methods, reason = "wine's own variable tells it from Windows")]
fn is_wine() -> bool {
    std::env::var_os("WINEPREFIX").is_some()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn every_argument_arrives_and_the_exit_code_passes() {
    for name in NASTY {
        if is_wine() && !name.is_ascii() {
            println!("skipped under wine: {name} (its cmd reads scripts in the ANSI code page, whatever chcp says)");
            continue;
        }
        let machine = Machine::new(name);
        let output = machine.run(&["--alias", "mine"]);
        assert_eq!(output.status.code(), Some(ECHO_CODE.into()), "{name}: {}", said(&output));
        let words: Vec<String> = serde_json::from_slice(&fs_err::read(machine.echo()).unwrap()).unwrap();
        let mut expected = machine.arguments().to_vec();
        expected.extend(["--alias", "mine"].map(str::to_owned));
        assert_eq!(words, expected, "{name}");
    }
}

fn what_is_missing_or_changed_is_named() {
    let machine = Machine::new("model");
    fs_err::write(machine.model(), b"GGUF and more").unwrap();
    let output = machine.run(&[]);
    assert_eq!(output.status.code(), Some(5), "{}", said(&output));
    assert!(said(&output).contains("has 13 bytes, and 4 were planned for"), "{}", said(&output));
    fs_err::remove_file(machine.model()).unwrap();
    let output = machine.run(&[]);
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    assert!(said(&output).contains("fetch it: llama-doctor pull qwen2.5-14b-instruct"), "{}", said(&output));
    assert_eq!(machine.run(&["--no-check"]).status.code(), Some(ECHO_CODE.into()));
}
