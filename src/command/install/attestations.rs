//! What is said of the attestations of the files that are installed.

use std::path::Path;

use crate::cli::install::AttestationPolicy;
use crate::command::Program;
use crate::failure::Failure;
use crate::install::InstallError;
use crate::install::attest::{self, Finding, Policy, Signer};
use crate::install::store::Installed;
use crate::manifest::releases::releases;
use crate::net::digest::Sha256Digest;
use crate::report::printer::Printer;
use crate::source::github::Github;

pub(super) struct Attestations {
    policy: Policy,
    printer: Printer,
    signer: Signer,
}

impl Attestations {
    pub(super) fn new(policy: AttestationPolicy, program: &Program) -> Result<Self, Failure> {
        let policy = match policy {
            AttestationPolicy::Auto => Policy::Auto,
            AttestationPolicy::Require => Policy::Require,
            AttestationPolicy::Skip => Policy::Skip,
        };
        if policy == Policy::Require && !attest::AVAILABLE {
            return Err(InstallError::AttestationsUnavailable.into());
        }
        let row = &releases().attestation;
        let signer = Signer {
            repository: releases().repository.clone(),
            workflows: row.workflows.clone(),
            issuer: row.issuer.clone(),
        };
        Ok(Self { policy, printer: program.printer, signer })
    }

    fn looks(&self) -> bool {
        attest::AVAILABLE && self.policy != Policy::Skip
    }

    /// Who attests to a file of a release. None where nobody does and that is accepted.
    pub(super) fn of_release(
        &self,
        github: &Github,
        name: &str,
        digest: Sha256Digest,
    ) -> Result<Option<String>, Failure> {
        if !self.looks() {
            return Ok(None);
        }
        let finding = match github.attestations(digest) {
            Ok(bundles) => attest::examine(digest, &bundles, &self.signer),
            Err(error) => Finding::Unasked { why: error.to_string() },
        };
        self.told(name, &finding)
    }

    /// Who attests to a file of the disk: by what lies beside it, and only where that is required by asking GitHub.
    pub(super) fn of_file(
        &self,
        github: Option<&Github>,
        path: &Path,
        name: &str,
        digest: Sha256Digest,
    ) -> Result<Option<String>, Failure> {
        if !self.looks() {
            return Ok(None);
        }
        match (attest::beside(path, digest)?, github) {
            (Some(bundles), _) => self.told(name, &attest::examine(digest, &bundles, &self.signer)),
            (None, Some(github)) if self.policy == Policy::Require => self.of_release(github, name, digest),
            (None, _) if self.policy == Policy::Require => self.told(name, &Finding::Absent),
            (None, _) => Ok(None),
        }
    }

    fn told(&self, name: &str, finding: &Finding) -> Result<Option<String>, Failure> {
        let sentence = attest::judge(name, finding, self.policy)?;
        if matches!(finding, Finding::Verified { .. }) {
            return Ok(Some(sentence.text));
        }
        if sentence.is_warning {
            self.printer.warning(&sentence.text);
        } else {
            self.printer.note(&sentence.text);
        }
        Ok(None)
    }
}

/// What digests and attestations prove of an installed build, and what they do not.
pub(super) fn summary(installed: &Installed) -> Vec<String> {
    let ingredients = &installed.receipt.ingredients;
    let mut attested: Vec<String> = ingredients.iter().filter_map(|one| one.attested.clone()).collect();
    attested.sort();
    attested.dedup();
    if ingredients.iter().all(|ingredient| ingredient.url.is_none()) {
        return attested;
    }
    let digests = if ingredients.iter().all(|ingredient| ingredient.checked) {
        "size and sha256 are those that the source publishes"
    } else {
        "no published sha256 was compared"
    };
    let open = if attested.is_empty() { "; no attestation was checked" } else { "" };
    [format!("{digests}{open}")].into_iter().chain(attested).collect()
}
