//! Every copy of CUDA's own libraries on the machine.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use crate::manifest::libraries::Role;

/// Who put a library where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    Driver,
    Wsl,
    Toolkit,
    PythonWheel,
    Conda,
    /// Next to a llama.cpp build.
    Build,
    System,
    /// The toolkit's stand-in for the driver, good for linking only.
    Stub,
    Other,
}

/// One copy of one of CUDA's libraries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CudaLibrary {
    pub role: Role,
    /// The file itself, links followed.
    pub path: PathBuf,
    /// `libcudart.so.13`
    pub name: String,
    pub major: Option<u32>,
    /// As far as the file's name or its version resource tells: `13.5.37`.
    pub version: Option<String>,
    pub origin: Origin,
    /// The builds whose CUDA backend the loader would give it, and `the system` if any program would get it.
    #[serde(default)]
    pub picked_by: Vec<String>,
}
