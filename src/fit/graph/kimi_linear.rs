//! Kimi's delta attention, in turn with latent attention (llama.cpp b11434 `src/models/kimi-linear.cpp`).

use super::builder::Builder;
use super::recurrent::{StateInputs, StatePart};
use super::tensor::{Id, NONE, Op};
use crate::fit::architecture::GraphKind;
use crate::gguf::TensorType;

impl Builder<'_> {
    pub(crate) fn kimi_linear(&mut self) {
        let mut current = self.input_embedding(false);
        let states = self.state_inputs();
        let inputs = self.latent_inputs();
        // Ling 3 keeps all rows for its layer that predicts further tokens.
        let drafts = self.model.architecture.graph == GraphKind::Bailingmoe3;
        for layer in self.layers.clone() {
            let normed = self.layer_norm(current, layer, "attn_norm");
            if !drafts {
                self.graph.expand(normed);
            }
            let mixed = if self.model.recurrent[layer as usize] {
                self.kimi_delta_layer(states, normed, layer)
            } else {
                self.latent_attention(&inputs, normed, layer)
            };
            let ends = self.is_last(layer) && !drafts;
            current = self.end_block(mixed, current, layer, ends);
        }
        if drafts {
            self.finish_before_rows(current);
        } else {
            self.finish(current, Op::RmsNorm);
        }
    }

    /// A delta net whose decay differs by channel, with a convolution of its own for Q, K and V.
    pub(crate) fn kimi_delta_layer(&mut self, inputs: StateInputs, current: Id, layer: u32) -> Id {
        let sequences = self.batch.sequences;
        let all_tokens = self.batch.tokens;
        let tokens = all_tokens / sequences;
        let heads = self.model.heads[0];
        let head = self.model.whole("kda.head_dim").unwrap_or(0);
        let inner = heads * head;

        let kept = self.read_state(inputs, layer, StatePart::R);
        let projected = if self.has(layer, "attn_qkv.weight") {
            let joined = self.multiply(current, layer, "attn_qkv");
            let row = self.graph.nb(joined, 1);
            [0, 1, 2].map(|at| {
                let part = self.graph.view_2d(joined, inner, all_tokens, row, at * inner * 4);
                Some(self.graph.cont(part))
            })
        } else {
            [None; 3]
        };
        let mut convolved = [NONE; 3];
        for (at, name) in ["q", "k", "v"].into_iter().enumerate() {
            let x = match projected[at] {
                Some(x) => x,
                None => self.multiply(current, layer, &format!("attn_{name}")),
            };
            convolved[at] = self.kimi_convolution(kept, x, layer, at as u64, &format!("ssm_conv1d_{name}.weight"));
        }
        let [q, k, v] = convolved;

        let gate = self.kimi_decay(current, layer, heads, head);
        let gate = self.graph.reshape(gate, [head, heads, tokens, sequences]);
        let beta = self.multiply(current, layer, "ssm_beta");
        let beta = self.graph.reshape(beta, [1, heads, tokens, sequences]);
        let beta = self.graph.like(Op::Sigmoid, beta, &[]);

        let width = self.graph.ne(current, 0);
        let packs = matches!(self.model.architecture.graph, GraphKind::Bailingmoe3 | GraphKind::Glm5Next);
        let apart = if packs { current } else { self.graph.reshape(current, [width, tokens, sequences, 1]) };
        let state = self.read_state(inputs, layer, StatePart::S);
        let state = self.graph.reshape(state, [head, head, heads, sequences]);
        let q = self.unit_norm(q);
        let k = self.unit_norm(k);
        let attended = self.delta_net([q, k, v, gate, beta, state], layer);
        let output = self.graph.cont(attended);

        let current = if packs { current } else { self.graph.reshape(apart, [width, all_tokens, 1, 1]) };
        // One projection, or two with a narrow middle.
        let gate = if self.has(layer, "ssm_g.weight") {
            self.multiply(current, layer, "ssm_g")
        } else {
            let narrow = self.multiply(current, layer, "ssm_g_a");
            self.multiply(narrow, layer, "ssm_g_b")
        };
        let gate = self.graph.reshape(gate, [head, heads, all_tokens, 1]);
        let output = self.graph.reshape(output, [head, heads, all_tokens, 1]);
        let normed = self.rms_norm(output, layer, "ssm_norm.weight");
        let gate = self.graph.like(Op::Sigmoid, gate, &[]);
        let gated = self.graph.mul(normed, gate);
        let gated = self.graph.cont_shaped(gated, [inner, all_tokens, 1, 1]);
        self.multiply(gated, layer, "attn_output")
    }

    /// How fast each channel forgets: without bound, or between 0 and `kda.gate_lower_bound`.
    fn kimi_decay(&mut self, current: Id, layer: u32, heads: u64, head: u64) -> Id {
        let tokens = self.batch.tokens;
        let narrow = self.multiply(current, layer, "ssm_f_a");
        let gate = self.multiply(narrow, layer, "ssm_f_b");
        let bias = self.needed(layer, "ssm_dt.bias");
        let mut gate = self.graph.add(gate, bias);
        let graph = self.model.architecture.graph;
        let bounded = graph != GraphKind::KimiLinear && self.model.number("kda.gate_lower_bound").is_some();
        if !bounded {
            gate = self.graph.like(Op::Softplus, gate, &[]);
        }
        gate = self.graph.reshape(gate, [head, heads, tokens, 1]);
        let decay = self.needed(layer, "ssm_a");
        let decay = self.graph.reshape(decay, [1, heads, 1, 1]);
        gate = self.graph.mul(gate, decay);
        if !bounded {
            return gate;
        }
        if matches!(graph, GraphKind::KimiK3 | GraphKind::Glm5Next) {
            gate = self.graph.scale(gate);
        }
        gate = self.graph.like(Op::Sigmoid, gate, &[]);
        self.graph.scale(gate)
    }

    /// One of the three convolutions: its columns are a part of the layer's state.
    fn kimi_convolution(&mut self, kept: Id, x: Id, layer: u32, part: u64, kernel: &str) -> Id {
        let sequences = self.batch.sequences;
        let tokens = self.batch.tokens / sequences;
        let heads = self.model.heads[0];
        let head = self.model.whole("kda.head_dim").unwrap_or(0);
        let inner = heads * head;
        let columns = self.model.whole("ssm.conv_kernel").unwrap_or(1).saturating_sub(1);
        let size = columns * inner;
        let strides = [columns * 4, 3 * size * 4];
        let kept = self.graph.view_3d(kept, [columns, inner, sequences], strides, part * size * 4);
        let x = self.graph.reshape(x, [inner, tokens, sequences, 1]);
        let turned = self.graph.transpose(x);
        let all = self.graph.concat(kept, turned, 0);
        let tensor = *self.graph.get(all);
        let last =
            self.graph.view_3d(all, [columns, inner, sequences], [tensor.nb[1], tensor.nb[2]], tokens * tensor.nb[0]);
        let state = self.state(layer, StatePart::R);
        let into = self.graph.view_3d(state, [columns, inner, sequences], strides, part * size * 4);
        let stored = self.graph.copy_into(last, into);
        self.graph.expand(stored);
        let kernel = self.needed(layer, kernel);
        let kernel = self.graph.reshape(kernel, [columns + 1, inner, 1, 1]);
        let ne = [inner, tensor.ne[0] - columns, tensor.ne[2], 1];
        let convolved = self.graph.push(TensorType::F32, Op::SsmConv, ne, &[all, kernel]);
        let flat = self.graph.reshape(convolved, [inner, self.batch.tokens, 1, 1]);
        let silu = self.graph.unary(flat);
        self.graph.reshape(silu, [head, heads, tokens, sequences])
    }
}
