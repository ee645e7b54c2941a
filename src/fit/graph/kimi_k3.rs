//! Kimi K3: delta and latent attention in turn, over residuals that are mixed across layers, with experts in a narrower space
//! (llama.cpp b11434 `src/models/kimi-k3.cpp`).

use super::builder::Builder;
use super::tensor::{Id, NONE, Op};
use crate::gguf::TensorType;

impl Builder<'_> {
    pub(crate) fn kimi_k3(&mut self) {
        let mut current = self.input_embedding(false);
        let states = self.state_inputs();
        let inputs = self.latent_inputs();
        let every = self.model.whole("attn_res.block_size").unwrap_or(0);
        // What earlier layers banked, one after another.
        let mut banked = NONE;
        for layer in self.layers.clone() {
            let score = self.weight(layer, "attn_res_score.weight");
            let mixed = self.mix_residuals(banked, current, score.filter(|_| every > 0));
            let banks = every > 0 && u64::from(layer).is_multiple_of(every);
            if banks {
                let [width, tokens, ..] = self.graph.get(current).ne;
                let one = self.graph.reshape(current, [width, 1, tokens, 1]);
                banked = if banked == NONE { one } else { self.graph.concat(banked, one, 1) };
            }
            let normed = self.layer_norm(mixed, layer, "attn_norm");
            self.graph.expand(normed);
            let attended = if self.model.recurrent[layer as usize] {
                self.kimi_delta_layer(states, normed, layer)
            } else {
                self.latent_attention(&inputs, normed, layer)
            };
            let sum = if banks { attended } else { self.graph.add(current, attended) };
            let score = self.weight(layer, "ffn_res_score.weight");
            let mixed = self.mix_residuals(banked, sum, score.filter(|_| every > 0));
            let normed = self.layer_norm(mixed, layer, "ffn_norm");
            let fed = self.narrow_experts(normed, layer);
            current = self.graph.add(sum, fed);
            self.end_layer(current);
        }
        let score = self.global("output_res_score.weight");
        let mixed = self.mix_residuals(banked, current, score.filter(|_| every > 0));
        let rows = self.output_rows_of(mixed);
        self.finish(rows, Op::RmsNorm);
    }

    /// The banked residuals and the current one, weighted by how well each scores.
    fn mix_residuals(&mut self, banked: Id, current: Id, score: Option<Id>) -> Id {
        let Some(score) = score.filter(|_| banked != NONE) else { return current };
        let [width, count, tokens, _] = self.graph.get(banked).ne;
        let mut scored = |id: Id| {
            let normed = self.graph.rms_norm(id);
            let weighted = self.graph.mul(normed, score);
            self.graph.sum_rows(weighted)
        };
        let (old, new) = (scored(banked), scored(current));
        let old = self.graph.reshape(old, [count, tokens, 1, 1]);
        let scores = self.graph.concat(old, new, 0);
        let shares = self.graph.like(Op::SoftMax, scores, &[]);
        let row = self.graph.nb(shares, 1);
        let old = self.graph.view_2d(shares, count, tokens, row, 0);
        let old = self.graph.cont(old);
        let new = self.graph.view_2d(shares, 1, tokens, row, count * 4);
        let new = self.graph.cont(new);
        let mixed = self.graph.push(TensorType::F32, Op::MixStreams, [width, tokens, 1, 1], &[banked, old]);
        let weighted = self.graph.mul(current, new);
        self.graph.add(mixed, weighted)
    }

    /// Routed experts work in a narrower space, shared ones do not.
    fn narrow_experts(&mut self, normed: Id, layer: u32) -> Id {
        if !self.has(layer, "ffn_gate_inp.weight") {
            return self.feed_forward(normed, layer, "", self.model.architecture.style.activation);
        }
        let narrow = self.multiply(normed, layer, "ffn_routed_down");
        let logits = self.multiply(normed, layer, "ffn_gate_inp");
        let mut routed = self.experts(narrow, layer, Some(logits));
        if self.has(layer, "ffn_routed_norm.weight") {
            routed = self.rms_norm(routed, layer, "ffn_routed_norm.weight");
        }
        let routed = self.multiply(routed, layer, "ffn_routed_up");
        if !self.has(layer, "ffn_up_shexp.weight") {
            return routed;
        }
        let shared = self.shared_expert(normed, layer);
        self.graph.add(routed, shared)
    }
}
