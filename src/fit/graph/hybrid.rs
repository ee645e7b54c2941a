//! Models whose layers mix state-space or convolution layers with attention (llama.cpp b11434 `src/models/granite-hybrid.cpp`,
//! `jamba.cpp`, `lfm2.cpp`, `falcon-h1.cpp`, `nemotron-h.cpp`).

use super::attention::AttentionInputs;
use super::builder::Builder;
use super::recurrent::{StateInputs, StatePart};
use super::tensor::{Id, Op};
use crate::gguf::TensorType;

impl Builder<'_> {
    /// A mixer, then feed-forward: Granite, Jamba, LFM2.
    pub(crate) fn hybrid(&mut self) {
        let mut current = self.input_embedding(false);
        let states = self.state_inputs();
        let inputs = self.attention_inputs();
        let residual_first = self.model.architecture.style.residual_first;
        for layer in self.layers.clone() {
            let normed = self.layer_norm(current, layer, "attn_norm");
            let mut mixed = self.mixer(&inputs, states, normed, layer);
            let mut residual = current;
            if self.is_last(layer) {
                mixed = self.output_rows_of(mixed);
                residual = self.output_rows_of(residual);
            }
            let mixed = self.scale_residual(mixed);
            let middle = if residual_first { self.graph.add(residual, mixed) } else { self.graph.add(mixed, residual) };
            let normed = self.layer_norm(middle, layer, "ffn_norm");
            let fed = self.feed_forward_or_experts(normed, layer);
            let fed = self.scale_residual(fed);
            current = if residual_first { self.graph.add(middle, fed) } else { self.graph.add(fed, middle) };
            self.end_layer(current);
        }
        self.finish(current, Op::RmsNorm);
    }

    fn mixer(&mut self, inputs: &AttentionInputs, states: StateInputs, normed: Id, layer: u32) -> Id {
        if !self.model.recurrent[layer as usize] {
            self.self_attention(inputs, normed, layer)
        } else if self.has(layer, "shortconv.conv.weight") {
            self.short_convolution(states, normed, layer)
        } else if self.is_mamba2(layer) {
            self.mamba2_layer(states, normed, layer)
        } else {
            self.mamba1_layer(states, normed, layer)
        }
    }

    /// Every layer attends and has a state, side by side (Falcon-H1).
    pub(crate) fn falcon_h1(&mut self) {
        let mut current = self.input_embedding(false);
        let states = self.state_inputs();
        let inputs = self.attention_inputs();
        for layer in self.layers.clone() {
            let normed = self.layer_norm(current, layer, "attn_norm");
            let attended = self.self_attention(&inputs, normed, layer);
            // The norm is computed once more, not shared.
            let normed = self.layer_norm(current, layer, "attn_norm");
            let mixed = self.mamba2_layer(states, normed, layer);
            let both = self.graph.add(attended, mixed);
            let mut middle = self.graph.add(both, current);
            if self.is_last(layer) {
                middle = self.output_rows_of(middle);
            }
            // llama.cpp asks for this norm's weight without `.weight`.
            let weight = self.weight(layer, "ffn_norm").or_else(|| self.weight(layer, "ffn_norm.weight"));
            let normed = self.norm_op(Op::RmsNorm, middle, weight, None, Some(layer));
            let fed = self.feed_forward_or_experts(normed, layer);
            current = self.graph.add(fed, middle);
            self.end_layer(current);
        }
        self.finish(current, Op::RmsNorm);
    }

    /// A layer is a state-space layer, attention, or feed-forward, never two of them (Nemotron-H).
    pub(crate) fn nemotron_h(&mut self) {
        let mut current = self.input_embedding(false);
        let states = self.state_inputs();
        let inputs = self.attention_inputs();
        for layer in self.layers.clone() {
            let normed = self.layer_norm(current, layer, "attn_norm");
            let mixed = if self.model.recurrent[layer as usize] {
                self.mamba2_layer(states, normed, layer)
            } else if self.model.kv_heads[layer as usize] > 0 {
                self.self_attention(&inputs, normed, layer)
            } else {
                self.latent_experts(normed, layer)
            };
            current = self.graph.add(mixed, current);
            self.end_layer(current);
        }
        self.finish_before_rows(current);
    }

    /// Feed-forward, or experts that may work in a narrower space than the model.
    fn latent_experts(&mut self, normed: Id, layer: u32) -> Id {
        if !self.has(layer, "ffn_gate_inp.weight") {
            return self.feed_forward_or_experts(normed, layer);
        }
        let narrow = self.multiply(normed, layer, "ffn_latent_down");
        let logits = self.multiply(normed, layer, "ffn_gate_inp");
        let routed = self.experts(narrow, layer, Some(logits));
        let routed = self.multiply(routed, layer, "ffn_latent_up");
        let shared = self.shared_expert(normed, layer);
        self.graph.add(routed, shared)
    }

    /// A gated convolution over the last few tokens (LFM2).
    fn short_convolution(&mut self, inputs: StateInputs, current: Id, layer: u32) -> Id {
        let sequences = self.batch.sequences;
        let tokens = self.batch.tokens / sequences;
        let width = self.graph.ne(current, 0);
        let columns = self.model.whole("shortconv.l_cache").unwrap_or(1).saturating_sub(1);
        let current = self.graph.reshape(current, [width, tokens, sequences, 1]);
        let joined = self.multiply(current, layer, "shortconv.in_proj");
        let row = *self.graph.get(joined);
        let chunk = row.ne[0] / 3;
        let mut part =
            |at: u64| self.graph.view_3d(joined, [chunk, row.ne[1], row.ne[2]], [row.nb[1], row.nb[2]], at * chunk * 4);
        let (b, c, x) = (part(0), part(1), part(2));
        let gated = self.graph.mul(b, x);
        let turned = self.graph.transpose(gated);
        let kept = self.read_state(inputs, layer, StatePart::R);
        let kept = self.graph.reshape(kept, [columns, self.model.embedding, sequences, 1]);
        let all = self.graph.concat(kept, turned, 0);
        let tensor = *self.graph.get(all);
        let state = self.state(layer, StatePart::R);
        let written = (1 + self.context.state_snapshots).min(tokens);
        for slot in 0..written {
            let last = self.graph.view_3d(
                all,
                [columns, tensor.ne[1], tensor.ne[2]],
                [tensor.nb[1], tensor.nb[2]],
                (tensor.ne[0] - columns - slot) * 4,
            );
            let flat = columns * self.model.embedding;
            let into = self.graph.view_2d(state, flat, sequences, flat * 4, 0);
            let stored = self.graph.copy_into(last, into);
            self.graph.expand(stored);
        }
        let kernel = self.needed(layer, "shortconv.conv.weight");
        let ne = [self.graph.ne(kernel, 1), tensor.ne[0] - self.graph.ne(kernel, 0) + 1, tensor.ne[2], 1];
        let convolved = self.graph.push(TensorType::F32, Op::SsmConv, ne, &[all, kernel]);
        let y = self.graph.mul(c, convolved);
        let y = self.multiply(y, layer, "shortconv.out_proj");
        let width = self.graph.ne(y, 0);
        self.graph.reshape(y, [width, tokens * sequences, 1, 1])
    }
}
