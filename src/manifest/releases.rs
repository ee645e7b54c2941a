//! `manifests/releases.toml`: how the project names its files, what GPU code is in them, what they need of a system.

use std::sync::LazyLock;

use regex_lite::Regex;
use serde::Deserialize;

use crate::binary::fatbin::{CudaCode, Target};
use crate::host::facts::OperatingSystem;
use crate::manifest::cuda::cuda;
use crate::units::CudaVersion;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Releases {
    pub repository: String,
    pub hosts: Hosts,
    #[serde(rename = "grammar")]
    pub grammars: Vec<Grammar>,
    pub architectures: Vec<Architectures>,
    pub compressed: Compressed,
    #[serde(rename = "floor")]
    pub floors: Vec<Floor>,
    #[serde(rename = "image")]
    pub images: Vec<Image>,
    pub registry: Registry,
    pub wheels: Vec<Wheels>,
    pub attestation: Attestation,
}

/// Who signs for the files of a release.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attestation {
    /// `owner/name/.github/workflows/FILE@REF`
    pub workflows: Vec<String>,
    pub issuer: String,
    pub source: String,
    pub checked: String,
}

/// Where layers of images may come from.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registry {
    pub hosts: Vec<String>,
    pub source: String,
    pub checked: String,
}

/// The wheels that hold the libraries of a toolkit.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wheels {
    pub cuda: CudaVersion,
    pub runtime: String,
    pub runtime_version: String,
    pub cublas: String,
    pub cublas_version: String,
    pub source: String,
    pub checked: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hosts {
    pub allowed: Vec<String>,
    pub source: String,
    pub checked: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    Build,
    /// CUDA's own libraries, to lie beside a build.
    Runtime,
    /// A layer of a container image. No release file is one.
    Layer,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grammar {
    pub id: String,
    pub role: Role,
    pub pattern: Pattern,
    pub era: String,
    pub example: String,
    pub source: String,
    pub checked: String,
}

/// A regular expression, compiled when the manifest is parsed.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct Pattern(pub Regex);

impl TryFrom<String> for Pattern {
    type Error = regex_lite::Error;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Regex::new(&text).map(Self)
    }
}

/// GPU code that the builds of some toolkits hold: from `from` on, and before `until`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Architectures {
    #[serde(default)]
    pub from: Option<CudaVersion>,
    #[serde(default)]
    pub until: Option<CudaVersion>,
    #[serde(default)]
    pub sass: Vec<String>,
    #[serde(default)]
    pub ptx: Vec<String>,
    pub source: String,
    pub checked: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compressed {
    pub from: CudaVersion,
    pub source: String,
    pub checked: String,
}

/// The oldest C library that Linux builds run with.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Floor {
    #[serde(default)]
    pub backends: Vec<String>,
    #[serde(default)]
    pub arch: Option<String>,
    pub glibc: String,
    pub glibcxx: String,
    pub source: String,
    pub checked: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    pub tag: String,
    pub cuda: CudaVersion,
    pub arch: Vec<String>,
    pub glibc: String,
    pub glibcxx: String,
    pub source: String,
    pub checked: String,
}

/// Parsed once; the test below proves that the embedded file parses.
#[expect(clippy::expect_used, reason = "the file is embedded and a test parses it")]
static RELEASES: LazyLock<Releases> = LazyLock::new(|| {
    toml::from_str(include_str!("../../manifests/releases.toml")).expect("manifests/releases.toml parses")
});

pub fn releases() -> &'static Releases {
    &RELEASES
}

/// What a release file is, told by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssetName {
    pub name: String,
    pub role: Role,
    /// `b11434`; absent where names have none.
    pub tag: Option<String>,
    /// None for macOS and Android.
    pub system: Option<OperatingSystem>,
    /// `cuda`, `vulkan`, `cpu`…
    pub backend: String,
    /// Of CUDA.
    pub cuda: Option<CudaVersion>,
    /// `x64`, `arm64`
    pub arch: String,
}

impl AssetName {
    /// None for files that are no build and no runtime: the UI, the xcframework, the pointer.
    pub fn parse(name: &str) -> Option<Self> {
        let (grammar, groups) =
            releases().grammars.iter().find_map(|grammar| Some((grammar, grammar.pattern.0.captures(name)?)))?;
        let group = |key: &str| groups.name(key).map(|group| group.as_str());
        let system = match group("system") {
            Some("win") => Some(OperatingSystem::Windows),
            Some("ubuntu") => Some(OperatingSystem::Linux),
            _ => None,
        };
        let backend = match group("backend") {
            // Older names of the same thing.
            Some("cublas" | "cu") => "cuda",
            None | Some("avx512" | "avx2" | "avx" | "noavx" | "llvm" | "msvc" | "openblas") => "cpu",
            Some(other) => other,
        };
        let cuda = group("version").filter(|_| backend == "cuda").and_then(major_minor);
        Some(Self {
            name: name.to_owned(),
            role: grammar.role,
            tag: group("tag").map(str::to_owned),
            system,
            backend: backend.to_owned(),
            cuda,
            arch: group("arch").unwrap_or_default().to_owned(),
        })
    }

    /// As builds are named: `cuda-12.8`, `vulkan`, `cpu`.
    pub fn label(&self) -> String {
        self.cuda.map_or_else(|| self.backend.clone(), |cuda| format!("{}-{cuda}", self.backend))
    }
}

/// `12.4` of `12.4` and of `12.4.0`.
fn major_minor(text: &str) -> Option<CudaVersion> {
    let mut numbers = text.split('.').map(str::parse);
    Some(CudaVersion::new(numbers.next()?.ok()?, numbers.next()?.ok()?))
}

impl Releases {
    /// The GPU code that an official build of this toolkit holds.
    pub fn cuda_code(&self, version: CudaVersion) -> CudaCode {
        let covers = |row: &&Architectures| {
            row.from.is_none_or(|from| version >= from) && row.until.is_none_or(|until| version < until)
        };
        let rows: Vec<&Architectures> = self.architectures.iter().filter(covers).collect();
        let targets = |list: fn(&Architectures) -> &[String]| {
            let texts = rows.iter().flat_map(move |row| list(row));
            let mut targets: Vec<Target> = texts.filter_map(|text| text.parse().ok()).collect();
            targets.sort_unstable();
            targets
        };
        CudaCode {
            sass: targets(|row| &row.sass),
            ptx: targets(|row| &row.ptx),
            ptx_version: cuda().toolkit(version).map(|toolkit| toolkit.ptx),
            compressed: version >= self.compressed.from,
            containers: 0,
            uneven: false,
        }
    }

    /// What a Linux build needs of the system's C library.
    pub fn floor(&self, backend: &str, arch: &str) -> Option<&Floor> {
        self.floors.iter().find(|floor| {
            (floor.backends.is_empty() || floor.backends.iter().any(|known| known == backend))
                && floor.arch.as_deref().is_none_or(|known| known == arch)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_grammar_reads_its_own_example_and_says_where_it_comes_from() {
        for grammar in &releases().grammars {
            let first = releases().grammars.iter().find(|other| other.pattern.0.is_match(&grammar.example));
            assert_eq!(first.map(|other| &other.id), Some(&grammar.id), "{}", grammar.example);
            assert!(!grammar.source.is_empty() && !grammar.era.is_empty());
        }
    }

    #[test]
    fn names_of_each_era() {
        let read = |name: &str| {
            let asset = AssetName::parse(name)?;
            Some(format!("{:?} {:?} {} {}", asset.role, asset.system, asset.label(), asset.arch))
        };
        for (name, expected) in [
            ("llama-b11434-bin-ubuntu-cuda-13.4-arm64.tar.gz", "Build Some(Linux) cuda-13.4 arm64"),
            ("llama-b11434-bin-ubuntu-x64.tar.gz", "Build Some(Linux) cpu x64"),
            ("llama-b11434-bin-win-cpu-x64.zip", "Build Some(Windows) cpu x64"),
            ("llama-b11434-bin-win-rocm-10.0-x64.zip", "Build Some(Windows) rocm x64"),
            ("llama-b6569-bin-win-cuda-12.4-x64.zip", "Build Some(Windows) cuda-12.4 x64"),
            ("llama-b4970-bin-win-cuda-cu11.7-x64.zip", "Build Some(Windows) cuda-11.7 x64"),
            ("llama-b2356-bin-win-cublas-cu12.2.0-x64.zip", "Build Some(Windows) cuda-12.2 x64"),
            ("llama-master-eb542d3-bin-win-cublas-cu11.7.1-x64.zip", "Build Some(Windows) cuda-11.7 x64"),
            ("cudart-llama-bin-win-cu12.2.0-x64.zip", "Runtime Some(Windows) cuda-12.2 x64"),
            ("llama-b4297-bin-win-avx2-x64.zip", "Build Some(Windows) cpu x64"),
            ("llama-cuda-fix-b11200-0123abc-bin-ubuntu-cuda-12.8-x64.tar.gz", "Build Some(Linux) cuda-12.8 x64"),
            ("llama-b11434-bin-macos-arm64.tar.gz", "Build None cpu arm64"),
        ] {
            assert_eq!(read(name).as_deref(), Some(expected), "{name}");
        }
        for name in ["llama-b11434-ui.tar.gz", "llama-b11434-xcframework.zip", "nightly-tag.txt", "SHA256SUMS"] {
            assert_eq!(read(name), None, "{name}");
        }
    }

    #[test]
    fn the_gpu_code_follows_from_the_toolkit() {
        let show = |targets: &[Target]| targets.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        let code = releases().cuda_code(CudaVersion::new(12, 4));
        assert_eq!((show(&code.sass), code.compressed), ("8.6 8.9".to_owned(), false));
        assert_eq!(show(&code.ptx), "5.0 6.1 7.0 7.5 8.0 9.0");
        let code = releases().cuda_code(CudaVersion::new(13, 4));
        assert_eq!(show(&code.sass), "8.6 8.9 12.0a 12.1a");
        assert_eq!((show(&code.ptx), code.ptx_version), ("7.5 8.0 9.0".to_owned(), Some(CudaVersion::new(9, 4))));
        assert!(releases().cuda_code(CudaVersion::new(12, 8)).compressed);
    }

    #[test]
    fn only_plain_x64_builds_run_on_older_systems() {
        let floor = |backend, arch| releases().floor(backend, arch).map(|floor| floor.glibc.as_str());
        assert_eq!(floor("vulkan", "x64"), Some("2.35"));
        assert_eq!(floor("cpu", "arm64"), Some("2.39"));
        assert_eq!(floor("cuda", "x64"), Some("2.39"));
    }
}
