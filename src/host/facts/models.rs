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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<ModelHeader>,
}

/// What the header of a GGUF file says, as far as checks ask.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ModelHeader {
    /// `general.architecture`; `clip` is a projector for images or sound.
    #[serde(default)]
    pub architecture: Option<String>,
    /// Whether it brings a vocabulary. Image generators in GGUF files do not, and llama.cpp runs none of them.
    #[serde(default)]
    pub vocabulary: bool,
    /// Width of the embeddings that the model takes in.
    #[serde(default)]
    pub embedding_length: Option<u64>,
    /// Layers that the header announces and for which the file has no tensor.
    #[serde(default)]
    pub missing_layers: u64,
    /// Of a projector: every width that a tensor of it has. The model's must be among them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub projector_widths: Vec<u64>,
    /// Why llama.cpp refuses the header, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
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
