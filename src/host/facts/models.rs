//! What is known of the model files on this machine, from their first bytes.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::Bytes;

/// What a file named `.gguf` really is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ModelFileKind {
    Gguf,
    /// `version https://git-lfs…`: the file was never fetched.
    LfsPointer,
    /// A web page.
    Html,
    /// A service's error text.
    ErrorText,
    Zip,
    /// The format before GGUF.
    OldGgml,
    Empty,
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ModelFile {
    pub path: PathBuf,
    pub size: Bytes,
    pub kind: ModelFileKind,
    /// GGUF's own version number.
    #[serde(default)]
    pub gguf_version: Option<u32>,
    /// Shards of the same model that are not beside it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing_shards: Vec<String>,
    /// Bytes that the header promises and the file lacks.
    #[serde(default)]
    pub truncated_by: Option<Bytes>,
}

/// What a download that did not end left behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PartialDownload {
    pub path: PathBuf,
    pub size: Bytes,
    pub age_seconds: u64,
    /// Whether it is in our own store, so that `check --fix` may remove it.
    pub ours: bool,
}
