//! Real bundles, whole and changed, against the real keys.

use base64_lite::{decoded, encoded};
use serde_json::json;

use super::*;

/// Signed by a GitHub workflow through Sigstore's public instance in May 2024; the digest is of its one subject.
/// Source: test data of <https://github.com/cli/cli>, `pkg/cmd/attestation/test/data/reusable-workflow-attestation.sigstore.json`.
const PUBLIC: &str = include_str!("../../../../tests/attestations/github-workflow.json");
const SUBJECT: &str = "49a3aa6075e0f49f82843e74b5baa614ad2a588e6675612bf108a0a008c5ac25";
/// Signed through GitHub's own instance, which serves private repositories.
/// Source: there, `github_provenance_demo-0.0.12-py3-none-any-bundle.jsonl`.
const OTHER_AUTHORITY: &str = include_str!("../../../../tests/attestations/other-authority.json");

fn bundle(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn signer() -> Signer {
    Signer {
        repository: "malancas/attest-demo".to_owned(),
        workflows: vec!["github/artifact-attestations-workflows/.github/workflows/attest.yml@09b495c3f12c7881b3cc17209a327792065c1a1d".to_owned()],
        issuer: "https://token.actions.githubusercontent.com".to_owned(),
    }
}

fn find(bundles: &[Value], signer: &Signer) -> Finding {
    examine(SUBJECT.parse().unwrap(), bundles, signer, ROOT)
}

fn refusal(finding: Finding) -> String {
    match finding {
        Finding::Refused { why } => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_real_attestation_holds_for_its_file_alone() {
    let finding = find(&[bundle(PUBLIC)], &signer());
    let Finding::Verified { workflow, commit } = finding else { panic!("{finding:?}") };
    assert_eq!(workflow, signer().workflows[0]);
    assert_eq!(commit.as_deref(), Some("95baf27389e83e6a5c48f42e190d48d7abcea19e"));
    let other = examine(Sha256Digest::of(b"another file"), &[bundle(PUBLIC)], &signer(), ROOT);
    assert!(refusal(other).contains("not about this one"));
}

#[test]
fn another_workflow_repository_or_issuer_is_refused() {
    let workflows = vec!["ggml-org/llama.cpp/.github/workflows/release.yml@refs/heads/master".to_owned()];
    assert!(refusal(find(&[bundle(PUBLIC)], &Signer { workflows, ..signer() })).contains("attest.yml@09b495c3"));
    let repository = "ggml-org/llama.cpp".to_owned();
    let why = refusal(find(&[bundle(PUBLIC)], &Signer { repository, ..signer() }));
    assert!(why.contains("built from `https://github.com/malancas/attest-demo`"), "{why}");
    let issuer = "https://example.org".to_owned();
    assert!(refusal(find(&[bundle(PUBLIC)], &Signer { issuer, ..signer() })).contains("issuer"));
}

#[test]
fn a_changed_statement_signature_or_log_is_refused() {
    let original = bundle(PUBLIC);
    let payload = decoded(original["dsseEnvelope"]["payload"].as_str().unwrap());
    let other = String::from_utf8(payload).unwrap().replace(SUBJECT, &Sha256Digest::of(b"evil").to_string());
    let mut changed = original.clone();
    changed["dsseEnvelope"]["payload"] = json!(encoded(other.as_bytes()));
    let finding = examine(Sha256Digest::of(b"evil"), &[changed], &signer(), ROOT);
    assert!(refusal(finding).contains("signature"));
    for place in [
        "/dsseEnvelope/signatures/0/sig",
        "/verificationMaterial/tlogEntries/0/inclusionPromise/signedEntryTimestamp",
        "/verificationMaterial/tlogEntries/0/inclusionProof/hashes/3",
        "/verificationMaterial/tlogEntries/0/canonicalizedBody",
        "/verificationMaterial/certificate/rawBytes",
    ] {
        let mut changed = original.clone();
        let field = changed.pointer_mut(place).unwrap();
        let mut bytes = decoded(field.as_str().unwrap());
        let at = bytes.len() - 5;
        bytes[at] ^= 1;
        *field = json!(encoded(&bytes));
        refusal(find(&[changed], &signer()));
    }
    let mut bare = original;
    bare["verificationMaterial"]["tlogEntries"] = json!([]);
    refusal(find(&[bare], &signer()));
    refusal(find(&[json!({"mediaType": "x"})], &signer()));
}

#[test]
fn keys_that_are_not_carried_are_told_from_forgery() {
    let finding = find(&[bundle(OTHER_AUTHORITY)], &signer());
    assert!(matches!(&finding, Finding::UnknownKeys { why } if why.contains("GitHub, Inc.")), "{finding:?}");
    // A root from before the log's and the authority's keys of today.
    for part in ["tlogs", "certificateAuthorities"] {
        let mut root = bundle(ROOT);
        root[part] = json!([]);
        let finding = examine(SUBJECT.parse().unwrap(), &[bundle(PUBLIC)], &signer(), &root.to_string());
        assert!(matches!(finding, Finding::UnknownKeys { .. }), "{part}: {finding:?}");
    }
}

#[test]
fn a_form_of_later_years_is_not_called_forged() {
    let mut later = bundle(PUBLIC);
    later["mediaType"] = json!("application/vnd.dev.sigstore.bundle.v0.9+json");
    let finding = find(&[later], &signer());
    assert!(matches!(&finding, Finding::UnknownKeys { why } if why.contains("v0.9")), "{finding:?}");
}

#[test]
fn statements_about_other_things_do_not_count_and_one_good_one_is_enough() {
    assert_eq!(find(&[], &signer()), Finding::Absent);
    let mut release = bundle(PUBLIC);
    let payload = decoded(release["dsseEnvelope"]["payload"].as_str().unwrap());
    let text = String::from_utf8(payload).unwrap().replace("slsa.dev/provenance/v1", "in-toto.io/attestation/release");
    release["dsseEnvelope"]["payload"] = json!(encoded(text.as_bytes()));
    assert_eq!(find(&[release.clone()], &signer()), Finding::Absent);
    let finding = find(&[bundle(OTHER_AUTHORITY), release, bundle(PUBLIC)], &signer());
    assert!(matches!(finding, Finding::Verified { .. }), "{finding:?}");
}

/// Base64, for tests alone.
mod base64_lite {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    pub(super) fn decoded(text: &str) -> Vec<u8> {
        let values = text.bytes().filter_map(|letter| LETTERS.iter().position(|known| *known == letter));
        let values: Vec<usize> = values.collect();
        let groups = values.chunks(4).flat_map(|group| {
            let bits = group.iter().fold(0, |bits, value| bits << 6 | value) << (6 * (4 - group.len()));
            [bits >> 16, bits >> 8, bits].map(|byte| byte as u8).into_iter().take(group.len() - 1)
        });
        groups.collect()
    }

    pub(super) fn encoded(bytes: &[u8]) -> String {
        let groups = bytes.chunks(3).flat_map(|group| {
            let bits = group.iter().fold(0, |bits, byte| bits << 8 | usize::from(*byte)) << (8 * (3 - group.len()));
            let letter =
                move |at: usize| if at > group.len() { '=' } else { LETTERS[bits >> (18 - 6 * at) & 63].into() };
            [letter(0), letter(1), letter(2), letter(3)]
        });
        groups.collect()
    }
}
