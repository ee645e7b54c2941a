//! `manifests/libraries.toml`: what CUDA's libraries are called on both systems, and which DLLs are Windows' own.

use std::sync::LazyLock;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What one of CUDA's libraries is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    Cudart,
    Cublas,
    CublasLt,
    Driver,
    Nvml,
    Jit,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Library {
    pub role: Role,
    /// `libcudart.so`, before the version
    pub linux: String,
    /// `cudart64_`, before the version, or a whole name
    pub windows: String,
    pub title: String,
    /// The wheel that brings it; the name for CUDA 12 has `-cu12` at its end.
    #[serde(default)]
    pub pypi: Option<String>,
    pub source: String,
    pub checked: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Windows {
    system: Vec<String>,
    visual_cpp: Vec<String>,
    #[expect(dead_code, reason = "for readers of the file")]
    source: String,
    #[expect(dead_code, reason = "for readers of the file")]
    checked: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Libraries {
    #[serde(rename = "library")]
    pub libraries: Vec<Library>,
    windows: Windows,
}

/// Parsed once; the test below proves that the embedded file parses.
#[expect(clippy::expect_used, reason = "the file is embedded and a test parses it")]
static LIBRARIES: LazyLock<Libraries> = LazyLock::new(|| {
    toml::from_str(include_str!("../../manifests/libraries.toml")).expect("manifests/libraries.toml parses")
});

pub fn libraries() -> &'static Libraries {
    &LIBRARIES
}

impl Libraries {
    /// Who puts this DLL where every program finds it: Windows, its C++ runtime, the driver. `name` in lower case.
    pub fn owner_on_windows(&self, name: &str) -> Option<&'static str> {
        let is_in = |names: &[String]| names.iter().any(|known| known == name);
        match self.role_of(name) {
            _ if is_in(&self.windows.system) => Some("part of Windows"),
            _ if is_in(&self.windows.visual_cpp) => Some("of the Visual C++ runtime"),
            Some((Role::Driver | Role::Nvml | Role::Jit, _)) => Some("of the NVIDIA driver"),
            _ => None,
        }
    }

    /// The CUDA library that a file name means: its role and its major version (`libcudart.so.13` → 13).
    pub fn role_of(&self, file_name: &str) -> Option<(Role, Option<u32>)> {
        let lower = file_name.to_ascii_lowercase();
        self.libraries.iter().find_map(|library| {
            let linux = library.linux.to_ascii_lowercase();
            if let Some(rest) = lower.strip_prefix(&linux) {
                let version = if rest.is_empty() { None } else { Some(rest.strip_prefix('.')?) };
                return Some((library.role, version.and_then(|version| version.split('.').next()?.parse().ok())));
            }
            let windows = library.windows.to_ascii_lowercase();
            if lower == windows {
                return Some((library.role, None));
            }
            let digits = lower.strip_prefix(&windows)?.strip_suffix(".dll")?;
            let digits = if digits.len() == 3 { digits.get(..2)? } else { digits };
            Some((library.role, Some(digits.parse().ok()?)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_both_systems_are_known() {
        let role = |name| libraries().role_of(name);
        assert_eq!(role("libcudart.so.13"), Some((Role::Cudart, Some(13))));
        assert_eq!(role("libcudart.so.12.8.90"), Some((Role::Cudart, Some(12))));
        assert_eq!(role("libcublasLt.so.12"), Some((Role::CublasLt, Some(12))));
        assert_eq!(role("libcuda.so"), Some((Role::Driver, None)));
        assert_eq!(role("libcuda.so.1"), Some((Role::Driver, Some(1))));
        assert_eq!(role("cudart64_110.dll"), Some((Role::Cudart, Some(11))));
        assert_eq!(role("cublasLt64_13.dll"), Some((Role::CublasLt, Some(13))));
        assert_eq!(role("nvcuda.dll"), Some((Role::Driver, None)));
        assert_eq!(role("libcudadevrt.a"), None);
        assert_eq!(role("kernel32.dll"), None);
        assert_eq!(libraries().owner_on_windows("kernel32.dll"), Some("part of Windows"));
        assert_eq!(libraries().owner_on_windows("nvcuda.dll"), Some("of the NVIDIA driver"));
        assert_eq!(libraries().owner_on_windows("cublas64_13.dll"), None);
    }
}
