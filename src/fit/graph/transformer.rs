//! The decoder that most models are: norm, attention, residual, norm, feed-forward or experts, residual
//! (llama.cpp b11434 `src/models/llama.cpp` and its many siblings).

use super::attention::{Attention, AttentionInputs};
use super::builder::Builder;
use super::tensor::Id;

impl Builder<'_> {
    pub(crate) fn transformer(&mut self) {
        let style = self.model.architecture.style;
        let mut current = self.input_embedding(style.scales_embedding);
        self.input_positions();
        let inputs = self.attention_inputs();
        for layer in 0..self.model.layers() {
            current = self.transformer_layer(&inputs, current, layer);
        }
        self.finish(current, style.norm.op());
    }

    fn transformer_layer(&mut self, inputs: &AttentionInputs, input: Id, layer: u32) -> Id {
        let style = self.model.architecture.style;
        let normed = self.layer_norm(input, layer, "attn_norm");
        let factors = self.rope_factors(layer);
        let (mut q, mut k, v) = self.queries_keys_values(normed, layer);
        q = self.head_norm(q, layer, "attn_q_norm");
        q = self.rope(q, factors);
        k = self.head_norm(k, layer, "attn_k_norm");
        k = self.rope(k, factors);
        if style.scales_query {
            q = self.graph.scale(q);
        }
        let mut attended = self.attend(inputs, layer, q, k, v, Attention::PLAIN);
        let mut residual = input;
        if self.is_last(layer) {
            attended = self.output_rows_of(attended);
            residual = self.output_rows_of(residual);
        }
        if self.has(layer, "post_attention_norm.weight") {
            attended = self.layer_norm(attended, layer, "post_attention_norm");
        }
        let middle = self.graph.add(attended, residual);
        let normed = self.layer_norm(middle, layer, "ffn_norm");
        let mut fed = self.feed_forward(normed, layer, "", style.activation);
        if self.has(layer, "post_ffw_norm.weight") {
            let weight = self.weight(layer, "post_ffw_norm.weight");
            fed = self.norm_op(style.norm.op(), fed, weight, None, None);
        }
        if style.residual_first { self.graph.add(middle, fed) } else { self.graph.add(fed, middle) }
    }

    /// Norms each head of Q or K where the model has weights for it.
    pub(crate) fn head_norm(&mut self, current: Id, layer: u32, name: &str) -> Id {
        if self.has(layer, &format!("{name}.weight")) { self.layer_norm(current, layer, name) } else { current }
    }
}
