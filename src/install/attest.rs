//! Who built a file: the attestation that GitHub Actions signs through Sigstore. It is checked on this machine, against
//! keys that the program carries; nobody is asked but the release's own API for the attestation itself.

#[cfg(feature = "attestation")]
mod sigstore;

use std::path::Path;

use serde_json::Value;

use super::InstallError;
use crate::net::digest::Sha256Digest;

/// How much an attestation has to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// A refused one ends the install; a missing one and one with unknown keys are told.
    #[default]
    Auto,
    /// Only a file whose attestation holds is installed.
    Require,
    /// Not looked at.
    Skip,
}

/// Who has to have signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    /// `owner/name`, whose source was built.
    pub repository: String,
    /// `owner/name/.github/workflows/FILE@REF`, any of which may have built it.
    pub workflows: Vec<String>,
    /// Who vouches for the workflow's name.
    pub issuer: String,
}

/// What the attestations of a file came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// All of it holds: what was built, by whom, from what.
    Verified { workflow: String, commit: Option<String> },
    /// Nobody attests to this file.
    Absent,
    /// Signed with keys, or written in a form, that this program does not know: newer than it, or nobody's.
    UnknownKeys { why: String },
    /// One that speaks against the file: forged, changed, of another file, or by somebody else.
    Refused { why: String },
    /// There was no way to learn it.
    Unasked { why: String },
}

/// Whether this program can check attestations at all.
pub const AVAILABLE: bool = cfg!(feature = "attestation");

/// Bundles hold a few kilobytes each.
const LONGEST: u64 = 4 << 20;

/// What `bundles` say about the file of this digest.
pub fn examine(digest: Sha256Digest, bundles: &[Value], signer: &Signer) -> Finding {
    #[cfg(feature = "attestation")]
    return sigstore::examine(digest, bundles, signer, sigstore::ROOT);
    #[cfg(not(feature = "attestation"))]
    {
        let _ = (digest, bundles, signer);
        Finding::Unasked { why: "this llama-doctor was built without the means to check one".to_owned() }
    }
}

/// The bundles in a text: one, one a line as `gh attestation download` writes them, or the API's answer.
pub fn bundles(text: &str) -> Result<Vec<Value>, String> {
    let mut bundles = Vec::new();
    for value in serde_json::Deserializer::from_str(text).into_iter::<Value>() {
        let mut value = value.map_err(|error| error.to_string())?;
        match value.get_mut("attestations").map(Value::take) {
            Some(Value::Array(list)) => {
                let inline = list.iter().filter_map(|one| one.get("bundle").filter(|bundle| !bundle.is_null()));
                let before = bundles.len();
                bundles.extend(inline.cloned());
                if bundles.len() == before && !list.is_empty() {
                    return Err("its attestations are given by their addresses alone".to_owned());
                }
            }
            Some(_) => return Err("its attestations are no list".to_owned()),
            None => bundles.push(value),
        }
    }
    Ok(bundles)
}

/// What lies beside a file of the disk, under the names that `gh attestation download` and Sigstore's tools use.
pub fn beside(file: &Path, digest: Sha256Digest) -> Result<Option<Vec<Value>>, InstallError> {
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let names = [
        format!("{name}.sigstore.json"),
        format!("{name}.sigstore"),
        format!("{name}.jsonl"),
        format!("sha256:{digest}.jsonl"),
        format!("sha256-{digest}.jsonl"),
    ];
    for path in names.iter().map(|name| file.with_file_name(name)) {
        // A colon starts a stream on Windows, and there such a name is an error rather than missing.
        let Ok(metadata) = fs_err::metadata(&path) else { continue };
        let unreadable = |why: String| InstallError::Attestation {
            name: name.clone(),
            why: format!("`{}` holds none: {why}", path.display()),
        };
        if metadata.len() > LONGEST {
            return Err(unreadable(format!("it has {} bytes", metadata.len())));
        }
        return Ok(Some(bundles(&fs_err::read_to_string(&path)?).map_err(unreadable)?));
    }
    Ok(None)
}

/// What a finding means under a policy: a sentence for the user and whether it is a warning, or the end.
pub fn judge(name: &str, finding: &Finding, policy: Policy) -> Result<Sentence, InstallError> {
    let name = name.to_owned();
    let is_required = policy == Policy::Require;
    Ok(match finding {
        Finding::Verified { workflow, commit } => {
            let from = commit.as_ref().map_or_else(String::new, |commit| format!(" from commit {commit:.12}"));
            Sentence { text: format!("attested: {workflow} built it{from}"), is_warning: false }
        }
        Finding::Refused { why } => return Err(InstallError::Attestation { name, why: why.clone() }),
        Finding::UnknownKeys { why } if is_required => {
            return Err(InstallError::AttestationKeys { name, why: why.clone() });
        }
        Finding::Absent if is_required => return Err(InstallError::NoAttestation { name }),
        Finding::Unasked { why } if is_required => {
            return Err(InstallError::AttestationUnasked { name, why: why.clone() });
        }
        Finding::UnknownKeys { why } => Sentence {
            text: format!("the attestation of `{name}` is signed with keys that this program does not know ({why})"),
            is_warning: true,
        },
        Finding::Absent => Sentence { text: format!("nobody attests to `{name}`"), is_warning: false },
        Finding::Unasked { why } => {
            Sentence { text: format!("the attestation of `{name}` was not looked at: {why}"), is_warning: false }
        }
    })
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sentence {
    pub text: String,
    pub is_warning: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bundles_are_read_alone_in_lines_and_as_the_api_says_them() {
        let count = |text: &str| bundles(text).map(|found| found.len());
        assert_eq!(count("{\"mediaType\": \"x\"}"), Ok(1));
        assert_eq!(count("{\"mediaType\": \"x\"}\n{\"mediaType\": \"y\"}\n"), Ok(2));
        assert_eq!(count("{\"attestations\": [{\"bundle\": {}}, {\"bundle\": {}}, {}]}"), Ok(2));
        assert!(count("{\"attestations\": [{\"bundle\": null, \"bundle_url\": \"https://x\"}]}").is_err());
        assert_eq!(count("{\"attestations\": []}"), Ok(0));
        assert!(count("<html>").is_err() && count("{\"attestations\": 1}").is_err());
    }

    #[test]
    fn each_finding_has_its_own_end() {
        let why = || "because".to_owned();
        let verified = Finding::Verified { workflow: "w".to_owned(), commit: None };
        for (finding, auto, require) in [
            (verified, "attested", "attested"),
            (Finding::Absent, "nobody attests", "error: `f` has no attestation"),
            (Finding::UnknownKeys { why: why() }, "warning: ", "error: the attestation of `f` is signed with keys"),
            (Finding::Refused { why: why() }, "error: the attestation of `f` is refused", "error: the attestation"),
            (Finding::Unasked { why: why() }, "the attestation of `f` was not looked at", "error: whether `f` has"),
        ] {
            for (policy, expected) in [(Policy::Auto, auto), (Policy::Require, require)] {
                let text = match judge("f", &finding, policy) {
                    Ok(sentence) if sentence.is_warning => format!("warning: {}", sentence.text),
                    Ok(sentence) => sentence.text,
                    Err(error) => format!("error: {error}"),
                };
                assert!(text.starts_with(expected), "{finding:?} {policy:?}: {text}");
            }
        }
    }

    #[test]
    fn a_file_beside_is_found_by_each_of_its_names() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.zip");
        let digest = Sha256Digest::of(b"x");
        assert_eq!(beside(&file, digest).unwrap(), None);
        let path = folder.path().join(format!("sha256-{digest}.jsonl"));
        fs_err::write(&path, "{}\n{}\n").unwrap();
        assert_eq!(beside(&file, digest).unwrap().unwrap().len(), 2);
        fs_err::write(folder.path().join("a.zip.sigstore.json"), "no").unwrap();
        assert!(matches!(beside(&file, digest), Err(InstallError::Attestation { .. })));
    }
}
