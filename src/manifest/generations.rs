//! NVIDIA's chip generations, told from PCI device numbers where no driver answers.

use std::sync::LazyLock;

use serde::Deserialize;

use crate::units::ComputeCapability;

/// In the order in which they came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Generation {
    Kepler,
    Maxwell,
    Pascal,
    Volta,
    Turing,
    Ampere,
    Hopper,
    Ada,
    Blackwell,
}

impl Generation {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kepler => "Kepler",
            Self::Maxwell => "Maxwell",
            Self::Pascal => "Pascal",
            Self::Volta => "Volta",
            Self::Turing => "Turing",
            Self::Ampere => "Ampere",
            Self::Hopper => "Hopper",
            Self::Ada => "Ada",
            Self::Blackwell => "Blackwell",
        }
    }

    /// Source: <https://developer.nvidia.com/cuda-gpus>, checked 2026-11-23.
    pub const fn of_capability(capability: ComputeCapability) -> Option<Self> {
        Some(match (capability.major, capability.minor) {
            (3, _) => Self::Kepler,
            (5, _) => Self::Maxwell,
            (6, _) => Self::Pascal,
            (7, 0..=4) => Self::Volta,
            (7, _) => Self::Turing,
            (8, 9) => Self::Ada,
            (8, _) => Self::Ampere,
            (9, _) => Self::Hopper,
            (10..=12, _) => Self::Blackwell,
            _ => return None,
        })
    }
}

/// PCI device numbers from `first` to `last`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    pub first: u16,
    pub last: u16,
    pub generation: Generation,
    pub chips: String,
    pub source: String,
    pub checked: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    range: Vec<Range>,
}

/// Parsed once; a test below proves that the embedded file parses.
#[expect(clippy::expect_used, reason = "the file is embedded and a test parses it")]
static RANGES: LazyLock<Vec<Range>> = LazyLock::new(|| {
    let text = include_str!("../../manifests/generations.toml");
    toml::from_str::<File>(text).expect("manifests/generations.toml parses").range
});

pub fn ranges() -> &'static [Range] {
    &RANGES
}

/// The generation of a PCI device number in hexadecimal (`2204`); none for numbers that are not listed.
pub fn generation_of_device(device: &str) -> Option<Generation> {
    let number = u16::from_str_radix(device.trim_start_matches("0x"), 16).ok()?;
    ranges().iter().find(|range| (range.first..=range.last).contains(&number)).map(|range| range.generation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_are_placed() {
        let cards = [
            ("1b06", Generation::Pascal),
            ("1401", Generation::Maxwell),
            ("1db6", Generation::Volta),
            ("1e07", Generation::Turing),
            ("2204", Generation::Ampere),
            ("20b2", Generation::Ampere),
            ("2330", Generation::Hopper),
            ("2684", Generation::Ada),
            ("2b85", Generation::Blackwell),
        ];
        for (device, generation) in cards {
            assert_eq!(generation_of_device(device), Some(generation), "{device}");
        }
        assert_eq!(generation_of_device("zzzz"), None);
    }

    #[test]
    fn ranges_rise_and_do_not_overlap() {
        for pair in ranges().windows(2) {
            assert!(pair[0].last < pair[1].first, "{:04x} and {:04x}", pair[0].last, pair[1].first);
        }
        assert!(ranges().iter().all(|range| range.first <= range.last && !range.source.is_empty()));
    }
}
