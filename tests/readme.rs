//! The README is true: its table of checks is the one in the code, and each console block shows what the program prints.
//!
//! `UPDATE_README=1 cargo test --test readme` writes both anew.

#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may panic, and has a switch")]

use std::process::Command;

use llama_doctor::report::explain;

const BEGIN: &str = "<!-- checks:begin -->\n";
const END: &str = "<!-- checks:end -->";

/// Runs `$ llama-doctor …` as a user without a GPU would, and gives what stands below it.
fn answer(line: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let words: Vec<&str> = line.split(' ').skip(1).collect();
    let output = Command::new(env!("CARGO_BIN_EXE_llama-doctor"))
        .args(words)
        .args(["--home", folder.path().join("home").to_str().unwrap()])
        .current_dir(folder.path())
        .env("HF_HOME", folder.path().join("hub"))
        .env("NO_COLOR", "1")
        .output()
        .unwrap();
    assert!(output.status.code().is_some_and(|code| code <= 1), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().replace("\r\n", "\n")
}

/// The README with its table and its console blocks as they should be.
fn fresh(readme: &str) -> String {
    let (before, rest) = readme.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let readme = format!("{before}{BEGIN}{}{END}{after}", explain::table());
    let mut blocks = readme.split("```console\n");
    let mut text = blocks.next().unwrap().to_owned();
    for block in blocks {
        let (shown, after) = block.split_once("```").unwrap();
        let command = shown.lines().next().unwrap();
        let told = answer(command.strip_prefix("$ ").unwrap());
        text.extend(["```console\n", command, "\n", told.trim_end(), "\n```", after]);
    }
    text
}

#[test]
#[cfg_attr(windows, ignore = "the README shows Linux")]
fn the_readme_shows_what_the_program_prints() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let readme = fs_err::read_to_string(path).unwrap().replace("\r\n", "\n");
    let fresh = fresh(&readme);
    if std::env::var_os("UPDATE_README").is_some() {
        fs_err::write(path, &fresh).unwrap();
        return;
    }
    assert!(readme == fresh, "README.md is stale: UPDATE_README=1 cargo test --test readme writes it anew");
}
