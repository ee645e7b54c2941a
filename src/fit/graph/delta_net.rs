//! Gated delta nets, and the hybrids that mix them with attention (llama.cpp b11434 `src/models/delta-net-base.cpp`, `qwen3next.cpp`,
//! `qwen35moe.cpp`).

use super::attention::{Attention, AttentionInputs};
use super::builder::Builder;
use super::recurrent::{StateInputs, StatePart};
use super::tensor::{Id, NONE, Op};
use crate::gguf::TensorType;

impl Builder<'_> {
    pub(crate) fn qwen3next(&mut self) {
        let mut current = self.input_embedding(false);
        let states = self.state_inputs();
        let inputs = self.attention_inputs();
        for layer in self.layers.clone() {
            let normed = self.layer_norm(current, layer, "attn_norm");
            self.graph.expand(normed);
            let mixed = if self.model.recurrent[layer as usize] {
                self.delta_net_layer(states, normed, layer)
            } else {
                self.gated_attention(&inputs, normed, layer)
            };
            let middle = self.graph.add(mixed, current);
            let normed = self.layer_norm(middle, layer, "post_attention_norm");
            let fed = self.feed_forward_or_experts(normed, layer);
            current = self.graph.add(fed, middle);
            self.end_layer(current);
        }
        self.finish_before_rows(current);
    }

    /// Attention whose queries bring a gate for the result.
    pub(crate) fn gated_attention(&mut self, inputs: &AttentionInputs, normed: Id, layer: u32) -> Id {
        let tokens = self.batch.tokens;
        let heads = self.model.heads[layer as usize];
        let kv_heads = self.model.kv_heads[layer as usize];
        let head = self.model.head_v_at(layer);
        let joined_first = self.model.architecture.style.reshapes_gate_first;
        let full = self.project(normed, layer, "attn_q");
        let k = self.project(normed, layer, "attn_k");
        let v = self.project(normed, layer, "attn_v");
        let full = if joined_first { self.graph.reshape(full, [head * 2, heads, tokens, 1]) } else { full };
        let nb = [head * 8, head * 8 * heads];
        let q = self.graph.view_3d(full, [head, heads, tokens], nb, 0);
        let gate = self.graph.view_3d(full, [head, heads, tokens], nb, head * 4);
        let k = self.graph.reshape(k, [head, kv_heads, tokens, 1]);
        let v = self.graph.reshape(v, [head, kv_heads, tokens, 1]);
        let q = self.layer_norm(q, layer, "attn_q_norm");
        let k = self.layer_norm(k, layer, "attn_k_norm");
        let q = self.rope(q, NONE);
        let k = self.rope(k, NONE);
        let attended = self.attend(inputs, layer, q, k, v, Attention { output: None, ..Attention::PLAIN });
        let gate = self.graph.cont_shaped(gate, [head * heads, tokens, 1, 1]);
        let gate = self.graph.like(Op::Sigmoid, gate, &[]);
        let gated = self.graph.mul(attended, gate);
        self.project(gated, layer, "attn_output")
    }

    fn delta_net_layer(&mut self, inputs: StateInputs, current: Id, layer: u32) -> Id {
        let sizes = self.state_space();
        let sequences = self.batch.sequences;
        let tokens = self.batch.tokens / sequences;
        let (head_k, k_heads, v_heads) = (sizes.state, sizes.groups.max(1), sizes.rank.max(1));
        let head_v = sizes.inner / v_heads;
        let (mixed, z) = self.delta_projections(current, layer);
        let (gate, beta) = self.delta_gates(current, layer);
        let channels = sizes.inner + 2 * sizes.groups * sizes.state;

        let kept = self.read_state(inputs, layer, StatePart::R);
        let kept = self.graph.reshape(kept, [sizes.convolution - 1, channels, sequences, 1]);
        let turned = self.graph.transpose(mixed);
        let all = self.graph.concat(kept, turned, 0);
        self.store_columns(all, layer, channels, sizes.convolution - 1);
        let state = self.read_state(inputs, layer, StatePart::S);
        let state = self.graph.reshape(state, [head_v, head_v, v_heads, sequences]);
        let kernel = self.needed(layer, "ssm_conv1d.weight");
        let ne = [self.graph.ne(kernel, 1), self.graph.ne(all, 0) - self.graph.ne(kernel, 0) + 1, sequences, 1];
        let convolved = self.graph.push(TensorType::F32, Op::SsmConv, ne, &[all, kernel]);
        let convolved = self.graph.unary(convolved);
        let row = (head_k * k_heads * 2 + head_v * v_heads) * 4;
        let nb = |head: u64| [head * 4, row, row * tokens];
        let q = self.graph.view(convolved, [head_k, k_heads, tokens, sequences], nb(head_k), 0);
        let k = self.graph.view(convolved, [head_k, k_heads, tokens, sequences], nb(head_k), head_k * k_heads * 4);
        let v = self.graph.view(convolved, [head_v, v_heads, tokens, sequences], nb(head_v), 2 * head_k * k_heads * 4);
        let mut q = self.unit_norm(q);
        let mut k = self.unit_norm(k);
        if k_heads != v_heads && self.model.architecture.style.repeats_delta_heads {
            q = self.repeat_heads(q, v_heads / k_heads);
            k = self.repeat_heads(k, v_heads / k_heads);
        }
        let output = self.delta_net([q, k, v, gate, beta, state], layer);
        let z = self.graph.reshape(z, [head_v, v_heads, tokens, sequences]);
        let normed = self.rms_norm(output, layer, "ssm_norm.weight");
        let silu = self.graph.unary(z);
        let gated = self.graph.mul(normed, silu);
        let flat = self.graph.reshape(gated, [head_v * v_heads, tokens, sequences, 1]);
        let result = self.multiply(flat, layer, "ssm_out");
        let width = self.graph.ne(result, 0);
        self.graph.reshape(result, [width, tokens * sequences, 1, 1])
    }

    /// Rows scaled to unit length.
    pub(crate) fn unit_norm(&mut self, id: Id) -> Id {
        if self.rules.norms_by_scaling {
            let normed = self.graph.rms_norm(id);
            self.graph.scale(normed)
        } else {
            self.graph.like(Op::L2Norm, id, &[])
        }
    }

    fn repeat_heads(&mut self, id: Id, times: u64) -> Id {
        let [head, heads, tokens, sequences] = self.graph.get(id).ne;
        let apart = self.graph.reshape(id, [head, 1, heads, tokens * sequences]);
        let repeated = self.graph.repeat(apart, [head, times, heads, tokens * sequences]);
        self.graph.reshape(repeated, [head, heads * times, tokens, sequences])
    }

    fn delta_projections(&mut self, current: Id, layer: u32) -> (Id, Id) {
        let sequences = self.batch.sequences;
        let tokens = self.batch.tokens / sequences;
        if self.has(layer, "attn_qkv.weight") {
            let mixed = self.multiply(current, layer, "attn_qkv");
            let width = self.graph.ne(mixed, 0);
            let mixed = self.graph.reshape(mixed, [width, tokens, sequences, 1]);
            let z = self.multiply(current, layer, "attn_gate");
            return (mixed, z);
        }
        let sizes = self.state_space();
        let (head_k, k_heads, v_heads) = (sizes.state, sizes.groups.max(1), sizes.rank.max(1));
        let value = sizes.inner / v_heads * v_heads / k_heads;
        let joined = self.multiply(current, layer, "ssm_in");
        let joined = self.graph.reshape(joined, [2 * head_k + 2 * value, k_heads, tokens, sequences]);
        let tensor = *self.graph.get(joined);
        let nb = [tensor.nb[1], tensor.nb[2], tensor.nb[3]];
        let mut part =
            |size: u64, offset: u64| self.graph.view(joined, [size, k_heads, tokens, sequences], nb, offset * 4);
        let (q, k) = (part(head_k, 0), part(head_k, head_k));
        let (v, z) = (part(value, 2 * head_k), part(value, 2 * head_k + value));
        let z = self.graph.cont(z);
        let q = self.graph.cont_shaped(q, [head_k * k_heads, tokens, sequences, 1]);
        let k = self.graph.cont_shaped(k, [head_k * k_heads, tokens, sequences, 1]);
        let v = self.graph.cont_shaped(v, [value * k_heads, tokens, sequences, 1]);
        let mixed = self.graph.concat(q, k, 0);
        (self.graph.concat(mixed, v, 0), z)
    }

    /// Decay and learning rate of each head.
    fn delta_gates(&mut self, current: Id, layer: u32) -> (Id, Id) {
        let sequences = self.batch.sequences;
        let tokens = self.batch.tokens / sequences;
        let sizes = self.state_space();
        let (k_heads, v_heads) = (sizes.groups.max(1), sizes.rank.max(1));
        let (beta, alpha) = if self.has(layer, "ssm_ba.weight") {
            let joined = self.multiply(current, layer, "ssm_ba");
            let each = v_heads / k_heads;
            let joined = self.graph.reshape(joined, [2 * each, k_heads, tokens, sequences]);
            let tensor = *self.graph.get(joined);
            let nb = [tensor.nb[1], tensor.nb[2], tensor.nb[3]];
            let b = self.graph.view(joined, [each, k_heads, tokens, sequences], nb, 0);
            let a = self.graph.view(joined, [each, k_heads, tokens, sequences], nb, each * 4);
            let b = self.graph.cont(b);
            let beta = self.graph.like(Op::Sigmoid, b, &[]);
            (beta, self.graph.cont_shaped(a, [v_heads, tokens, sequences, 1]))
        } else {
            let beta = self.multiply(current, layer, "ssm_beta");
            let beta = self.graph.reshape(beta, [1, v_heads, tokens, sequences]);
            let beta = self.graph.like(Op::Sigmoid, beta, &[]);
            let alpha = self.multiply(current, layer, "ssm_alpha");
            (beta, self.graph.reshape(alpha, [v_heads, tokens, sequences, 1]))
        };
        let bias = self.needed(layer, if self.has(layer, "ssm_dt.bias") { "ssm_dt.bias" } else { "ssm_dt" });
        let biased = self.graph.add(alpha, bias);
        let soft = self.graph.like(Op::Softplus, biased, &[]);
        let a = self.needed(layer, "ssm_a");
        let gate = self.graph.mul(soft, a);
        let beta = self.graph.reshape(beta, [1, v_heads, tokens, sequences]);
        (self.graph.reshape(gate, [1, v_heads, tokens, sequences]), beta)
    }

    /// Keeps the last columns for the next batch, one snapshot for each token that may be undone.
    pub(crate) fn store_columns(&mut self, all: Id, layer: u32, channels: u64, columns: u64) {
        let sequences = self.batch.sequences;
        let state = self.state(layer, StatePart::R);
        let tensor = *self.graph.get(all);
        let snapshots = 1 + self.context.state_snapshots;
        for snapshot in 1..=snapshots {
            let first = (tensor.ne[0] + snapshot).saturating_sub(columns + snapshots);
            let last = self.graph.view_3d(all, [columns, channels, sequences], [tensor.nb[1], tensor.nb[2]], first * 4);
            let into = self.graph.view_2d(state, columns * channels, sequences, columns * channels * 4, 0);
            let stored = self.graph.copy_into(last, into);
            self.graph.expand(stored);
        }
    }

    /// The fused op, and the state that it leaves.
    pub(crate) fn delta_net(&mut self, sources: [Id; 6], layer: u32) -> Id {
        let v = sources[2];
        let [head, heads, tokens, sequences] = self.graph.get(v).ne;
        let snapshots = 1 + self.context.state_snapshots;
        let ne = [head * heads, tokens * sequences + snapshots * head * sequences, 1, 1];
        let result = self.graph.push(TensorType::F32, Op::GatedDeltaNet, ne, &sources);
        let output = self.graph.view(
            result,
            [head, heads, tokens, sequences],
            [head * 4, head * heads * 4, head * heads * tokens * 4],
            0,
        );
        let width = head * head * heads;
        let offset = head * heads * tokens * sequences * 4;
        let all_states = self.state(layer, StatePart::S);
        let (from, into) = if self.context.state_snapshots == 0 {
            let from =
                self.graph.view(result, [head, head, heads, sequences], [head * 4, head * head * 4, width * 4], offset);
            (from, self.graph.view_2d(all_states, width, sequences, width * 4, 0))
        } else {
            let written = snapshots.min(tokens);
            let nb = [width * 4, width * 4 * sequences];
            let from = self.graph.view_3d(result, [width, sequences, written], nb, offset);
            (from, self.graph.view_3d(all_states, [width, sequences, written], nb, 0))
        };
        let stored = self.graph.copy_into(from, into);
        self.graph.expand(stored);
        output
    }
}
