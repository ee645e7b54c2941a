//! Layers of state-space models and of attention in turn (llama.cpp b11434 `src/models/granite-hybrid.cpp`).

use super::builder::Builder;
use super::tensor::Op;

impl Builder<'_> {
    pub(crate) fn granite_hybrid(&mut self) {
        let mut current = self.input_embedding(false);
        let states = self.state_inputs();
        let inputs = self.attention_inputs();
        for layer in self.layers.clone() {
            let normed = self.layer_norm(current, layer, "attn_norm");
            let mut mixed = if self.model.recurrent[layer as usize] {
                self.mamba2_layer(states, normed, layer)
            } else {
                self.self_attention(&inputs, normed, layer)
            };
            let mut residual = current;
            if self.is_last(layer) {
                mixed = self.output_rows_of(mixed);
                residual = self.output_rows_of(residual);
            }
            let mixed = self.scale_residual(mixed);
            let middle = self.graph.add(mixed, residual);
            let normed = self.layer_norm(middle, layer, "ffn_norm");
            let fed = self.feed_forward_or_experts(normed, layer);
            let fed = self.scale_residual(fed);
            current = self.graph.add(fed, middle);
            self.end_layer(current);
        }
        self.finish(current, Op::RmsNorm);
    }
}
