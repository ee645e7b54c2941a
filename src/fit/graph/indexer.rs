//! Sparse latent attention: an indexer with keys of its own chooses the cells that a token sees
//! (llama.cpp b11434 `src/models/deepseek32.cpp`, `glm-dsa.cpp`, `src/llama-graph.cpp:3114`).

use super::attention::{AttentionInputs, CacheInputs};
use super::builder::Builder;
use super::tensor::{Id, NONE, Op};
use crate::fit::architecture::GraphKind;
use crate::fit::model::Model;
use crate::gguf::TensorType;

/// The slot of a layer's indexer keys beside its K.
const INDEXER_CACHE: u8 = 2;

/// What the indexer reads: where its keys go, its mask, and a Hadamard matrix.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IndexerInputs {
    rows: Id,
    mask: Id,
    rotation: Id,
}

impl Model {
    /// Elements of one indexer key; 0 for layers that use the choice of an earlier one.
    pub(crate) fn indexer_key(&self, layer: u32) -> u64 {
        if !self.architecture.has_indexer() || layer >= self.layers() || self.windowed[layer as usize] {
            return 0;
        }
        let chooses = self.whole_at("attention.indexer.types", layer).map_or_else(
            // GLM 5.2 chooses in the first three layers and in every fourth from there on.
            || !self.architecture.shares_indexers(self) || layer < 2 || layer % 4 == 2,
            |kind| kind != 0,
        );
        if chooses { self.whole("attention.indexer.key_length").unwrap_or(0) } else { 0 }
    }
}

impl Builder<'_> {
    pub(crate) fn sparse_latent(&mut self) {
        let mut current = self.input_embedding(false);
        let inputs = self.latent_inputs();
        let indexer = self.indexer_inputs();
        let mut chosen = NONE;
        for layer in self.layers.clone() {
            let normed = self.layer_norm(current, layer, "attn_norm");
            let attended = if self.model.windowed[layer as usize] {
                self.latent_attention(&inputs, normed, layer)
            } else {
                self.chosen_attention(&inputs, indexer, normed, &mut chosen, layer)
            };
            let ends = self.is_last(layer);
            current = self.end_block(attended, current, layer, ends);
        }
        self.finish(current, Op::RmsNorm);
    }

    /// Attention to the cells that this layer's indexer chooses, or an earlier one's.
    pub(crate) fn chosen_attention(
        &mut self,
        inputs: &AttentionInputs,
        indexer: IndexerInputs,
        normed: Id,
        chosen: &mut Id,
        layer: u32,
    ) -> Id {
        let compressed = self.multiply(normed, layer, "attn_q_a");
        let compressed = self.rms_norm(compressed, layer, "attn_q_a_norm.weight");
        if self.model.indexer_key(layer) > 0 {
            *chosen = self.choose_cells(indexer, normed, compressed, layer);
        }
        self.sparse_attention(inputs, normed, compressed, *chosen, layer)
    }

    pub(crate) fn indexer_inputs(&mut self) -> IndexerInputs {
        let (tokens, context) = (self.batch.tokens, self.context);
        let streams = context.streams_of(self.batch.sequences);
        let size = self.model.whole("attention.indexer.key_length").unwrap_or(0);
        let rows = self.graph.input(TensorType::I64, [tokens, 1, 1, 1]);
        let mask = self.graph.input(TensorType::F16, [context.cells_per_sequence, tokens / streams, 1, streams]);
        let rotation = self.graph.input(TensorType::F32, [size, size, 1, 1]);
        IndexerInputs { rows, mask, rotation }
    }

    /// The numbers of the cells that each token will see.
    fn choose_cells(&mut self, inputs: IndexerInputs, normed: Id, compressed: Id, layer: u32) -> Id {
        let tokens = self.batch.tokens;
        let size = self.model.indexer_key(layer);
        let heads = self.model.whole("attention.indexer.head_count").unwrap_or(1);
        let q = self.multiply(compressed, layer, "indexer.attn_q_b");
        let q = self.graph.reshape(q, [size, heads, tokens, 1]);
        let q = self.rope(q, NONE);
        let k = self.multiply(normed, layer, "indexer.attn_k");
        let (weight, bias) = (self.weight(layer, "indexer.k_norm.weight"), self.weight(layer, "indexer.k_norm.bias"));
        let k = self.norm_op(Op::Norm, k, weight, bias, Some(layer));
        let k = self.graph.reshape(k, [size, 1, tokens, 1]);
        let k = self.rope(k, NONE);
        let turns = self.model.architecture.graph != GraphKind::HyV4;
        let (q, k) = if turns {
            (self.graph.mul_mat(inputs.rotation, q), self.graph.mul_mat(inputs.rotation, k))
        } else {
            (q, k)
        };
        let cells = self.context.cells_per_sequence;
        let streams = self.context.streams;
        let place = self.placement.cache_place(layer);
        let kind = self.context.kind_k;
        let cache = self.cache(layer, INDEXER_CACHE, kind, [size, cells, streams, 1], place);
        self.store_rows(cache, k, inputs.rows);

        let weights = self.multiply(normed, layer, "indexer.proj");
        let row = kind.row_bytes(size);
        let keys = self.graph.view(cache, [size, 1, cells, streams], [row, row, row * cells], 0);
        let each = tokens / streams;
        let q =
            self.graph.view(q, [size, heads, each, streams], [size * 4, size * heads * 4, size * heads * each * 4], 0);
        let strides = [heads * 4, heads * each * 4, heads * each * 4];
        let weights = self.graph.view(weights, [heads, each, 1, streams], strides, 0);
        let weights = self.graph.scale(weights);
        let scores = self.graph.lightning_indexer(q, keys, weights, inputs.mask);
        let count = self.model.whole("attention.indexer.top_k").unwrap_or(1).min(cells);
        let best = self.graph.top_k(scores, count);
        self.graph.cont(best)
    }

    /// Latent attention whose mask leaves only the chosen cells.
    fn sparse_attention(&mut self, inputs: &AttentionInputs, normed: Id, compressed: Id, chosen: Id, layer: u32) -> Id {
        let tokens = self.batch.tokens;
        let heads = self.model.heads[layer as usize];
        let [head, ..] = self.model.latent_sizes(layer);
        let q = self.multiply(compressed, layer, "attn_q_b");
        let q = self.graph.reshape(q, [head, heads, tokens, 1]);
        let (compressed, k_rope) = self.compressed_keys(normed, layer);
        let [q, k, v] = self.absorb(layer, q, compressed, k_rope);
        for id in [q, v, k] {
            self.graph.expand(id);
        }
        let cache = inputs.full;
        self.store_k(layer, k, cache);
        let mask = self.mask_of_chosen(cache.mask, chosen, TensorType::F32);
        let v_b = self.needed(layer, "attn_v_b.weight");
        let attended = self.attend_compressed(layer, q, v, CacheInputs { mask, ..cache }, v_b);
        let gated = self.latent_gate(attended, normed, layer);
        self.multiply(gated, layer, "attn_output")
    }

    /// The mask with all but the chosen cells hidden; `kind` is that of the zeros that uncover them.
    pub(crate) fn mask_of_chosen(&mut self, mask: Id, chosen: Id, kind: TensorType) -> Id {
        let [cells, rows, _, streams] = self.graph.get(mask).ne;
        let element = self.graph.nb(mask, 0);
        let all = self.graph.like(Op::Fill, mask, &[]);
        let strides = [element, element * cells, element * cells * rows];
        let all = self.graph.view(all, [1, cells, rows, streams], strides, 0);
        let count = self.graph.ne(chosen, 0);
        let strides = [count * 4, count * rows * 4, count * rows * streams * 4];
        let chosen = self.graph.view(chosen, [count, rows, streams, 1], strides, 0);
        let zeros = self.graph.push(kind, Op::None, [1, count, rows, streams], &[]);
        let zeros = self.graph.like(Op::Fill, zeros, &[]);
        let seen = self.graph.set_rows(all, zeros, chosen);
        let strides = [element * cells, element * cells * rows, element * cells * rows];
        let seen = self.graph.view(seen, [cells, rows, 1, streams], strides, 0);
        self.graph.add(seen, mask)
    }
}
