//! What llama.cpp makes of the settings: cells, streams, batch sizes (llama.cpp b11434 `src/llama-context.cpp:225`).

use super::FitError;
use super::model::Model;
use super::settings::{CacheType, FlashAttention, Settings};
use crate::gguf::TensorType;

/// Contexts and windows are padded to this many cells.
const CELL_PADDING: u64 = 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Context {
    /// Tokens of all slots together, as llama.cpp rounds them.
    pub(crate) cells_total: u64,
    /// Cells of each stream.
    pub(crate) cells_per_sequence: u64,
    /// Cells of each stream of the windowed cache.
    pub(crate) window_cells: u64,
    /// The window's cache is as large as the whole context's.
    pub(crate) whole_window: bool,
    pub(crate) streams: u64,
    pub(crate) sequences: u64,
    pub(crate) unified: bool,
    pub(crate) batch: u64,
    pub(crate) ubatch: u64,
    pub(crate) outputs_max: u64,
    pub(crate) flash_attention: bool,
    /// V is stored by column, for attention without flash attention. The cache is laid out before `auto` is resolved:
    /// where that turns flash attention off, V stays as it was stored for it.
    pub(crate) v_by_column: bool,
    /// Residual streams are mixed by many ops: the one for it would run on another device than its layer.
    pub(crate) mixes_apart: bool,
    /// The graph of a full cache, where it differs from the one that is reserved.
    pub(crate) is_full: bool,
    pub(crate) cache_on_gpu: bool,
    pub(crate) kind_k: TensorType,
    pub(crate) kind_v: TensorType,
    /// Embeddings are asked for.
    pub(crate) embeddings: bool,
    /// Snapshots of the recurrent state for undoing drafted tokens.
    pub(crate) state_snapshots: u64,
}

pub(crate) const fn kind_of(cache: CacheType) -> TensorType {
    match cache {
        CacheType::F32 => TensorType::F32,
        CacheType::F16 => TensorType::F16,
        CacheType::Bf16 => TensorType::BF16,
        CacheType::Q8_0 => TensorType::Q8_0,
        CacheType::Q5_1 => TensorType::Q5_1,
        CacheType::Q5_0 => TensorType::Q5_0,
        CacheType::Q4_1 => TensorType::Q4_1,
        CacheType::Q4_0 => TensorType::Q4_0,
        CacheType::Iq4Nl => TensorType::IQ4_NL,
    }
}

/// Whether drafted tokens are undone by going back to a kept state (`llm_arch_supports_rs_rollback`, `src/llama-arch.cpp:1162`).
fn undoes_states(model: &Model) -> bool {
    matches!(
        model.architecture.name.as_str(),
        "kimi-k3"
            | "qwen35"
            | "qwen35moe"
            | "qwen4exp"
            | "deepseek4"
            | "glm5-next"
            | "nemotron_h"
            | "nemotron_h_moe"
            | "lfm2"
            | "lfm2moe"
            | "bailingmoe3"
    )
}

impl Context {
    /// Flash attention is still to be decided: it starts as on.
    pub(crate) fn new(model: &Model, settings: &Settings) -> Result<Self, FitError> {
        let sequences = u64::from(settings.parallel);
        if sequences == 0 || settings.batch == 0 || settings.ubatch == 0 {
            return Err(FitError::Zero);
        }
        let asked = if settings.context == 0 { model.train_context } else { settings.context };
        let padded = u64::from(asked).next_multiple_of(CELL_PADDING);
        let (cells_per_sequence, cells_total) = if settings.kv_unified {
            (padded, padded)
        } else {
            let each = (padded / sequences).next_multiple_of(CELL_PADDING).max(CELL_PADDING);
            (each, each * sequences)
        };
        let batch = u64::from(settings.batch);
        let batch = if model.is_causal() { batch.min(u64::from(asked)) } else { batch };
        let ubatch = u64::from(settings.ubatch).min(batch);
        let drafted = u64::from(settings.drafted_tokens);
        let outputs_max = match settings.outputs_max {
            None if settings.embeddings => batch,
            None => (sequences * (1 + drafted)).min(batch),
            Some(0) => batch,
            Some(rows) => u64::from(rows),
        };
        let streams = if settings.kv_unified { 1 } else { sequences };
        let windows = model.window * if settings.kv_unified { sequences } else { 1 };
        let window_cells = if settings.swa_full {
            cells_per_sequence
        } else {
            cells_per_sequence.min(windows + ubatch).next_multiple_of(CELL_PADDING)
        };
        Ok(Self {
            cells_total,
            cells_per_sequence,
            window_cells,
            whole_window: settings.swa_full,
            streams,
            sequences,
            unified: settings.kv_unified,
            batch,
            ubatch,
            outputs_max,
            flash_attention: true,
            v_by_column: settings.flash_attention == FlashAttention::Off,
            mixes_apart: false,
            is_full: false,
            cache_on_gpu: settings.kv_offload,
            kind_k: kind_of(settings.cache_type_k),
            kind_v: kind_of(settings.cache_type_v),
            embeddings: settings.embeddings,
            state_snapshots: if settings.mtp && undoes_states(model) { drafted } else { 0 },
        })
    }

    pub(crate) fn streams_of(&self, sequences: u64) -> u64 {
        if self.unified { 1 } else { sequences }
    }
}
