//! Latent attention: one compressed row of each token for all heads (llama.cpp b11434 `src/models/deepseek2.cpp`).

use super::attention::{Attention, AttentionInputs, CacheInputs};
use super::builder::Builder;
use super::tensor::{Id, NONE, Op};
use crate::fit::architecture::{AttentionGate, Rope};
use crate::fit::model::Model;
use crate::gguf::TensorType;

impl Model {
    /// Elements of a head's K and V as they are decompressed, and of the compressed row.
    pub(crate) fn latent_sizes(&self, layer: u32) -> [u64; 3] {
        let windowed = self.windowed[layer as usize];
        let size = |key: &str| {
            let of_window = self.whole(&format!("attention.{key}_swa")).filter(|_| windowed);
            of_window.or_else(|| self.whole(&format!("attention.{key}"))).filter(|size| *size > 0)
        };
        [
            size("key_length_mla").unwrap_or(self.head_k),
            size("value_length_mla").unwrap_or(self.head_v),
            size("kv_lora_rank").unwrap_or(0),
        ]
    }
}

impl Builder<'_> {
    pub(crate) fn deepseek2(&mut self) {
        let mut current = self.input_embedding(false);
        let inputs = self.latent_inputs();
        for layer in self.layers.clone() {
            let normed = self.layer_norm(current, layer, "attn_norm");
            let mut attended = self.latent_attention(&inputs, normed, layer);
            let mut residual = current;
            if self.is_last(layer) {
                attended = self.output_rows_of(attended);
                residual = self.output_rows_of(residual);
            }
            attended = self.scale_residual(attended);
            let middle = self.graph.add(attended, residual);
            let normed = self.layer_norm(middle, layer, "ffn_norm");
            let fed = self.feed_forward_or_experts(normed, layer);
            let fed = self.scale_residual(fed);
            current = self.graph.add(fed, middle);
            self.end_layer(current);
        }
        self.finish(current, Op::RmsNorm);
    }

    /// Inputs of a cache that holds K only, or of a plain one for files without the absorbed weights.
    pub(crate) fn latent_inputs(&mut self) -> AttentionInputs {
        if !self.model.is_latent() {
            return self.attention_inputs();
        }
        let (tokens, context) = (self.batch.tokens, self.context);
        let cells = context.cells_per_sequence;
        let streams = context.streams_of(self.batch.sequences);
        let mask_kind = if context.flash_attention { TensorType::F16 } else { TensorType::F32 };
        let k_rows = self.graph.input(TensorType::I64, [tokens, 1, 1, 1]);
        let mask = self.graph.input(mask_kind, [cells, tokens / streams, 1, streams]);
        let full = CacheInputs { k_rows, v_rows: NONE, mask, k_rotation: NONE, v_rotation: NONE, cells };
        let window = (self.model.window > 0 && self.model.architecture.has_window_cache()).then(|| {
            let cells = context.window_cells;
            let k_rows = self.graph.input(TensorType::I64, [tokens, 1, 1, 1]);
            let mask = self.graph.input(mask_kind, [cells, tokens / streams, 1, streams]);
            CacheInputs { k_rows, mask, cells, ..full }
        });
        AttentionInputs { full, window, cached: true }
    }

    pub(crate) fn latent_attention(&mut self, inputs: &AttentionInputs, normed: Id, layer: u32) -> Id {
        let tokens = self.batch.tokens;
        let heads = self.model.heads[layer as usize];
        let rope = self.model.whole("rope.dimension_count").unwrap_or(0);
        let [head, head_v, _] = self.model.latent_sizes(layer);
        let nope = head - rope.min(head);

        let q = if self.has(layer, "attn_q.weight") {
            self.multiply(normed, layer, "attn_q")
        } else {
            let compressed = self.multiply(normed, layer, "attn_q_a");
            let compressed = self.rms_norm(compressed, layer, "attn_q_a_norm.weight");
            self.multiply(compressed, layer, "attn_q_b")
        };
        let q = self.graph.reshape(q, [head, heads, tokens, 1]);
        let (compressed, k_rope) = self.compressed_keys(normed, layer);
        if self.model.is_latent() {
            let [q, k, v] = self.absorb(layer, q, compressed, k_rope);
            let q = self.sharpened(q);
            let v_b = self.needed(layer, "attn_v_b.weight");
            return self.attend_latent(inputs, layer, normed, [q, k, v], v_b);
        }
        let kv = self.multiply(compressed, layer, "attn_kv_b");
        let row = (nope + head_v) * 4;
        let k_nope = self.graph.view_3d(kv, [nope, heads, tokens], [row, row * heads], 0);
        let v = self.graph.view_3d(kv, [head_v, heads, tokens], [row, row * heads], nope * 4);
        let v = self.graph.cont(v);
        let q = self.rope_of(layer, q);
        let repeated = self.graph.repeat(k_rope, [rope, heads, tokens, 1]);
        let k = self.graph.concat(k_nope, repeated, 0);
        let q = self.sharpened(q);
        self.attend(inputs, layer, q, k, v, Attention::PLAIN)
    }

    /// Queries times a factor that grows with the position, where the file has one.
    fn sharpened(&mut self, q: Id) -> Id {
        if !self.has_temperature() {
            return q;
        }
        let scale = self.input_attention_scale();
        self.graph.mul(q, scale)
    }

    /// Positions, for architectures that give them.
    fn rope_of(&mut self, layer: u32, current: Id) -> Id {
        if !self.ropes(layer) {
            return current;
        }
        let plain = self.model.architecture.style.rope == Rope::WithoutFactors;
        let factors = if plain { NONE } else { self.rope_factors(layer) };
        self.rope(current, factors)
    }

    /// The compressed row of each token, and the part of K that has positions.
    pub(crate) fn compressed_keys(&mut self, normed: Id, layer: u32) -> (Id, Id) {
        let tokens = self.batch.tokens;
        let [.., rank] = self.model.latent_sizes(layer);
        let rope = self.model.whole("rope.dimension_count").unwrap_or(0);
        let joined = self.multiply(normed, layer, "attn_kv_a_mqa");
        let row = (rank + rope) * 4;
        let compressed = self.graph.view_2d(joined, rank, tokens, row, 0);
        let k_rope = self.graph.view_3d(joined, [rope, 1, tokens], [row, row], rank * 4);
        let k_rope = self.head_norm(k_rope, layer, "attn_k_norm");
        let k_rope = self.rope_of(layer, k_rope);
        (self.rms_norm(compressed, layer, "attn_kv_a_norm.weight"), k_rope)
    }

    /// Queries are brought into the compressed space, so that K and V stay compressed: Q, K and V.
    pub(crate) fn absorb(&mut self, layer: u32, q: Id, compressed: Id, k_rope: Id) -> [Id; 3] {
        let tokens = self.batch.tokens;
        let tensor = *self.graph.get(q);
        let heads = tensor.ne[1];
        let (rope, rank) = (self.graph.ne(k_rope, 0), self.graph.ne(compressed, 0));
        let nope = tensor.ne[0] - rope.min(tensor.ne[0]);
        let q_nope = self.graph.view_3d(q, [nope, heads, tokens], [tensor.nb[1], tensor.nb[2]], 0);
        let q_rope = self.graph.view_3d(q, [rope, heads, tokens], [tensor.nb[1], tensor.nb[2]], nope * 4);
        let q_rope = self.rope_of(layer, q_rope);
        let q_nope = self.graph.permute(q_nope, [0, 2, 1, 3]);
        let k_b = self.needed(layer, "attn_k_b.weight");
        let absorbed = self.graph.mul_mat(k_b, q_nope);
        let absorbed = self.graph.permute(absorbed, [0, 2, 1, 3]);
        let q = self.graph.concat(absorbed, q_rope, 0);
        let compressed = self.graph.reshape(compressed, [rank, 1, tokens, 1]);
        let k = self.graph.concat(compressed, k_rope, 0);
        [q, k, compressed]
    }

    /// Attention over one compressed row; V is a view of K.
    fn attend_latent(&mut self, inputs: &AttentionInputs, layer: u32, normed: Id, [q, k, v]: [Id; 3], v_b: Id) -> Id {
        let cache = inputs.of(self.model.windowed[layer as usize]);
        for id in [q, v, k] {
            self.graph.expand(id);
        }
        self.store_k(layer, k, cache);
        let current = self.attend_compressed(layer, q, v, cache, v_b);
        let gated = self.latent_gate(current, normed, layer);
        self.multiply(gated, layer, "attn_output")
    }

    /// The result of all heads times a gate, in architectures that have one.
    pub(crate) fn latent_gate(&mut self, attended: Id, normed: Id, layer: u32) -> Id {
        if self.model.architecture.style.attention_gate == AttentionGate::None || !self.has(layer, "attn_gate.weight") {
            return attended;
        }
        self.attention_times_gate(attended, normed, layer)
    }

    /// As above, with K stored, without gate and projection.
    pub(crate) fn attend_compressed(&mut self, layer: u32, q: Id, v: Id, cache: CacheInputs, v_b: Id) -> Id {
        let keys = self.keys(layer, cache.cells);
        let tensor = *self.graph.get(keys);
        let width = self.graph.ne(v, 0);
        let values = self.graph.view(
            keys,
            [width, tensor.ne[1], tensor.ne[2], tensor.ne[3]],
            [tensor.nb[1], tensor.nb[2], tensor.nb[3]],
            0,
        );
        let sinks = self.weight(layer, "attn_sinks.weight").unwrap_or(NONE);
        self.heads(layer, q, keys, values, cache.mask, sinks, Some(v_b))
    }
}
