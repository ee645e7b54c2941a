//! `manifests/overhead.toml` and `manifests/speed.toml`: what no formula gives, as figures with a band.

use std::sync::LazyLock;

use serde::Deserialize;

use crate::units::ComputeCapability;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Overheads {
    pub context: Vec<ContextRow>,
    pub cublas: Vec<CublasRow>,
    pub wddm: Wddm,
}

/// The CUDA context and the kernels that the first requests load.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContextRow {
    /// From this generation on.
    pub capability: ComputeCapability,
    pub mib: u64,
    /// How far below the truth may lie.
    pub less_mib: u64,
    pub measured: bool,
    pub source: String,
    pub checked: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CublasRow {
    pub capability: ComputeCapability,
    pub workspace_mib: u64,
    pub kernels_mib: u64,
    pub source: String,
    pub checked: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wddm {
    /// Of a card's memory, kept from one process.
    pub percent: u64,
    pub source: String,
    pub checked: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Speeds {
    pub card: Vec<SpeedRow>,
    pub prompt: PromptSpeed,
    pub host: HostSpeed,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpeedRow {
    pub capability: ComputeCapability,
    /// The part of the peak bandwidth that decoding reaches.
    pub efficiency: f64,
    /// Time that starting one kernel takes beside what it reads, microseconds.
    pub kernel_us: f64,
    /// Prompt tokens in the time that decoding reads the weights once.
    pub prompt_ratio: f64,
    pub source: String,
    pub checked: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromptSpeed {
    /// What is left of `prompt_ratio` where a few of many experts are used.
    pub experts: f64,
    /// How much longer a kernel's start takes for a micro-batch than for one token: it moves activations.
    pub kernel_factor: f64,
    pub source: String,
    pub checked: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostSpeed {
    pub bandwidth_gb_s: f64,
    /// Prompt tokens in the time that decoding reads the weights once.
    pub prompt_ratio: f64,
    /// Time to choose a token, nanoseconds for each token of the vocabulary.
    pub sampling_ns: f64,
    pub source: String,
    pub checked: String,
}

#[expect(clippy::expect_used, reason = "the file is embedded and a test parses it")]
static OVERHEADS: LazyLock<Overheads> = LazyLock::new(|| {
    toml::from_str(include_str!("../../manifests/overhead.toml")).expect("manifests/overhead.toml parses")
});

#[expect(clippy::expect_used, reason = "the file is embedded and a test parses it")]
static SPEEDS: LazyLock<Speeds> =
    LazyLock::new(|| toml::from_str(include_str!("../../manifests/speed.toml")).expect("manifests/speed.toml parses"));

pub fn overheads() -> &'static Overheads {
    &OVERHEADS
}

pub fn speeds() -> &'static Speeds {
    &SPEEDS
}

/// The last row that is not above `capability`; the first for anything older.
pub fn row<T>(rows: &[T], capability: ComputeCapability, of: impl Fn(&T) -> ComputeCapability) -> Option<&T> {
    rows.iter().rev().find(|row| of(row) <= capability).or(rows.first())
}
