//! Gemma 4: layers whose cache is an earlier layer's, heads of two sizes, inputs of every layer
//! (llama.cpp b11434 `src/models/gemma4.cpp`).

use super::attention::{Attention, AttentionInputs};
use super::builder::{Activation, Builder};
use super::tensor::{Id, NONE, Op};

impl Builder<'_> {
    pub(crate) fn gemma4(&mut self) {
        let mut current = self.input_embedding(true);
        let inputs = self.attention_inputs();
        let layer_inputs = self.per_layer_inputs(current);
        for layer in self.layers.clone() {
            let normed = self.layer_norm(current, layer, "attn_norm");
            let factors = if self.model.windowed[layer as usize] { NONE } else { self.rope_factors(layer) };
            let attended = self.attention_with_shared_cache(&inputs, normed, layer, factors);
            let attended = self.layer_norm(attended, layer, "post_attention_norm");
            let middle = self.graph.add(attended, current);
            let fed = self.gemma4_feed_forward(middle, layer);
            let weight = self.weight(layer, "post_ffw_norm.weight");
            let fed = self.norm_op(Op::RmsNorm, fed, weight, None, None);
            current = self.graph.add(fed, middle);
            if let Some(layer_inputs) = layer_inputs {
                let own = self.gated_layer_input(current, layer_inputs, layer);
                current = self.graph.add(current, own);
            }
            if let Some(scale) = self.weight(layer, "layer_output_scale.weight") {
                current = self.graph.mul(current, scale);
            }
            self.end_layer(current);
        }
        let weight = self.global("output_norm.weight");
        let normed = self.norm_op(Op::RmsNorm, current, weight, None, None);
        self.graph.get_mut(normed).is_output = true;
        let rows = self.output_rows_of(normed);
        self.finish_normed(rows);
    }

    /// Attention with normed heads; layers without a cache of their own have queries only.
    pub(crate) fn attention_with_shared_cache(
        &mut self,
        inputs: &AttentionInputs,
        normed: Id,
        layer: u32,
        factors: Id,
    ) -> Id {
        let tokens = self.batch.tokens;
        let (heads, kv_heads) = (self.model.heads[layer as usize], self.model.kv_heads[layer as usize]);
        let head = self.model.head_k_at(layer);
        let joined = self.has(layer, "attn_qkv.weight").then(|| self.multiply(normed, layer, "attn_qkv"));
        let part = |builder: &mut Self, at: u64, count: u64| {
            joined.map(|joined| {
                let row = builder.graph.nb(joined, 1);
                let view = builder.graph.view_2d(joined, head * count, tokens, row, at * head * 4);
                builder.graph.cont(view)
            })
        };
        let q = part(self, 0, heads).unwrap_or_else(|| self.multiply(normed, layer, "attn_q"));
        let q = self.graph.reshape(q, [head, heads, tokens, 1]);
        let q = self.layer_norm(q, layer, "attn_q_norm");
        let q = self.rope(q, factors);
        if let Some(owner) = self.model.cache_owner(layer) {
            let how = Attention { reuses_layer: Some(owner), ..Attention::PLAIN };
            return self.attend(inputs, layer, q, NONE, NONE, how);
        }
        let k = part(self, heads, kv_heads).unwrap_or_else(|| self.multiply(normed, layer, "attn_k"));
        let v = part(self, heads + kv_heads, kv_heads).unwrap_or_else(|| {
            if self.has(layer, "attn_v.weight") { self.multiply(normed, layer, "attn_v") } else { k }
        });
        let k = self.graph.reshape(k, [head, kv_heads, tokens, 1]);
        let v = self.graph.reshape(v, [head, kv_heads, tokens, 1]);
        let k = self.layer_norm(k, layer, "attn_k_norm");
        let v = self.graph.rms_norm(v);
        let k = self.rope(k, factors);
        self.attend(inputs, layer, q, k, v, Attention::PLAIN)
    }

    /// A dense block; with experts, both beside each other, each between norms of its own.
    fn gemma4_feed_forward(&mut self, input: Id, layer: u32) -> Id {
        let normed = self.layer_norm(input, layer, "ffn_norm");
        let dense = self.feed_forward(normed, layer, "", Activation::Gated);
        if !self.has(layer, "ffn_gate_inp.weight") {
            return dense;
        }
        let dense = self.rms_norm(dense, layer, "post_ffw_norm_1.weight");
        let normed = self.rms_norm(input, layer, "pre_ffw_norm_2.weight");
        let routed = self.graph.rms_norm(input);
        let mut routed = self.graph.scale(routed);
        if let Some(scale) = self.weight(layer, "ffn_gate_inp.scale") {
            routed = self.graph.mul(routed, scale);
        }
        let weight = self.needed(layer, "ffn_gate_inp.weight");
        let logits = self.graph.mul_mat(weight, routed);
        let experts = self.experts(normed, layer, Some(logits));
        let experts = self.rms_norm(experts, layer, "post_ffw_norm_2.weight");
        self.graph.add(dense, experts)
    }
}
