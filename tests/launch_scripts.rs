//! The scripts of `launch`, run by the real shells that are here: every argument arrives byte for byte, every check acts.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use llama_doctor::fit::plan::Plan;
use llama_doctor::script::launch::Surroundings;
use llama_doctor::script::{Launch, cmd, powershell, quote, sh};
use proptest::prelude::*;

/// Names that break careless scripts.
const NASTY: &[&str] = &[
    "plain",
    "two words",
    "it's",
    "\"double\"",
    "$(touch pwned) `touch pwned` $HOME ${x}",
    "%PATH% ^caret! & | < > ; * ? [a] {b} ~ #",
    "-leading --dashes",
    "back\\slash\\",
    "naïve モデル 🦙",
    "new\nline",
    "tab\there",
];

fn plan() -> Plan {
    serde_json::from_str(include_str!("launch/qwen2.5-14b.json")).unwrap()
}

fn fetch() -> Vec<String> {
    ["llama-doctor", "pull", "qwen2.5-14b-instruct", "--to", "/srv/my models"].map(str::to_owned).to_vec()
}

/// A folder with a model of the right size, a llama-server that writes down its arguments, and an nvidia-smi.
struct Machine {
    folder: tempfile::TempDir,
    plan: Plan,
}

impl Machine {
    fn new(model_name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut plan = plan();
        let model = folder.path().join(model_name);
        fs_err::write(&model, b"GGUF").unwrap();
        plan.models[0].file_bytes.0 = 4;
        plan.options[0].servers[0].arguments[1] = model.display().to_string();
        let machine = Self { folder, plan };
        machine.program("llama server", "printf '%s\\0' \"$@\" > \"${0%/*}/arguments\"; exit 7\n");
        machine
    }

    fn program(&self, name: &str, body: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs_err::write(&path, format!("#!/bin/sh\n{body}")).unwrap();
        fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn free_vram(&self, mib: &str) {
        self.program("nvidia-smi", &format!("echo '{mib}'\n"));
    }

    fn launch(&self) -> Launch {
        let server = self.folder.path().join("llama server").to_str().unwrap().to_owned();
        let build = Some("b11434".parse().unwrap());
        Launch::from_plan(
            &self.plan,
            0,
            &Surroundings { server, build, fetch: vec![fetch()], ..Surroundings::default() },
        )
        .unwrap()
    }

    fn script(&self) -> PathBuf {
        sh::script(&self.launch()).unwrap().write(self.folder.path(), true).unwrap().0
    }

    fn run(&self, shell: &str, arguments: &[&str]) -> Output {
        Command::new(shell)
            .arg(self.script())
            .args(arguments)
            .env("PATH", format!("{}:/usr/bin:/bin", self.folder.path().display()))
            .env_remove("XDG_CONFIG_HOME")
            .env("HOME", self.folder.path())
            .output()
            .unwrap()
    }

    fn arguments(&self) -> Vec<String> {
        let text = fs_err::read_to_string(self.folder.path().join("arguments")).unwrap();
        text.split_terminator('\0').map(str::to_owned).collect()
    }
}

fn shells() -> Vec<&'static str> {
    ["sh", "bash", "dash", "zsh"].into_iter().filter(|shell| which::which(shell).is_ok()).collect()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn every_argument_arrives_and_the_exit_code_passes() {
    let long = "long ".repeat(48);
    for name in NASTY.iter().copied().chain([long.trim()]) {
        let machine = Machine::new(name);
        machine.free_vram("24000");
        for shell in shells() {
            let output = machine.run(shell, &["--alias", name]);
            assert_eq!(output.status.code(), Some(7), "{shell}: {}", said(&output));
            let mut expected = machine.plan.options[0].servers[0].arguments.clone();
            expected.extend(["--alias".to_owned(), name.to_owned()]);
            assert_eq!(machine.arguments(), expected, "{shell} and {name:?}");
            assert!(!machine.folder.path().join("pwned").exists());
        }
    }
}

#[test]
fn short_vram_steps_down_or_refuses() {
    let machine = Machine::new("model.gguf");
    let context = |machine: &Machine| machine.arguments()[3].clone();
    machine.free_vram("20000");
    let output = machine.run("sh", &[]);
    assert_eq!(context(&machine), "104448");
    assert!(said(&output).contains("CUDA0 has 20000 MiB free"), "{}", said(&output));
    machine.free_vram("13000");
    machine.run("sh", &[]);
    assert_eq!(context(&machine), "34816");
    fs_err::remove_file(machine.folder.path().join("arguments")).unwrap();
    let output = machine.run("sh", &["--strict-vram"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(said(&output).contains("--strict-vram"));
    machine.free_vram("1000");
    let output = machine.run("sh", &[]);
    assert_eq!(output.status.code(), Some(3));
    assert!(said(&output).contains("no planned context fits"));
    assert!(!machine.folder.path().join("arguments").exists());
    assert_eq!(machine.run("sh", &["--no-check"]).status.code(), Some(7));
    assert_eq!(context(&machine), "139520");
}

/// The router reads its contexts from a preset, so a step down is a preset of its own; the written one stays.
#[test]
fn a_router_of_two_models_steps_down() {
    let folder = tempfile::tempdir().unwrap();
    let executable = |name: &str, body: &str| {
        let path = folder.path().join(name);
        fs_err::write(&path, format!("#!/bin/sh\n{body}")).unwrap();
        fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    executable("llama-server", "cat \"$2\"\n");
    let written = Command::new(env!("CARGO_BIN_EXE_llama-doctor"))
        .args(["launch", "qwen2.5-14b-instruct", "qwen2.5-3b-instruct", "--gpu", "rtx-3090", "--offline"])
        .args(["--format", "preset", "--server", "llama-server", "--out", "."])
        .current_dir(folder.path())
        .env("LLAMA_DOCTOR_HOME", folder.path().join("home"))
        .output()
        .unwrap();
    assert!(written.status.success(), "{}", said(&written));
    for model in ["Qwen2.5-14B-Instruct-Q4_K_M.gguf", "Qwen2.5-3B-Instruct-Q4_K_M.gguf"] {
        fs_err::write(folder.path().join(model), "").unwrap();
    }
    let contexts = |mib: &str, arguments: &[&str]| {
        executable("nvidia-smi", &format!("echo {mib}\n"));
        let started = Command::new("sh")
            .arg("qwen2.5-14b-instruct-and-qwen2.5-3b-instruct-router.sh")
            .args(arguments)
            .current_dir(folder.path())
            .env("PATH", format!("{}:/usr/bin:/bin", folder.path().display()))
            .output()
            .unwrap();
        let preset = String::from_utf8_lossy(&started.stdout).into_owned();
        let contexts = preset.lines().filter_map(|line| line.strip_prefix("c = ")).map(str::to_owned);
        (started.status.code(), contexts.collect::<Vec<_>>())
    };
    assert_eq!(contexts("24000", &[]), (Some(0), vec!["32768".to_owned(); 2]));
    assert_eq!(contexts("15000", &[]), (Some(0), vec!["16384".to_owned(); 2]));
    assert_eq!(contexts("15000", &["--strict-vram"]), (Some(3), Vec::new()));
    assert_eq!(contexts("24000", &[]), (Some(0), vec!["32768".to_owned(); 2]), "the written preset is as it was");
}

#[test]
fn unknown_vram_is_said_and_the_plan_started() {
    let machine = Machine::new("model.gguf");
    for answer in ["No devices were found", "[N/A]"] {
        machine.free_vram(answer);
        let output = machine.run("sh", &[]);
        assert_eq!(output.status.code(), Some(7));
        assert!(said(&output).contains("not known here"), "{}", said(&output));
    }
}

#[test]
fn a_missing_or_changed_model_is_named() {
    let machine = Machine::new("model.gguf");
    let model = machine.folder.path().join("model.gguf");
    fs_err::write(&model, b"GGUF and more").unwrap();
    let output = machine.run("sh", &[]);
    assert_eq!(output.status.code(), Some(5));
    assert!(said(&output).contains("has 13 bytes, and 4 were planned for"), "{}", said(&output));
    fs_err::remove_file(&model).unwrap();
    let output = machine.run("sh", &[]);
    assert_eq!(output.status.code(), Some(3));
    assert!(said(&output).contains("fetch it: llama-doctor pull qwen2.5-14b-instruct"), "{}", said(&output));
    fs_err::write(&model, b"GGUF").unwrap();
    let script = machine.script();
    fs_err::remove_file(machine.folder.path().join("llama server")).unwrap();
    let output = Command::new("sh").arg(script).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(said(&output).contains("llama-doctor install"));
}

#[test]
fn what_changes_the_defaults_is_said() {
    let machine = Machine::new("model.gguf");
    fs_err::create_dir_all(machine.folder.path().join(".config/llama.cpp")).unwrap();
    fs_err::write(machine.folder.path().join(".config/llama.cpp/config.ini"), "").unwrap();
    let output = Command::new("sh")
        .arg(machine.script())
        .env("LLAMA_ARG_CTX_SIZE", "1")
        .env_remove("XDG_CONFIG_HOME")
        .env("HOME", machine.folder.path())
        .output()
        .unwrap();
    assert!(said(&output).contains("LLAMA_ARG_CTX_SIZE"), "{}", said(&output));
    assert!(said(&output).contains("config.ini changes"), "{}", said(&output));
}

#[test]
fn a_command_after_then_gets_the_checks_and_the_step() {
    let machine = Machine::new("model.gguf");
    machine.free_vram("20000");
    let echo = machine.program("echo arguments", "printf '%s|' \"$@\"\n");
    let output = machine.run("sh", &["--then", echo.to_str().unwrap(), "-c", "139520", "a b"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "-c|139520|a b|-c|104448|");
}

/// Two servers from one script: both start, the one that fails is named, no process stays.
#[test]
fn two_servers_end_together() {
    let mut machine = Machine::new("model.gguf");
    let mut second = machine.plan.options[0].servers[0].clone();
    let port = second.arguments.iter().position(|word| word == "8080").unwrap();
    second.arguments[port] = String::from("8081");
    machine.plan.options[0].servers.push(second);
    machine.free_vram("90000");
    machine.program("curl", "exit 0\n");
    machine.program(
        "llama server",
        "case \"$*\" in *8081*) sleep 2; exit 9;; esac\necho $$ > \"${0%/*}/first\"\nexec sleep 600\n",
    );
    let output = machine.run("sh", &[]);
    assert_eq!(output.status.code(), Some(9), "{}", said(&output));
    assert!(said(&output).contains("qwen2.5-14b-instruct-2 ended with exit code 9"), "{}", said(&output));
    let first = fs_err::read_to_string(machine.folder.path().join("first")).unwrap();
    assert!(!is_running(&first), "the first server outlived the script");
}

#[test]
fn a_signal_stops_both_servers() {
    let mut machine = Machine::new("model.gguf");
    let second = machine.plan.options[0].servers[0].clone();
    machine.plan.options[0].servers.push(second);
    machine.free_vram("90000");
    machine.program("curl", "exit 0\n");
    machine.program("llama server", "echo $$ >> \"${0%/*}/pids\"\nexec sleep 600\n");
    let mut script = Command::new("sh")
        .arg(machine.script())
        .env("PATH", format!("{}:/usr/bin:/bin", machine.folder.path().display()))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let pids = machine.folder.path().join("pids");
    let two = || fs_err::read_to_string(&pids).is_ok_and(|text| text.lines().count() == 2);
    wait_until(two);
    std::thread::sleep(Duration::from_millis(500));
    Command::new("kill").arg(script.id().to_string()).status().unwrap();
    assert_eq!(script.wait().unwrap().code(), Some(143));
    for pid in fs_err::read_to_string(&pids).unwrap().lines() {
        assert!(!is_running(pid), "{pid} outlived the script");
    }
}

fn wait_until(mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(20), "nothing happened for 20 s");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn is_running(pid: &str) -> bool {
    Command::new("kill").args(["-0", pid.trim()]).stderr(Stdio::null()).status().unwrap().success()
}

fn run_through(shell: &str, words: &[String]) -> Vec<String> {
    let quoted: Vec<String> = words.iter().map(|word| quote::sh(word).unwrap()).collect();
    let output = Command::new(shell).arg("-c").arg(format!("printf '%s\\0' {}", quoted.join(" "))).output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().split_terminator('\0').map(str::to_owned).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_word_survives_the_shells(words in prop::collection::vec("[^\0]{0,40}|[ -~]{0,300}|[-'\"`$\\\\!%^&\n]{1,20}", 1..12)) {
        for shell in shells() {
            prop_assert_eq!(&run_through(shell, &words), &words);
        }
    }

    /// By PowerShell's grammar: a single-quoted string ends at a quote that is not doubled, of whichever of the five kinds.
    #[test]
    fn any_word_survives_powershells_grammar(word in "\\PC{0,60}|['‘’‚‛\"$`]{0,20}") {
        let quoted = quote::powershell(&word).unwrap();
        prop_assert_eq!(read_powershell(&quoted), Some((word, "")));
    }

    /// By cmd's: `%%` is `%`, quotes are balanced, and the program's own parser undoes the backslashes.
    #[test]
    fn any_word_survives_cmds_grammar(word in "[^\"\\p{Cc}]{0,60}|[%\\\\ ^&!]{0,20}") {
        let quoted = quote::cmd(&word).unwrap();
        let expanded = quoted.replace("%%", "%");
        prop_assert_eq!(expanded.matches('"').count(), 2);
        let inner = &expanded[1..expanded.len() - 1];
        let backslashes = inner.len() - inner.trim_end_matches('\\').len();
        prop_assert_eq!(&inner[..inner.len() - backslashes / 2], word);
    }
}

const POWERSHELL_QUOTES: [char; 5] = ['\'', '\u{2018}', '\u{2019}', '\u{201a}', '\u{201b}'];

fn read_powershell(text: &str) -> Option<(String, &str)> {
    let rest = text.strip_prefix('\'')?;
    let mut word = String::new();
    let mut characters = rest.char_indices();
    while let Some((at, c)) = characters.next() {
        if POWERSHELL_QUOTES.contains(&c) {
            let after = &rest[at + c.len_utf8()..];
            if !after.starts_with(POWERSHELL_QUOTES) {
                return Some((word, after));
            }
            characters.next();
        }
        word.push(c);
    }
    None
}

/// Every line outside a here-string has balanced quotes, braces close, and each value stands where it was written.
#[test]
fn the_powershell_script_is_balanced() {
    for name in ["it's ‘x’", "naïve", "$(x) `y`"] {
        let file = powershell::script(&Machine::new(name).launch()).unwrap();
        let mut depth = 0_i32;
        for line in file.text.lines() {
            let mut rest = line;
            while let Some(c) = rest.chars().next() {
                match c {
                    '#' => break,
                    '\'' => {
                        rest = read_powershell(rest).unwrap_or_else(|| panic!("unbalanced quote: {line}")).1;
                        continue;
                    }
                    '"' => {
                        rest = &rest[1..];
                        rest = &rest[rest.find('"').unwrap_or_else(|| panic!("unbalanced quote: {line}"))..];
                    }
                    '{' | '(' | '[' => depth += 1,
                    '}' | ')' | ']' => depth -= 1,
                    _ => {}
                }
                rest = &rest[c.len_utf8()..];
            }
        }
        assert_eq!(depth, 0);
        let bytes = file.bytes();
        assert_eq!(bytes.starts_with(&[0xEF, 0xBB, 0xBF]), !file.text.is_ascii());
        assert!(!String::from_utf8(bytes).unwrap().replace("\r\n", "").contains('\n'));
    }
}

#[test]
fn snapshots() {
    let around = Surroundings {
        server: "/opt/llama-b11434/llama-server".to_owned(),
        build: Some("b11434".parse().unwrap()),
        uuids: vec![("CUDA0".to_owned(), "GPU-8f0f2b4e".to_owned())],
        fetch: vec![fetch()],
        ..Surroundings::default()
    };
    let launch = Launch::from_plan(&plan(), 0, &around).unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/launch");
    insta::with_settings!({ snapshot_path => folder, prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("sh", sh::script(&launch).unwrap().text);
        insta::assert_snapshot!("ps1", powershell::script(&launch).unwrap().text);
        insta::assert_snapshot!("cmd", cmd::script(&launch).unwrap().text);
    });
}
