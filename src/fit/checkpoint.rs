//! RAM that llama-server takes with use: checkpoints of what cannot be undone token by token, and the prompt cache
//! (llama.cpp b11434 `tools/server/server-context.cpp:2513`, `src/llama-kv-cache.cpp:2071`, `src/llama-memory-recurrent.cpp`).

use std::ops::Range;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::context::Context;
use super::graph::recurrent::StatePart;
use super::model::Model;
use crate::units::{Bytes, MIB};

/// The server's limits of what it keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// `--ctx-checkpoints`, for each slot.
    pub checkpoints: u32,
    /// `--cache-ram`, bytes; none = no limit.
    pub prompt_cache: Option<u64>,
}

impl Default for Limits {
    /// `common/common.h:635`
    fn default() -> Self {
        Self { checkpoints: 32, prompt_cache: Some(8192 * MIB) }
    }
}

/// What a server may take beyond its buffers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HostGrowth {
    /// One checkpoint of a full slot; 0 where nothing needs one.
    pub checkpoint_bytes: Bytes,
    /// The most that all slots keep together.
    pub checkpoints: u32,
    /// What saved prompts may take; absent = without limit.
    pub prompt_cache_bytes: Option<Bytes>,
}

impl HostGrowth {
    /// Bytes at most, none without limit.
    pub fn most(&self) -> Option<u64> {
        let checkpoints = self.checkpoint_bytes.0 * u64::from(self.checkpoints);
        self.prompt_cache_bytes.map(|cache| cache.0 + checkpoints)
    }
}

/// Bytes that a file or a checkpoint of one sequence begins with (`src/llama-context.cpp:3194`).
const HEAD: u64 = 8;
/// Before a tensor's rows: its type and their size.
const TENSOR: u64 = 12;
/// For each cell: its position, and the sequence that it belongs to.
const CELL: u64 = 12;

/// One checkpoint of a sequence that fills its context, bytes: the windowed caches and the recurrent states. 0 where a model has
/// neither: then tokens are undone one by one.
pub(crate) fn bytes(model: &Model, swa_full: bool, context: &Context) -> u64 {
    let windowed = model.window > 0 && !swa_full && model.architecture.has_window_cache();
    let recurs = (0..model.layers()).any(|layer| model.recurrent[layer as usize]);
    if !windowed && !recurs {
        return 0;
    }
    let mut bytes = HEAD;
    if windowed {
        let layers = (0..model.layers()).filter(|layer| model.windowed[*layer as usize]);
        bytes += cache_state(model, layers, model.window.min(context.cells_per_sequence), context);
    }
    if recurs {
        bytes += recurrent_state(model);
    }
    bytes
}

/// What a draft's context adds to each checkpoint: its whole cache, where the draft has no windows or states of its own.
pub(crate) fn draft_bytes(model: &Model, layers: Range<u32>, swa_full: bool, context: &Context) -> u64 {
    match bytes(model, swa_full, context) {
        partial if partial > 0 && layers.start == 0 => partial,
        _ => HEAD + cache_state(model, layers, context.cells_per_sequence, context),
    }
}

fn cache_state(model: &Model, layers: impl Iterator<Item = u32>, cells: u64, context: &Context) -> u64 {
    let rows: u64 = layers
        .flat_map(|layer| model.cache_rows(layer, context))
        .map(|(kind, width, _)| TENSOR + kind.row_bytes(width) * cells)
        .sum();
    // The number of streams, each stream's number of cells, and four numbers about the tensors.
    4 + 4 * context.streams + 16 + cells * CELL + rows
}

fn recurrent_state(model: &Model) -> u64 {
    let layers = (0..model.layers()).filter(|layer| model.recurrent[*layer as usize]).count() as u64;
    let widths = [StatePart::R, StatePart::S].map(|part| model.state_width(part));
    let rows: u64 = widths.into_iter().filter(|width| *width > 0).map(|width| TENSOR + width * 4).sum();
    // One cell: its number, its position without sequences, and two numbers about the tensors.
    4 + 8 + 8 + layers * rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_is_known_unless_the_cache_is_unlimited() {
        let growth = HostGrowth { checkpoint_bytes: Bytes(10), checkpoints: 4, prompt_cache_bytes: Some(Bytes(2)) };
        assert_eq!(growth.most(), Some(42));
        assert_eq!(HostGrowth { prompt_cache_bytes: None, ..growth }.most(), None);
    }
}
