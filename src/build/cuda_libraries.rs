//! Every copy of CUDA's own libraries on the machine.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use crate::manifest::libraries::Role;

use crate::binary::Image;
use crate::units::CudaVersion;

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

/// `libcudart.so.13.5.37` tells by its name, a DLL by its version resource.
pub fn version_of(path: &Path, image: &Image) -> Option<String> {
    let name = path.file_name()?.to_string_lossy().into_owned();
    let of_name =
        name.split_once(".so.").map(|(_, version)| version.to_owned()).filter(|version| version.contains('.'));
    of_name.or_else(|| {
        let version = image.file_version.clone()?;
        // NVIDIA's DLLs of CUDA carry its integer form in the last place: 6.14.11.13050 is 13.5.
        let number = version.strip_prefix("6.14.11.").and_then(|number| number.parse().ok());
        number.and_then(CudaVersion::from_integer).map(|cuda| cuda.to_string()).or(Some(version))
    })
}
