//! The cards of `manifests/gpus.toml`, and the `--gpu SPEC` that names or describes one.

use std::sync::LazyLock;

use serde::Deserialize;
use thiserror::Error;

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

#[derive(Debug, Error)]
#[error("no card named `{spec}` is known")]
pub struct UnknownGpu {
    pub spec: String,
    pub nearest: Vec<String>,
}

fn squeezed(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// The GPU that a `--gpu SPEC` means: a card by name (any case, dashes or spaces), or `NAME:TOTAL:CAPABILITY[:FREE]`.
/// `index` is its CUDA number.
pub fn simulated(spec: &str, index: usize) -> Result<Gpu, crate::failure::Failure> {
    let mut parts = spec.split(':');
    let name = parts.next().unwrap_or_default();
    let rest: Vec<&str> = parts.collect();
    let (name, total, free, capability, bandwidth) = match rest[..] {
        [] => {
            let wanted = squeezed(spec);
            let matches = |card: &&Card| squeezed(&card.name) == wanted || squeezed(&card.nvml_name) == wanted;
            let card = cards().iter().find(matches).ok_or_else(|| UnknownGpu {
                spec: spec.to_owned(),
                nearest: cards()
                    .iter()
                    .filter(|card| squeezed(&card.name).contains(&wanted) && !wanted.is_empty())
                    .take(3)
                    .map(|card| card.name.clone())
                    .collect(),
            })?;
            (
                card.nvml_name.clone(),
                Bytes::from_mib(card.memory_mib),
                Bytes::from_mib(card.memory_mib - card.reserved_mib),
                card.compute_capability,
                Fact::known((card.bandwidth_gb_s * 1e9) as u64, Origin::Manifest),
            )
        }
        [total, capability] => {
            let total: Bytes = total.parse()?;
            (name.to_owned(), total, total, capability.parse()?, Fact::unknown("not part of the description"))
        }
        [total, capability, free] => {
            let (total, free): (Bytes, Bytes) = (total.parse()?, free.parse()?);
            if free > total {
                return Err(crate::failure::Failure::usage(format!(
                    "`{spec}` has more memory free ({free}) than in total ({total})"
                )));
            }
            (name.to_owned(), total, free, capability.parse()?, Fact::unknown("not part of the description"))
        }
        _ => {
            return Err(crate::failure::Failure::usage(format!(
                "`{spec}` describes no GPU: write `NAME:TOTAL:CAPABILITY[:FREE]`, for instance `big:24GiB:8.6`"
            )));
        }
    };
    let nothing = || "a simulated GPU has none".to_owned();
    Ok(Gpu {
        id: format!("CUDA{index}"),
        origin: GpuOrigin::Simulated,
        name,
        compute_capability: Some(capability),
        total,
        free,
        memory_bandwidth: bandwidth,
        uuid: Fact::unknown(nothing()),
        pci_bus_id: Fact::unknown(nothing()),
        pcie: Fact::unknown(nothing()),
        mig_enabled: Fact::unknown(nothing()),
        ecc_enabled: Fact::unknown(nothing()),
        display_active: Fact::unknown(nothing()),
        processes: Fact::unknown(nothing()),
        visible: true,
    })
}
