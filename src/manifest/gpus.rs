//! The cards of `manifests/gpus.toml`, and the `--gpu SPEC` that names or describes one.

use std::sync::LazyLock;

use serde::Deserialize;
use thiserror::Error;

use crate::failure::Failure;
use crate::host::facts::{Fact, Gpu, GpuOrigin, Origin};
use crate::units::{Bytes, ComputeCapability};

/// One card as its maker sells it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// `RTX 3090`
    pub name: String,
    /// The name that NVML prints: `NVIDIA GeForce RTX 3090`
    pub nvml_name: String,
    /// What NVML reports as total.
    pub memory_mib: u64,
    /// What the driver keeps of an idle card without a display.
    pub reserved_mib: u64,
    pub compute_capability: ComputeCapability,
    pub bandwidth_gb_s: f64,
    pub source: String,
    pub checked: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    card: Vec<Card>,
}

/// Parsed once; `tests/manifests.rs` proves that the embedded file parses.
#[expect(clippy::expect_used, reason = "the file is embedded and a test parses it")]
static CARDS: LazyLock<Vec<Card>> = LazyLock::new(|| {
    toml::from_str::<File>(include_str!("../../manifests/gpus.toml")).expect("manifests/gpus.toml parses").card
});

pub fn cards() -> &'static [Card] {
    &CARDS
}

/// What the driver is taken to keep of a described card, and what a plan leaves free on each GPU unless `--reserve` says otherwise.
pub const DEFAULT_RESERVE: Bytes = Bytes::from_mib(320);

/// The card that NVML calls `nvml_name`, with the memory nearest to `total` where one name covers several cards.
pub fn by_nvml_name(nvml_name: &str, total: Bytes) -> Option<&'static Card> {
    let same_name = cards().iter().filter(|card| card.nvml_name == nvml_name);
    same_name.min_by_key(|card| Bytes::from_mib(card.memory_mib).0.abs_diff(total.0))
}

#[derive(Debug, Error)]
#[error("no card named `{spec}` is known")]
pub struct UnknownGpu {
    pub spec: String,
    pub nearest: Vec<String>,
}

/// The GPU that a `--gpu SPEC` means: a card by name (any case, dashes or spaces), or `NAME:TOTAL:CAPABILITY[:FREE]`.
/// `index` is its CUDA number.
pub fn simulated(spec: &str, index: usize) -> Result<Gpu, Failure> {
    let Some((name, description)) = spec.split_once(':') else {
        let card = named(spec)?;
        let total = Bytes::from_mib(card.memory_mib);
        let free = Bytes::from_mib(card.memory_mib - card.reserved_mib);
        let bandwidth = Fact::known((card.bandwidth_gb_s * 1e9) as u64, Origin::Manifest);
        return Ok(gpu(index, card.nvml_name.clone(), total, free, card.compute_capability, bandwidth));
    };
    let malformed = || {
        Failure::usage(format!(
            "`{spec}` describes no GPU: write `NAME:TOTAL:CAPABILITY[:FREE]`, for instance `big:24GiB:8.6`"
        ))
    };
    if name.trim().is_empty() {
        return Err(malformed());
    }
    let parts: Vec<&str> = description.split(':').collect();
    let (total, capability, free) = match parts[..] {
        [total, capability] => (total.parse::<Bytes>()?, capability, None),
        [total, capability, free] => (total.parse::<Bytes>()?, capability, Some(free.parse::<Bytes>()?)),
        _ => return Err(malformed()),
    };
    if total.0 == 0 {
        return Err(malformed());
    }
    let free = free.unwrap_or(Bytes(total.0.saturating_sub(DEFAULT_RESERVE.0)));
    if free > total {
        return Err(Failure::usage(format!("`{spec}` has more memory free ({free}) than in total ({total})")));
    }
    let bandwidth = Fact::unknown("not part of the description");
    Ok(gpu(index, name.to_owned(), total, free, capability.parse()?, bandwidth))
}

/// The card of that name: its own or NVML's, with or without the maker's words; or the only one whose name starts so.
fn named(spec: &str) -> Result<&'static Card, UnknownGpu> {
    let wanted = squeezed(spec);
    let is_wanted = |card: &&Card| squeezed(&card.name) == wanted;
    if let Some(card) = cards().iter().find(is_wanted) {
        return Ok(card);
    }
    if let Some(card) = cards().iter().find(|card| squeezed(&card.nvml_name) == wanted) {
        return Ok(card);
    }
    let starts_so: Vec<&Card> =
        cards().iter().filter(|card| !wanted.is_empty() && squeezed(&card.name).starts_with(&wanted)).collect();
    match starts_so[..] {
        [card] => Ok(card),
        [] => Err(UnknownGpu { spec: spec.to_owned(), nearest: nearest(&wanted) }),
        _ => Err(UnknownGpu {
            spec: spec.to_owned(),
            nearest: starts_so.iter().take(4).map(|card| card.name.clone()).collect(),
        }),
    }
}

/// Lower case, letters and digits only, without the words that people leave out.
fn squeezed(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    let words = lower.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.filter(|word| !["nvidia", "geforce", "tesla", "quadro"].contains(word)).collect()
}

/// Up to three names that are spelled nearly so, or hold what was typed.
fn nearest(wanted: &str) -> Vec<String> {
    let mut scored: Vec<(usize, &Card)> = cards()
        .iter()
        .map(|card| {
            let name = squeezed(&card.name);
            let holds = wanted.len() >= 2 && name.contains(wanted);
            (if holds { 0 } else { edits(&name, wanted) }, card)
        })
        .filter(|(distance, card)| *distance <= 3.min(squeezed(&card.name).len() / 2))
        .collect();
    scored.sort_by_key(|(distance, card)| (*distance, card.name.len()));
    scored.into_iter().take(3).map(|(_, card)| card.name.clone()).collect()
}

/// Levenshtein's distance.
pub(crate) fn edits(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (line, one) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, other) in right.iter().enumerate() {
            let substituted = diagonal + usize::from(one != *other);
            diagonal = row[column + 1];
            row[column + 1] = substituted.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

fn gpu(
    index: usize,
    name: String,
    total: Bytes,
    free: Bytes,
    capability: ComputeCapability,
    bandwidth: Fact<u64>,
) -> Gpu {
    let id = format!("CUDA{index}");
    Gpu { memory_bandwidth: bandwidth, ..Gpu::new(id, GpuOrigin::Simulated, name, Some(capability), total, free) }
}
