//! The planner's answer, in the shape of the contract's `fit --json`: one value for people, programs, scripts and the verifier.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::settings::CacheType;
use crate::units::{Bytes, ComputeCapability};

pub const SCHEMA: &str = "llama-doctor/fit/1";

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    pub schema: String,
    pub devices: Vec<PlanDevice>,
    pub models: Vec<PlanModel>,
    pub options: Vec<PlanOption>,
    /// Index into `options`; absent when nothing fits.
    pub recommended: Option<usize>,
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
    /// KV bytes that one more token of context costs.
    pub bytes_per_token: Bytes,
    /// An estimate, not a promise.
    pub tokens_per_second: f64,
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
