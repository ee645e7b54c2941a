//! Official builds on this machine: which one runs here, and the store that holds them side by side.

pub mod activate;
pub mod attest;
pub mod choose;
pub mod fetch;
pub mod prove;
pub mod receipt;
pub mod repair;
pub mod stage;
pub mod store;

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::units::Bytes;

#[derive(Debug, Error)]
pub enum InstallError {
    #[error(transparent)]
    File(#[from] io::Error),
    #[error(transparent)]
    Net(#[from] crate::net::Error),
    #[error(transparent)]
    Archive(#[from] crate::archive::Error),
    #[error("no build `{id}` is installed")]
    NoBuild { id: String, installed: Vec<String> },
    #[error("no build is in use")]
    NoneInUse,
    #[error("there is no earlier build to go back to")]
    NoEarlier,
    #[error("`{id}` is in use")]
    InUse { id: String },
    #[error("another process works on the builds in `{root}`")]
    Busy { root: PathBuf },
    #[error("`{name}` has no sha256 to check it against")]
    NoDigest { name: String },
    #[error("the attestation of `{name}` is refused: {why}")]
    Attestation { name: String, why: String },
    #[error("the attestation of `{name}` is signed with keys that this program does not know: {why}")]
    AttestationKeys { name: String, why: String },
    #[error("`{name}` has no attestation")]
    NoAttestation { name: String },
    #[error("whether `{name}` has an attestation was not learned: {why}")]
    AttestationUnasked { name: String, why: String },
    #[error("this llama-doctor was built without the means to check attestations")]
    AttestationsUnavailable,
    #[error("`{name}` of `{one}` and of `{other}` differ")]
    Collision { name: String, one: String, other: String },
    #[error("`{path}` is not the archive of an official llama.cpp build")]
    NotOfficial { path: PathBuf },
    #[error("there is no file `{path}`")]
    NoArchive { path: PathBuf },
    #[error("`{one}` and `{other}` do not belong together: {why}")]
    Mismatch { one: String, other: String, why: String },
    #[error("this needs {needed} in `{folder}`, and its disk has {free} free")]
    NoSpace { folder: PathBuf, needed: Bytes, free: Bytes },
    #[error("`{path}` is no receipt of ours: {why}")]
    Receipt { path: PathBuf, why: String },
    #[error("`{id}` is installed and was not put to use: {}", .obstacles.join("; "))]
    Unproven { id: String, obstacles: Vec<String> },
    #[error("`{id}` is not as it was installed: {}", .differences.join("; "))]
    Damaged { id: String, differences: Vec<String> },
}
