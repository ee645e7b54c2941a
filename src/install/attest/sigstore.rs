//! The check itself: certificate, log, signature, subject, and then who and what the certificate speaks of.

use std::sync::Once;

use ring::signature as algorithms;
use serde_json::Value;
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use sigstore_verify::crypto::{CryptoProvider, Error as CryptoError, HashContext, SigningScheme};
use sigstore_verify::trust_root::{SIGSTORE_PRODUCTION_TRUSTED_ROOT, TrustedRoot};
use sigstore_verify::types::{Bundle, HashAlgorithm, Sha256Hash, SignatureContent};
use sigstore_verify::{
    CertificateError, Error, SubjectAltName, TimestampError, TransparencyLogError, VerificationPolicy, Verifier,
};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::{AuthorityKeyIdentifier, SubjectKeyIdentifier};

use super::{Finding, Signer};
use crate::net::digest::Sha256Digest;

/// The keys of Sigstore's public instance, which signs for public repositories, as of this build.
pub(super) const ROOT: &str = SIGSTORE_PRODUCTION_TRUSTED_ROOT;

/// Other statements about a file (a release, a list of parts) do not say who built it.
const PROVENANCE: &str = "https://slsa.dev/provenance/v1";

pub(super) fn examine(digest: Sha256Digest, bundles: &[Value], signer: &Signer, root: &str) -> Finding {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        // Nobody else installs one: this is the crate's only user.
        let _ = sigstore_verify::crypto::install_default_provider(&Ring);
    });
    let (mut refused, mut unknown) = (None, None);
    for bundle in bundles {
        match one(digest, bundle, signer, root) {
            Finding::Absent => {}
            finding @ Finding::Refused { .. } => refused = Some(finding),
            finding @ Finding::UnknownKeys { .. } => unknown = Some(finding),
            // One that holds is enough: anybody may add others.
            finding => return finding,
        }
    }
    refused.or(unknown).unwrap_or(Finding::Absent)
}

fn one(digest: Sha256Digest, bundle: &Value, signer: &Signer, root: &str) -> Finding {
    let refused = |why: String| Finding::Refused { why };
    let (root, verifier) = match TrustedRoot::from_json(root).map_err(Error::from).and_then(|root| {
        let verifier = Verifier::new(&root)?;
        Ok((root, verifier))
    }) {
        Ok(both) => both,
        Err(error) => return Finding::UnknownKeys { why: format!("this program's own keys: {error}") },
    };
    let bundle = match Bundle::from_json(&bundle.to_string()) {
        Ok(parsed) => parsed,
        Err(error) => return newer_form(bundle).unwrap_or_else(|| refused(format!("it is no bundle: {error}"))),
    };
    if !is_provenance(&bundle) {
        return Finding::Absent;
    }
    if let Some(why) = stranger(&bundle, &root) {
        return Finding::UnknownKeys { why };
    }
    let policy = VerificationPolicy::any_identity().require_issuer(&signer.issuer);
    let verified = match verifier.verify(Sha256Hash::new(digest.0), &bundle, &policy) {
        Ok(verified) => verified,
        Err(error) if is_about_keys(&error) => return Finding::UnknownKeys { why: error.to_string() },
        Err(Error::ArtifactMismatch(_)) => {
            return refused("it is about other files, and not about this one".to_owned());
        }
        Err(error) => return refused(error.to_string()),
    };
    let Some(SubjectAltName::Uri(identity)) = verified.identity() else {
        return refused("no workflow signed it".to_owned());
    };
    let workflow = identity.strip_prefix("https://github.com/").unwrap_or(identity);
    if !signer.workflows.iter().any(|known| known == workflow) {
        return refused(format!("`{workflow}` signed it, and not `{}`", signer.workflows.join("` or `")));
    }
    let claims = verified.certificate().map(|certificate| certificate.ci_claims.clone()).unwrap_or_default();
    let source = claims.source_repository_uri.unwrap_or_default();
    if source != format!("https://github.com/{}", signer.repository) {
        return refused(format!("it was built from `{source}`, and not from `{}`", signer.repository));
    }
    Finding::Verified { workflow: workflow.to_owned(), commit: claims.source_repository_digest }
}

/// A bundle of a version that Sigstore has defined since.
fn newer_form(bundle: &Value) -> Option<Finding> {
    let form = bundle["mediaType"].as_str()?;
    let is_known = ["+json;version=0.1", "+json;version=0.2", "+json;version=0.3", ".v0.3+json"]
        .iter()
        .any(|version| form.strip_prefix("application/vnd.dev.sigstore.bundle") == Some(version));
    let is_of_sigstore = form.starts_with("application/vnd.dev.sigstore.bundle");
    (is_of_sigstore && !is_known).then(|| Finding::UnknownKeys { why: format!("it is written as `{form}`") })
}

fn is_provenance(bundle: &Bundle) -> bool {
    let SignatureContent::DsseEnvelope(envelope) = &bundle.content else { return false };
    let statement = serde_json::from_slice::<Value>(envelope.payload.as_bytes()).unwrap_or_default();
    statement["predicateType"] == PROVENANCE
}

/// Why the keys behind a bundle are none of ours: its authority's or its log's.
fn stranger(bundle: &Bundle, root: &TrustedRoot) -> Option<String> {
    let leaf = Certificate::from_der(bundle.signing_certificate()?.as_bytes()).ok()?;
    let wanted = leaf.tbs_certificate.get::<AuthorityKeyIdentifier>().ok()??.1.key_identifier?;
    let certificates = root.certificate_authorities.iter().flat_map(|authority| &authority.cert_chain.certificates);
    let mut known = certificates.filter_map(|entry| {
        let authority = Certificate::from_der(entry.raw_bytes.as_bytes()).ok()?;
        Some(authority.tbs_certificate.get::<SubjectKeyIdentifier>().ok()??.1.0)
    });
    if !known.any(|key| key == wanted) {
        return Some(format!("its certificate is by `{}`", leaf.tbs_certificate.issuer.to_string().replace('\\', "")));
    }
    let logs = bundle.verification_material.tlog_entries.iter().map(|entry| &entry.log_id.key_id);
    let mut unknown = logs.filter(|id| !root.tlogs.iter().any(|log| log.log_id.key_id == **id));
    unknown.next().map(|id| format!("its log has the key {id}"))
}

/// Where no known key fits, a newer one may.
fn is_about_keys(error: &Error) -> bool {
    matches!(
        error,
        Error::Certificate(CertificateError::NoValidAuthority { .. })
            | Error::TransparencyLog(TransparencyLogError::UnknownLog { .. })
            | Error::UnsupportedBundle(_)
            | Error::Crypto(CryptoError::UnsupportedAlgorithm(_))
            | Error::Timestamp(TimestampError::Invalid(_) | TimestampError::OutsideAuthorityValidity { .. })
    )
}

/// Hashes and signatures by the libraries that are in the program already.
#[derive(Debug)]
struct Ring;

struct Hash<D>(D);

impl<D: sha2::Digest + Send> HashContext for Hash<D> {
    fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn finalize(self: Box<Self>) -> Vec<u8> {
        self.0.finalize().to_vec()
    }
}

impl CryptoProvider for Ring {
    fn hash(&self, algorithm: HashAlgorithm) -> Result<Box<dyn HashContext>, CryptoError> {
        Ok(match algorithm {
            HashAlgorithm::Sha2256 => Box::new(Hash(Sha256::new())),
            HashAlgorithm::Sha2384 => Box::new(Hash(Sha384::new())),
            HashAlgorithm::Sha2512 => Box::new(Hash(Sha512::new())),
            other => return Err(CryptoError::UnsupportedAlgorithm(other.to_string())),
        })
    }

    fn verify_raw(&self, scheme: SigningScheme, key: &[u8], data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        let algorithm: &dyn algorithms::VerificationAlgorithm = match scheme {
            SigningScheme::EcdsaP256Sha256 => &algorithms::ECDSA_P256_SHA256_ASN1,
            SigningScheme::EcdsaP256Sha384 => &algorithms::ECDSA_P256_SHA384_ASN1,
            SigningScheme::EcdsaP384Sha256 => &algorithms::ECDSA_P384_SHA256_ASN1,
            SigningScheme::EcdsaP384Sha384 => &algorithms::ECDSA_P384_SHA384_ASN1,
            SigningScheme::Ed25519 => &algorithms::ED25519,
            SigningScheme::RsaPssSha256 => &algorithms::RSA_PSS_2048_8192_SHA256,
            SigningScheme::RsaPssSha384 => &algorithms::RSA_PSS_2048_8192_SHA384,
            SigningScheme::RsaPssSha512 => &algorithms::RSA_PSS_2048_8192_SHA512,
            SigningScheme::RsaPkcs1Sha256 => &algorithms::RSA_PKCS1_2048_8192_SHA256,
            SigningScheme::RsaPkcs1Sha384 => &algorithms::RSA_PKCS1_2048_8192_SHA384,
            SigningScheme::RsaPkcs1Sha512 => &algorithms::RSA_PKCS1_2048_8192_SHA512,
            other => return Err(CryptoError::UnsupportedAlgorithm(other.name().to_owned())),
        };
        let invalid = |_| CryptoError::Verification(format!("the {} signature does not hold", scheme.name()));
        algorithms::UnparsedPublicKey::new(algorithm, key).verify(data, signature).map_err(invalid)
    }

    /// Only signatures over whole files need this; an attestation signs its statement.
    fn verify_prehashed(&self, scheme: SigningScheme, _: &[u8], _: &[u8], _: &[u8]) -> Result<(), CryptoError> {
        Err(CryptoError::UnsupportedAlgorithm(format!("{} over a digest", scheme.name())))
    }
}

#[cfg(test)]
mod tests;
