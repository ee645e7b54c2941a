//! The quantities of the field, each a type that parses, compares and prints: bytes, versions, capabilities, build tags.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// What was typed is not what was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{text}` is not a {what}: {hint}")]
pub struct ParseUnitError {
    pub text: String,
    pub what: &'static str,
    pub hint: &'static str,
}

/// A number of bytes. Prints in GiB, or in MiB below one GiB: VRAM always shows in one unit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Bytes(pub u64);

pub const KIB: u64 = 1 << 10;
pub const MIB: u64 = 1 << 20;
pub const GIB: u64 = 1 << 30;

impl Bytes {
    pub const fn from_mib(mib: u64) -> Self {
        Self(mib * MIB)
    }

    pub fn mib(self) -> f64 {
        self.0 as f64 / MIB as f64
    }

    pub fn gib(self) -> f64 {
        self.0 as f64 / GIB as f64
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.0 {
            0..KIB => format!("{} B", self.0),
            KIB..MIB => format!("{:.1} KiB", self.0 as f64 / KIB as f64),
            MIB..GIB => format!("{:.1} MiB", self.mib()),
            _ => format!("{:.1} GiB", self.gib()),
        };
        formatter.pad(&text)
    }
}

impl FromStr for Bytes {
    type Err = ParseUnitError;

    /// Accepts `512MiB`, `1.5GiB`, `24 GiB` and plain bytes. `MB` and `GB` are powers of ten.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseUnitError {
            text: text.to_owned(),
            what: "size",
            hint: "write for instance `512MiB`, `1.5GiB` or a number of bytes",
        };
        let trimmed = text.trim();
        let split = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(split);
        let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kib" => KIB,
            "m" | "mib" => MIB,
            "g" | "gib" => GIB,
            "t" | "tib" => GIB << 10,
            "kb" => 1_000,
            "mb" => 1_000_000,
            "gb" => 1_000_000_000,
            "tb" => 1_000_000_000_000,
            _ => return Err(error()),
        };
        if let Ok(whole) = number.parse::<u64>() {
            return whole.checked_mul(factor).map(Self).ok_or_else(error);
        }
        let value = number.parse::<f64>().map_err(|_| error())? * factor as f64;
        if value.is_finite() && value < u64::MAX as f64 { Ok(Self(value as u64)) } else { Err(error()) }
    }
}

macro_rules! text_serde {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({"type": "string"})
            }
        }
    };
}

fn two_numbers(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once('.').unwrap_or((text, "0"));
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// What generation a GPU is, as CUDA counts: 8.6 for an RTX 3090.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ComputeCapability {
    pub major: u32,
    pub minor: u32,
}

impl ComputeCapability {
    pub const fn new(major: u32, minor: u32) -> Self {
        Self { major, minor }
    }
}

impl fmt::Display for ComputeCapability {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for ComputeCapability {
    type Err = ParseUnitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        two_numbers(text).filter(|(major, minor)| (1..100).contains(major) && *minor < 10).map_or_else(
            || {
                Err(ParseUnitError {
                    text: text.to_owned(),
                    what: "compute capability",
                    hint: "write for instance `8.6`",
                })
            },
            |(major, minor)| Ok(Self { major, minor }),
        )
    }
}

text_serde!(ComputeCapability);

/// A CUDA version: 12.8, or 13.4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CudaVersion {
    pub major: u32,
    pub minor: u32,
}

impl CudaVersion {
    pub const fn new(major: u32, minor: u32) -> Self {
        Self { major, minor }
    }

    /// CUDA's own integer form, major · 1000 + minor · 10 (`cuDriverGetVersion`, `nvmlSystemGetCudaDriverVersion_v2`).
    /// Implausible integers, which half-broken drivers return, are none.
    pub fn from_integer(number: i32) -> Option<Self> {
        (1000..=99_990)
            .contains(&number)
            .then_some(Self { major: number as u32 / 1000, minor: number as u32 % 1000 / 10 })
    }
}

impl fmt::Display for CudaVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for CudaVersion {
    type Err = ParseUnitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        two_numbers(text).map_or_else(
            || Err(ParseUnitError { text: text.to_owned(), what: "CUDA version", hint: "write for instance `12.8`" }),
            |(major, minor)| Ok(Self { major, minor }),
        )
    }
}

text_serde!(CudaVersion);

/// An NVIDIA driver version: two or three numbers, compared as numbers (580.65.06, 572.61).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DriverVersion {
    pub branch: u32,
    pub minor: u32,
    pub patch: Option<u32>,
}

impl fmt::Display for DriverVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{:02}", self.branch, self.minor)?;
        self.patch.map_or(Ok(()), |patch| write!(formatter, ".{patch:02}"))
    }
}

impl FromStr for DriverVersion {
    type Err = ParseUnitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error =
            || ParseUnitError { text: text.to_owned(), what: "driver version", hint: "write for instance `580.65.06`" };
        let numbers: Vec<u32> =
            text.trim().split('.').map(str::parse).collect::<Result<_, _>>().map_err(|_| error())?;
        match numbers[..] {
            [branch, minor] => Ok(Self { branch, minor, patch: None }),
            [branch, minor, patch] => Ok(Self { branch, minor, patch: Some(patch) }),
            _ => Err(error()),
        }
    }
}

text_serde!(DriverVersion);

/// The name of a llama.cpp build: a nightly `b11434`, or a release `v0.6.0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BuildTag {
    Nightly(u32),
    Release { major: u32, minor: u32, patch: u32 },
}

impl fmt::Display for BuildTag {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nightly(number) => write!(formatter, "b{number}"),
            Self::Release { major, minor, patch } => write!(formatter, "v{major}.{minor}.{patch}"),
        }
    }
}

impl FromStr for BuildTag {
    type Err = ParseUnitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseUnitError {
            text: text.to_owned(),
            what: "llama.cpp build",
            hint: "write `b` and a number (`b11434`), or `v` and three numbers (`v0.6.0`)",
        };
        if let Some(number) = text.strip_prefix('b') {
            return number.parse().map(Self::Nightly).map_err(|_| error());
        }
        let numbers: Vec<u32> = text
            .strip_prefix('v')
            .ok_or_else(error)?
            .split('.')
            .map(str::parse)
            .collect::<Result<_, _>>()
            .map_err(|_| error())?;
        match numbers[..] {
            [major, minor, patch] => Ok(Self::Release { major, minor, patch }),
            _ => Err(error()),
        }
    }
}

text_serde!(BuildTag);

/// A number with a comma at each thousand: `139,520`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_parse_and_print() {
        assert_eq!("512MiB".parse(), Ok(Bytes(512 * MIB)));
        assert_eq!("1.5 GiB".parse(), Ok(Bytes(3 * GIB / 2)));
        assert_eq!("42".parse(), Ok(Bytes(42)));
        assert_eq!("1GB".parse(), Ok(Bytes(1_000_000_000)));
        assert!("12XB".parse::<Bytes>().is_err());
        assert!("-1".parse::<Bytes>().is_err());
        assert!("99999999999999999999".parse::<Bytes>().is_err());
        assert_eq!(Bytes(24 * GIB).to_string(), "24.0 GiB");
    }

    #[test]
    fn versions_compare_as_numbers() {
        let driver = |text: &str| text.parse::<DriverVersion>().unwrap();
        assert!(driver("580.65.06") < driver("580.126.01"));
        assert!(driver("572.61") < driver("580.65.06"));
        assert_eq!(driver("580.65.06").to_string(), "580.65.06");
        assert_eq!(CudaVersion::from_integer(13020), Some(CudaVersion::new(13, 2)));
        assert_eq!(CudaVersion::from_integer(0), None);
    }

    #[test]
    fn build_tags_of_both_kinds() {
        assert_eq!("b11434".parse(), Ok(BuildTag::Nightly(11434)));
        assert_eq!("v0.6.0".parse::<BuildTag>().unwrap().to_string(), "v0.6.0");
        assert!("11434".parse::<BuildTag>().is_err());
        assert!("v1.2".parse::<BuildTag>().is_err());
    }
}
