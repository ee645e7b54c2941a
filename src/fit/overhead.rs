//! What a llama-server process takes of a GPU beside the buffers that llama.cpp counts: estimates, each with its origin and its band.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Prediction;
use super::model::{Class, Model};
use super::settings::Settings;
use crate::gguf::TensorType;
use crate::manifest::estimates;
use crate::units::{Bytes, ComputeCapability, MIB};

/// One reason for VRAM beside the buffers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OverheadPart {
    /// `CUDA0`
    pub device: String,
    /// `CUDA context and kernels`
    pub what: String,
    /// What the plan charges.
    pub bytes: Bytes,
    /// How much less it may really be.
    pub less_bytes: Bytes,
    /// Where the figure comes from.
    pub origin: String,
}

/// The smallest piece of VRAM that the driver hands out (CUDA's virtual memory granularity on today's cards).
const GRANULE: u64 = 2 * MIB;
/// Buffers of a process that are rounded up: weights, cache, compute.
const BUFFERS: u64 = 3;
/// Partial results of flash attention, at most, in every row of `truth/after_decode.jsonl`.
const ATTENTION_POOL: u64 = 16 * MIB;

/// What `bench` found on this machine.
pub fn measured(device: &str, bytes: Bytes) -> OverheadPart {
    OverheadPart {
        device: device.to_owned(),
        what: "all beside the buffers".to_owned(),
        bytes,
        less_bytes: Bytes(0),
        origin: "measured on this machine by `llama-doctor bench` (calibration.toml)".to_owned(),
    }
}

/// What of a model decides the overhead of its process: it never changes.
#[derive(Debug, Clone, Copy)]
pub struct Demands {
    multiplies_floats: bool,
    /// Elements of the widest row of activations that a quantized product reads, experts counted as often as they are used.
    widest: u64,
    heads: u64,
}

/// What the compute buffer takes once the context is full: llama.cpp reserved for an empty one.
pub fn growing(device: &str, bytes: u64) -> OverheadPart {
    OverheadPart {
        device: device.to_owned(),
        what: "compute buffer of a full context".to_owned(),
        bytes: Bytes(bytes),
        less_bytes: Bytes(bytes),
        origin: "the graph of a full context, replayed; llama.cpp reserves that of an empty one".to_owned(),
    }
}

impl Demands {
    pub fn of(model: &Model) -> Self {
        Self {
            multiplies_floats: multiplies_floats(model),
            widest: widest(model),
            heads: model.heads.iter().copied().max().unwrap_or(0),
        }
    }

    /// What one process takes of one device that it uses.
    pub fn of_process(
        &self,
        device: &str,
        capability: ComputeCapability,
        settings: &Settings,
        prediction: &Prediction,
    ) -> Vec<OverheadPart> {
        let part = |what: &str, bytes: u64, less: u64, origin: &str| OverheadPart {
            device: device.to_owned(),
            what: what.to_owned(),
            bytes: Bytes(bytes),
            less_bytes: Bytes(less),
            origin: origin.to_owned(),
        };
        let tables = estimates::overheads();
        let mut parts = Vec::new();
        if let Some(row) = estimates::row(&tables.context, capability, |row| row.capability) {
            let origin = if row.measured { "measured" } else { "estimated" };
            parts.push(part(
                "CUDA context and kernels",
                row.mib * MIB,
                row.less_mib * MIB,
                &format!("{origin}: {}", row.source),
            ));
        }
        if (self.multiplies_floats || !prediction.flash_attention)
            && let Some(row) = estimates::row(&tables.cublas, capability, |row| row.capability)
        {
            let bytes = (row.workspace_mib + row.kernels_mib) * MIB;
            parts.push(part("cuBLAS workspace and kernels", bytes, row.kernels_mib * MIB, &row.source));
        }
        let pool = self.pool(settings, prediction);
        parts.push(part(
            "scratch pool of kernels",
            pool,
            pool / 2,
            "rule of llama.cpp b11434 ggml/src/ggml-cuda/mmq.cu:188, checked against decoded contexts on the rig",
        ));
        parts.push(part(
            "rounding of allocations",
            BUFFERS * GRANULE,
            BUFFERS * GRANULE,
            "cudaMalloc hands out pieces of 2 MiB",
        ));
        parts
    }

    /// The largest temporary that kernels ask for: activations as `q8_1` blocks; without flash attention also the attention
    /// matrix in halves. A pool never shrinks and grows in granules.
    fn pool(&self, settings: &Settings, prediction: &Prediction) -> u64 {
        let tokens = u64::from(settings.ubatch.min(settings.batch));
        let activations = tokens * self.widest * 36 / 32;
        let attention =
            if prediction.flash_attention { ATTENTION_POOL } else { self.heads * tokens * prediction.context_per_slot };
        (activations + attention).next_multiple_of(GRANULE)
    }
}

/// What Windows keeps of a card of `total` bytes from any one process.
pub fn wddm(total: Bytes) -> u64 {
    total.0 / 100 * estimates::overheads().wddm.percent
}

/// Matrix products outside the quantized kernels go through cuBLAS: routers of experts, unquantized weights.
fn multiplies_floats(model: &Model) -> bool {
    let is_float = |kind: TensorType| [TensorType::F32, TensorType::F16, TensorType::BF16].contains(&kind);
    model.weights.iter().any(|weight| {
        let is_matrix = weight.dims[0] > 1 && weight.dims[1] > 1 && weight.name.ends_with(".weight");
        let is_convolution = weight.name.contains("conv1d");
        matches!(weight.class, Class::Layer(_)) && is_matrix && !is_convolution && is_float(weight.kind)
    })
}

fn widest(model: &Model) -> u64 {
    let used_experts = model.whole("expert_used_count").unwrap_or(1).max(1);
    model
        .weights
        .iter()
        .filter(|weight| matches!(weight.class, Class::Layer(_)) && weight.kind.is_quantized())
        .map(|weight| weight.dims[0].next_multiple_of(512) * if weight.dims[2] > 1 { used_experts } else { 1 })
        .max()
        .unwrap_or(model.embedding)
}
