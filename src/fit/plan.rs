//! The planner's answer, in the shape of the contract's `fit --json`: one value for people, programs, scripts and the verifier.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::checkpoint::HostGrowth;
use super::explain::Step;
use super::overhead::OverheadPart;
use super::settings::CacheType;
use crate::units::{BuildTag, Bytes, ComputeCapability};

pub const SCHEMA: &str = "llama-doctor/fit/1";

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    pub schema: String,
    pub devices: Vec<PlanDevice>,
    pub models: Vec<PlanModel>,
    pub options: Vec<PlanOption>,
    /// Index into `options`; absent when nothing fits.
    pub recommended: Option<usize>,
    /// Why that one.
    #[serde(default)]
    pub reason: String,
    /// The llama.cpp build whose allocations are predicted.
    #[serde(default)]
    pub build: Option<BuildTag>,
    /// What would fit, when nothing does: cheapest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remedies: Vec<PlanRemedy>,
    /// What a build's own planner says, when it was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second_opinion: Option<SecondOpinion>,
}

/// `llama-fit-params` and we, on one configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecondOpinion {
    pub program: String,
    pub rows: Vec<OpinionRow>,
    pub notes: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OpinionRow {
    /// `CUDA0`, `Host`
    pub device: String,
    /// In whole MiB, rounded down.
    pub theirs: MemoryParts,
    pub ours: MemoryParts,
}

/// A change that makes the plan fit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PlanRemedy {
    /// `Keep the experts of 12 layers in host memory`
    pub what: String,
    /// What to add to the command line.
    pub arguments: Vec<String>,
    /// Tokens that each server holds then.
    #[serde(default)]
    pub contexts: Vec<u32>,
    /// What is left on the tightest GPU then.
    pub headroom_bytes: Bytes,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PlanDevice {
    pub id: String,
    pub name: String,
    pub compute_capability: ComputeCapability,
    pub total_bytes: Bytes,
    pub free_bytes: Bytes,
    pub reserve_bytes: Bytes,
    /// `nvml`, `simulated` or `recorded`
    pub origin: crate::host::facts::GpuOrigin,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PlanModel {
    /// What was asked for: a path, a catalogue name, `org/repo:QUANT`, a URL.
    pub source: String,
    pub name: String,
    pub architecture: String,
    pub quantization: String,
    pub parameters: u64,
    pub file_bytes: Bytes,
    pub layers: u32,
    pub train_context: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PlanOption {
    pub servers: Vec<PlanServer>,
    pub fits: bool,
    /// Free after everything, by device; negative where it does not fit.
    pub headroom_bytes: BTreeMap<String, i64>,
    pub notes: Vec<String>,
    /// Smaller configurations, largest first, for a start that finds less VRAM than was planned with; of the recommended
    /// option.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ladder: Vec<PlanStep>,
}

/// A step down: all servers of an option with smaller contexts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlanStep {
    /// In the option's order.
    pub servers: Vec<StepServer>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StepServer {
    pub context: u32,
    /// What the server takes then, by device.
    pub device_bytes: BTreeMap<String, Bytes>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LimitedBy {
    Vram,
    TrainContext,
    Requested,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PlanServer {
    /// Index into the plan's `models`.
    pub model: usize,
    pub context: u32,
    pub cache_type_k: CacheType,
    pub cache_type_v: CacheType,
    pub flash_attention: bool,
    /// As `-ngl` counts: layers plus one for the output.
    pub gpu_layers: u32,
    pub cpu_moe_layers: u32,
    pub parallel: u32,
    pub kv_unified: bool,
    pub batch: u32,
    pub ubatch: u32,
    pub limited_by: LimitedBy,
    /// By device id, and `Host`.
    pub memory: BTreeMap<String, MemoryParts>,
    pub kv_bytes: Bytes,
    /// The rows of logits, in RAM; not counted in `memory`, as llama.cpp's breakdown does not.
    #[serde(default)]
    pub output_bytes: Bytes,
    /// RAM that the server may take with use, beyond `memory`.
    #[serde(default)]
    pub host_growth: HostGrowth,
    /// KV bytes that one more token of context costs.
    pub bytes_per_token: Bytes,
    /// An estimate, not a promise; 0 where a card's bandwidth is not known.
    pub tokens_per_second: f64,
    /// The same for a prompt.
    #[serde(default)]
    pub prompt_tokens_per_second: f64,
    /// What the truth usually lies between, as factors of `tokens_per_second`.
    #[serde(default)]
    pub speed_band: [f64; 2],
    /// What VRAM would hold where the training context limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vram_context: Option<u32>,
    /// What the overhead is made of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overhead: Vec<OverheadPart>,
    /// The arithmetic, when it was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub explanation: Vec<Step>,
    /// llama-server's arguments, ready for a process: no shell quoting.
    pub arguments: Vec<String>,
}

/// `model`, `context` and `compute` mean what llama.cpp's memory breakdown calls so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MemoryParts {
    pub model: Bytes,
    pub context: Bytes,
    pub compute: Bytes,
    /// CUDA context, kernel modules, cuBLAS workspace, pool: absent for `Host`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overhead: Option<Bytes>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<Bytes>,
}
