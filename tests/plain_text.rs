//! What we say in our own words is ASCII, so that no console, font or pipe can make gibberish of it: a console of code page
//! 437, `more`, and Windows PowerShell, which reads pipes in that code page. Names of files and machines stay as they are.

use clap::{ColorChoice, CommandFactory as _};
use llama_doctor::check::machine::Diagnosis;
use llama_doctor::check::{ALL, Selection};
use llama_doctor::cli::Cli;
use llama_doctor::host::facts::Facts;

#[track_caller]
fn is_plain(place: &str, text: &str) {
    let odd = text.lines().find(|line| !line.is_ascii());
    assert_eq!(odd, None, "{place}");
}

fn help(command: &mut clap::Command, path: &str) {
    is_plain(path, &command.render_long_help().to_string());
    for subcommand in command.get_subcommands_mut() {
        let path = format!("{path} {}", subcommand.get_name());
        help(subcommand, &path);
    }
}

#[test]
fn help_is_plain() {
    help(&mut Cli::command().color(ColorChoice::Never), "llama-doctor");
}

#[test]
fn explanations_are_plain() {
    for check in ALL {
        is_plain(check.id(), &format!("{}\n{}", check.title(), check.explanation()));
    }
}

#[test]
fn findings_evidence_and_remedies_are_plain() {
    for entry in fs_err::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/machines")).unwrap() {
        let path = entry.unwrap().path();
        let diagnosis = Diagnosis::of(&Facts::load(&path).unwrap(), &Selection::default());
        is_plain(&path.to_string_lossy(), &serde_json::to_string_pretty(&diagnosis).unwrap());
    }
}

#[test]
fn plans_and_their_explanations_are_plain() {
    for more in [&["-v"][..], &["--explain"], &["-np", "1", "--explain", "-c", "4096", "-ctk", "f16", "-ctv", "f16"]] {
        let home = tempfile::tempdir().unwrap();
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_llama-doctor"));
        command.args(["fit", "qwen2.5-14b-instruct", "qwen2.5-3b-instruct", "--gpu", "rtx-3090", "--offline"]);
        let output = command.args(more).arg("--home").arg(home.path()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        is_plain(&more.join(" "), &String::from_utf8(output.stdout).unwrap());
    }
}
