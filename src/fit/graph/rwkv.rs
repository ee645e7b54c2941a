//! RWKV 6 and 7, and the models that put their time mixing before Qwen's feed-forward
//! (llama.cpp b11434 `src/models/rwkv6-base.cpp`, `rwkv7-base.cpp`, `rwkv6.cpp`, `rwkv7.cpp`, `rwkv6qwen2.cpp`, `arwkv7.cpp`).

use super::builder::Builder;
use super::recurrent::{StateInputs, StatePart};
use super::tensor::{Graph, Id, NONE, Op};
use crate::gguf::TensorType;

impl Builder<'_> {
    pub(crate) fn rwkv(&mut self) {
        let mut current = self.input_embedding(false);
        let [weight, bias] = ["token_embd_norm.weight", "token_embd_norm.bias"].map(|name| self.global(name));
        if weight.is_some() {
            current = self.norm_op(Op::Norm, current, weight, bias, Some(0));
        }
        let states = self.state_inputs();
        let mut first_values = NONE;
        for layer in self.layers.clone() {
            current = self.rwkv_layer(states, current, &mut first_values, layer);
            self.end_layer(current);
        }
        let op = self.norm_kind();
        self.finish(current, op);
    }

    fn rwkv_layer(&mut self, states: StateInputs, input: Id, first_values: &mut Id, layer: u32) -> Id {
        let sequences = self.batch.sequences;
        let (width, all_tokens) = (self.model.embedding, self.batch.tokens);
        let tokens = all_tokens / sequences;
        let mixes_channels = self.has(layer, "channel_mix_key.weight");
        let input = self.graph.reshape(input, [width, tokens, sequences, 1]);
        let kept = self.read_state(states, layer, StatePart::R);
        let shifts = self.model.token_shifts();
        let kept = self.graph.reshape(kept, [width, shifts, sequences, 1]);
        let nb = [self.graph.nb(kept, 1), self.graph.nb(kept, 2)];
        let (time_shift, channel_shift) = if mixes_channels {
            let first = self.graph.view_3d(kept, [width, 1, sequences], nb, 0);
            (first, self.graph.view_3d(kept, [width, 1, sequences], nb, width * 4))
        } else {
            (kept, NONE)
        };
        let normed = self.layer_norm(input, layer, "attn_norm");
        let previous = self.previous_tokens(time_shift, normed);
        let is_seventh = self.has(layer, "time_mix_w0.weight");
        let mixed = if is_seventh {
            self.rwkv7_time_mix(states, normed, previous, first_values, layer)
        } else {
            self.rwkv6_time_mix(states, normed, previous, layer)
        };
        if !mixes_channels {
            let last = self.last_token(normed);
            self.store_token_shift(last, layer);
            let mut middle = self.graph.add(mixed, input);
            middle = self.graph.reshape(middle, [width, all_tokens, 1, 1]);
            if self.is_last(layer) {
                middle = self.output_rows_of(middle);
            }
            let normed = self.layer_norm(middle, layer, "ffn_norm");
            let fed = self.feed_forward_or_experts(normed, layer);
            return self.graph.add(fed, middle);
        }
        let middle = self.graph.add(mixed, input);
        let channel_normed = self.layer_norm(middle, layer, "attn_norm_2");
        let previous = self.previous_tokens(channel_shift, channel_normed);
        let (last_time, last_channel) = (self.last_token(normed), self.last_token(channel_normed));
        let shift = self.graph.concat(last_time, last_channel, 1);
        self.store_token_shift(shift, layer);
        let mut parts = [middle, channel_normed, previous];
        for part in &mut parts {
            *part = self.graph.reshape(*part, [width, all_tokens, 1, 1]);
        }
        if self.is_last(layer) {
            parts = parts.map(|part| self.output_rows_of(part));
        }
        let [middle, normed, previous] = parts;
        let fed = self.channel_mix(normed, previous, layer);
        let sum = self.graph.add(fed, middle);
        let rescales = self.model.rescales_after(layer);
        if rescales { self.graph.scale(sum) } else { sum }
    }

    /// The tokens before each token: the kept one, then all but the last.
    fn previous_tokens(&mut self, shift: Id, normed: Id) -> Id {
        let tensor = *self.graph.get(normed);
        let [width, tokens, sequences, _] = tensor.ne;
        let earlier = self.graph.view_3d(normed, [width, tokens - 1, sequences], [tensor.nb[1], tensor.nb[2]], 0);
        self.graph.concat(shift, earlier, 1)
    }

    fn last_token(&mut self, normed: Id) -> Id {
        let tensor = *self.graph.get(normed);
        let [width, tokens, sequences, _] = tensor.ne;
        self.graph.view_3d(normed, [width, 1, sequences], [tensor.nb[1], tensor.nb[2]], (tokens - 1) * width * 4)
    }

    fn store_token_shift(&mut self, shift: Id, layer: u32) {
        let elements = self.model.state_width(StatePart::R) * self.batch.sequences;
        let from = self.graph.view_1d(shift, elements, 0);
        let state = self.state(layer, StatePart::R);
        let into = self.graph.view_1d(state, elements, 0);
        let stored = self.graph.copy_into(from, into);
        self.graph.expand(stored);
    }

    fn channel_mix(&mut self, current: Id, previous: Id, layer: u32) -> Id {
        let change = self.graph.sub(previous, current);
        let keys = self.lerp(change, current, layer, "channel_mix_lerp_k.weight");
        let gate = self.has(layer, "channel_mix_receptance.weight").then(|| {
            let rows = self.lerp(change, current, layer, "channel_mix_lerp_r.weight");
            let rows = self.multiply(rows, layer, "channel_mix_receptance");
            self.graph.like(Op::Sigmoid, rows, &[])
        });
        let keys = self.multiply(keys, layer, "channel_mix_key");
        let keys = self.graph.unary(keys);
        let keys = self.graph.like(Op::Sqr, keys, &[]);
        let values = self.multiply(keys, layer, "channel_mix_value");
        match gate {
            Some(gate) => self.graph.mul(gate, values),
            None => values,
        }
    }

    /// Between this token and the one before, by a learned share.
    fn lerp(&mut self, change: Id, current: Id, layer: u32, weight: &str) -> Id {
        let share = self.needed(layer, weight);
        let part = self.graph.mul(change, share);
        self.graph.add(part, current)
    }

    #[expect(clippy::many_single_char_names, reason = "the letters of the RWKV paper")]
    fn rwkv7_time_mix(
        &mut self,
        states: StateInputs,
        current: Id,
        previous: Id,
        first_values: &mut Id,
        layer: u32,
    ) -> Id {
        let [width, tokens, sequences, _] = self.graph.get(current).ne;
        let all_tokens = tokens * sequences;
        let head = self.model.wkv_head();
        let heads = width / head;
        let has_gate = self.has(layer, "time_mix_g1.weight") && self.has(layer, "time_mix_g2.weight");
        let shares = if has_gate { 6 } else { 5 };
        let change = self.graph.sub(previous, current);
        let repeated = self.graph.repeat(change, [width, tokens, sequences, shares]);
        let joined = self.lerp(repeated, current, layer, "time_mix_lerp_fused.weight");
        let row = self.graph.nb(joined, 1);
        let part =
            |graph: &mut Graph, at: u64| graph.view_2d(joined, width, all_tokens, row, at * width * all_tokens * 4);
        let [xr, xw, xk, xv, xa] = [0, 1, 2, 3, 4].map(|at| part(&mut self.graph, at));
        let xg = if has_gate { part(&mut self.graph, 5) } else { NONE };

        let r = self.multiply(xr, layer, "time_mix_receptance");
        let w = self.multiply(xw, layer, "time_mix_w1");
        let w = self.graph.unary(w);
        let w = self.multiply(w, layer, "time_mix_w2");
        let w = self.add_weight(w, layer, "time_mix_w0.weight");
        let w = self.graph.like(Op::Sigmoid, w, &[]);
        let w = self.graph.scale(w);
        let w = self.graph.unary(w);
        let k = self.multiply(xk, layer, "time_mix_key");
        let mut v = self.multiply(xv, layer, "time_mix_value");
        if *first_values == NONE {
            *first_values = v;
        } else {
            let change = self.graph.sub(*first_values, v);
            let share = self.multiply(xv, layer, "time_mix_v1");
            let share = self.multiply(share, layer, "time_mix_v2");
            let share = self.add_weight(share, layer, "time_mix_v0.weight");
            let share = self.graph.like(Op::Sigmoid, share, &[]);
            let residual = self.graph.mul(change, share);
            v = self.graph.add(v, residual);
        }
        let g = has_gate.then(|| {
            let g = self.multiply(xg, layer, "time_mix_g1");
            let g = self.graph.like(Op::Sigmoid, g, &[]);
            self.multiply(g, layer, "time_mix_g2")
        });
        let a = self.multiply(xa, layer, "time_mix_a1");
        let a = self.multiply(a, layer, "time_mix_a2");
        let a = self.add_weight(a, layer, "time_mix_a0.weight");
        let a = self.graph.like(Op::Sigmoid, a, &[]);

        let by_head = [head, heads, all_tokens, 1];
        let removed = self.needed(layer, "time_mix_k_k.weight");
        let removed = self.graph.mul(k, removed);
        let removed = self.graph.reshape(removed, by_head);
        let removed = self.graph.like(Op::L2Norm, removed, &[]);
        let ka = self.needed(layer, "time_mix_k_a.weight");
        let ka = self.graph.mul(k, ka);
        let scaled = self.graph.mul(a, ka);
        let change = self.graph.sub(scaled, ka);
        let k = self.graph.add(k, change);
        let [r, w, k, v, a] = [r, w, k, v, a].map(|id| self.graph.reshape(id, by_head));

        let state = self.read_state(states, layer, StatePart::S);
        let negative = self.graph.unary(removed);
        let added = self.graph.mul(removed, a);
        let output = self.wkv(&[r, w, k, v, negative, added, state], layer);
        let mut current = self.head_norms(output, layer);
        let keyed = self.graph.mul(k, r);
        let bonus = self.needed(layer, "time_mix_r_k.weight");
        let bonus = self.graph.reshape(bonus, [head, heads, 1, 1]);
        let keyed = self.graph.mul(keyed, bonus);
        let sums = self.graph.sum_rows(keyed);
        let bonus = self.graph.mul(v, sums);
        let bonus = self.graph.reshape(bonus, [width, all_tokens, 1, 1]);
        current = self.graph.add(current, bonus);
        if let Some(g) = g {
            current = self.graph.mul(current, g);
        }
        let current = self.multiply(current, layer, "time_mix_output");
        self.graph.reshape(current, [width, tokens, sequences, 1])
    }

    #[expect(clippy::many_single_char_names, reason = "the letters of the RWKV paper")]
    fn rwkv6_time_mix(&mut self, states: StateInputs, current: Id, previous: Id, layer: u32) -> Id {
        let [width, tokens, sequences, _] = self.graph.get(current).ne;
        let all_tokens = tokens * sequences;
        let head = self.model.wkv_head();
        let heads = width / head;
        let kv_heads = self.model.kv_heads[layer as usize];
        let is_linear = !self.has(layer, "time_mix_first.weight");

        let change = self.graph.sub(previous, current);
        let change = self.graph.reshape(change, [width, all_tokens, 1, 1]);
        let current = self.graph.reshape(current, [width, all_tokens, 1, 1]);
        let [xw, xk, xv, xr, xg] = self.rwkv6_shares(change, current, layer);

        let r = self.project(xr, layer, "time_mix_receptance");
        let mut k = self.project(xk, layer, "time_mix_key");
        let mut v = self.project(xv, layer, "time_mix_value");
        let g = self.multiply(xg, layer, "time_mix_gate");
        let g = if is_linear { self.graph.like(Op::Sigmoid, g, &[]) } else { self.graph.unary(g) };
        if kv_heads != 0 && kv_heads != heads {
            [k, v] = [k, v].map(|id| {
                let apart = self.graph.reshape(id, [head, 1, kv_heads, all_tokens]);
                self.graph.repeat(apart, [head, heads / kv_heads, kv_heads, all_tokens])
            });
        }
        let by_head = [head, heads, all_tokens, 1];
        let [mut k, v, r] = [k, v, r].map(|id| self.graph.reshape(id, by_head));
        let w = self.multiply(xw, layer, "time_mix_decay_w1");
        let w = self.graph.unary(w);
        let w = self.multiply(w, layer, "time_mix_decay_w2");
        let w = self.add_weight(w, layer, "time_mix_decay.weight");
        let w = self.graph.unary(w);
        let w = self.graph.unary(w);
        let w = self.graph.unary(w);
        let w = self.graph.reshape(w, by_head);
        if is_linear {
            let part = self.graph.mul(k, w);
            k = self.graph.sub(k, part);
        }
        let state = self.read_state(states, layer, StatePart::S);
        let output = if is_linear {
            self.wkv(&[k, v, r, w, state], layer)
        } else {
            let first = self.needed(layer, "time_mix_first.weight");
            self.wkv(&[k, v, r, first, w, state], layer)
        };
        let current = if is_linear {
            self.graph.reshape(output, [width, all_tokens, 1, 1])
        } else {
            self.head_norms(output, layer)
        };
        let current = self.graph.mul(current, g);
        let current = self.multiply(current, layer, "time_mix_output");
        self.graph.reshape(current, [width, tokens, sequences, 1])
    }

    /// What decay, keys, values, receptance and gate each see of this token and the one before.
    fn rwkv6_shares(&mut self, change: Id, current: Id, layer: u32) -> [Id; 5] {
        let (width, tokens) = (self.graph.ne(current, 0), self.graph.ne(current, 1));
        let mixed = self.lerp(change, current, layer, "time_mix_lerp_x.weight");
        let narrow = self.multiply(mixed, layer, "time_mix_w1");
        let narrow = self.graph.unary(narrow);
        let rank = self.graph.ne(narrow, 0) / 5;
        let narrow = self.graph.reshape(narrow, [rank, 1, 5, tokens]);
        let turned = self.graph.permute(narrow, [0, 1, 3, 2]);
        let turned = self.graph.cont(turned);
        let second = self.needed(layer, "time_mix_w2.weight");
        let [rank, wide, _, _] = self.graph.get(second).ne;
        let second = self.graph.reshape(second, [rank, wide, 1, 5]);
        let mut joined = self.graph.mul_mat(second, turned);
        let fused = self.weight(layer, "time_mix_lerp_fused.weight");
        if let Some(shares) = fused {
            let change = self.graph.reshape(change, [width, 1, tokens, 1]);
            let current = self.graph.reshape(current, [width, 1, tokens, 1]);
            joined = self.graph.add(joined, shares);
            joined = self.graph.mul(joined, change);
            joined = self.graph.add(joined, current);
        }
        let row = self.graph.nb(joined, 1);
        let mut parts =
            [0, 1, 2, 3, 4].map(|at| self.graph.view_2d(joined, width, tokens, row, at * width * tokens * 4));
        if fused.is_none() {
            for (part, name) in parts.iter_mut().zip(["w", "k", "v", "r", "g"]) {
                let share = self.add_weight(*part, layer, &format!("time_mix_lerp_{name}.weight"));
                let share = self.graph.mul(share, change);
                *part = self.graph.add(share, current);
            }
        }
        parts
    }

    /// The recurrence itself; stores the state that it leaves, and gives the tokens' part of its result.
    fn wkv(&mut self, sources: &[Id], layer: u32) -> Id {
        let (width, tokens, sequences) = (self.model.embedding, self.batch.tokens, self.batch.sequences);
        let head = self.model.wkv_head();
        let ne = [width, tokens + head * sequences, 1, 1];
        let result = self.graph.push(TensorType::F32, Op::Wkv, ne, sources);
        let output = self.graph.view_1d(result, width * tokens, 0);
        let elements = width * head * sequences;
        let last = self.graph.view_1d(result, elements, width * tokens * 4);
        let state = self.state(layer, StatePart::S);
        let into = self.graph.view_1d(state, elements, 0);
        let stored = self.graph.copy_into(last, into);
        self.graph.expand(stored);
        output
    }

    /// Each head is normed for itself, where the model has weights for it.
    fn head_norms(&mut self, output: Id, layer: u32) -> Id {
        let (width, tokens) = (self.model.embedding, self.batch.tokens);
        let flat = [width, tokens, 1, 1];
        if !(self.has(layer, "time_mix_ln.weight") && self.has(layer, "time_mix_ln.bias")) {
            return self.graph.reshape(output, flat);
        }
        let head = self.model.wkv_head();
        let by_head = self.graph.reshape(output, [head, width / head, tokens, 1]);
        let normed = self.graph.like(Op::Norm, by_head, &[]);
        let normed = self.graph.reshape(normed, flat);
        let weight = self.needed(layer, "time_mix_ln.weight");
        let normed = self.graph.mul(normed, weight);
        self.add_weight(normed, layer, "time_mix_ln.bias")
    }

    fn add_weight(&mut self, current: Id, layer: u32, name: &str) -> Id {
        match self.weight(layer, name) {
            Some(weight) => self.graph.add(current, weight),
            None => current,
        }
    }
}
