//! `install` and who built what it brings: each outcome has its own words and its own end.
//! Run with `--features attestation`; without it, the last test alone applies.
#![allow(clippy::unwrap_used, reason = "a test helper may stop the test")]
#![cfg(target_os = "linux")]

mod support;

use support::user::{User, code, talk};

const INSTALL: [&str; 3] = ["install", "--backend", "cpu"];
const REQUIRE: [&str; 5] = ["install", "--backend", "cpu", "--attestation", "require"];

#[cfg(feature = "attestation")]
mod with_attestations {
    use serde_json::Value;
    use support::user::{cpu_build, cpu_name};

    use super::*;

    /// Real, and somebody else's.
    const STRANGER: &str = include_str!("attestations/github-workflow.json");
    /// Real, and signed under keys that the program does not carry.
    const OTHER_AUTHORITY: &str = include_str!("attestations/other-authority.json");

    fn attest(user: &User, bundle: &str) {
        let bundle: Value = serde_json::from_str(bundle).unwrap();
        user.github.state.lock().unwrap().attestation = Some(bundle);
    }

    #[test]
    fn a_refused_one_ends_the_install_before_the_download() {
        let user = User::new();
        attest(&user, STRANGER);
        for arguments in [&INSTALL[..], &REQUIRE] {
            let output = user.run(arguments);
            assert_eq!(code(&output), 5);
            assert!(talk(&output).contains("is refused: it is about other files"), "{}", talk(&output));
        }
        assert!(user.github.files.requests().is_empty() && !user.home().join("current").exists());
        assert_eq!(code(&user.run(&["install", "--backend", "cpu", "--attestation", "skip"])), 0);
    }

    #[test]
    fn an_absent_one_is_told_and_may_be_required() {
        let user = User::new();
        let output = user.run(&REQUIRE);
        assert_eq!(code(&output), 5);
        assert!(talk(&output).contains("has no attestation"), "{}", talk(&output));
        let output = user.run(&INSTALL);
        assert_eq!(code(&output), 0, "{}", talk(&output));
        assert!(talk(&output).contains("nobody attests to `llama-b11434"), "{}", talk(&output));
    }

    #[test]
    fn unknown_keys_are_a_warning_and_may_be_the_end() {
        let user = User::new();
        attest(&user, OTHER_AUTHORITY);
        let output = user.run(&REQUIRE);
        assert_eq!(code(&output), 5);
        assert!(talk(&output).contains("keys that this program does not know"), "{}", talk(&output));
        assert!(talk(&output).contains("gh attestation verify"), "{}", talk(&output));
        let output = user.run(&INSTALL);
        assert_eq!(code(&output), 0, "{}", talk(&output));
        assert!(talk(&output).contains("warning: the attestation of"), "{}", talk(&output));
    }

    #[test]
    fn an_exhausted_api_is_no_answer() {
        let user = User::new();
        user.github.state.lock().unwrap().api_exhausted = true;
        assert_eq!(code(&user.run(&REQUIRE)), 4);
        let output = user.run(&INSTALL);
        assert_eq!(code(&output), 0, "{}", talk(&output));
        assert!(talk(&output).contains("was not looked at"), "{}", talk(&output));
    }

    #[test]
    fn one_beside_an_archive_needs_no_network() {
        let user = User::new();
        let path = user.folder.path().join(cpu_name("b11434"));
        fs_err::write(&path, cpu_build("b11434")).unwrap();
        let beside = path.with_file_name(format!("{}.sigstore.json", cpu_name("b11434")));
        fs_err::write(&beside, STRANGER).unwrap();
        let arguments = ["install", "--offline", "--from", path.to_str().unwrap()];
        assert_eq!(code(&user.run(&arguments)), 5);
        fs_err::remove_file(beside).unwrap();
        let output = user.run(&[&arguments[..], &["--attestation", "require"]].concat());
        assert_eq!(code(&output), 4, "{}", talk(&output));
        assert_eq!(code(&user.run(&arguments)), 0);
        assert!(user.github.web.requests().is_empty());
    }
}

#[cfg(not(feature = "attestation"))]
#[test]
fn without_the_means_requiring_one_is_an_error_and_nothing_is_asked() {
    let user = User::new();
    assert_eq!(code(&user.run(&REQUIRE)), 2);
    let output = user.run(&INSTALL);
    assert_eq!(code(&output), 0, "{}", talk(&output));
    let said = String::from_utf8_lossy(&output.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("no attestation was checked"), "{said}");
    assert!(user.github.web.paths().iter().all(|path| !path.contains("attestations")));
}
