//! Recurrent state: reading and writing it, and the Mamba layers (llama.cpp b11434 `src/llama-graph.cpp:3587`, `src/models/mamba-base.cpp`).

use super::builder::Builder;
use super::tensor::{Id, Op};
use crate::gguf::TensorType;

/// The rows of the state that a graph reads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StateInputs {
    copy: Id,
    copy_main: Id,
    copy_tail: Id,
}

/// An op that reads states itself: it gets the states and the rows.
type ReadStates<'f, B> = &'f mut dyn FnMut(&mut B, Id, Id) -> Id;

/// Sizes of a state-space layer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StateSpace {
    pub(crate) convolution: u64,
    pub(crate) inner: u64,
    pub(crate) state: u64,
    pub(crate) rank: u64,
    pub(crate) groups: u64,
}

/// Which of a layer's two state tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StatePart {
    R,
    S,
}

impl Builder<'_> {
    pub(crate) fn state_space(&self) -> StateSpace {
        let number = |key| self.model.whole(key).unwrap_or(0);
        StateSpace {
            convolution: number("ssm.conv_kernel"),
            inner: number("ssm.inner_size"),
            state: number("ssm.state_size"),
            rank: number("ssm.time_step_rank"),
            groups: number("ssm.group_count"),
        }
    }

    pub(crate) fn state_inputs(&mut self) -> StateInputs {
        let rows = self.context.sequences;
        let sequences = self.batch.sequences;
        let copy = self.input_rows(rows);
        let copy_main = self.graph.view_1d(copy, sequences, 0);
        let copy_tail = if self.rules.gathers_all_states {
            self.graph.view_1d(copy, rows - 1, 4)
        } else {
            self.graph.view_1d(copy, rows - sequences, sequences * 4)
        };
        StateInputs { copy, copy_main, copy_tail }
    }

    /// A layer's state tensor, all sequences and snapshots.
    pub(crate) fn state(&mut self, layer: u32, part: StatePart) -> Id {
        let width = self.model.state_width(part);
        let rows = self.context.sequences * (1 + self.context.state_snapshots);
        let place = self.placement.cache_place(layer);
        self.cache(layer, 8 + u8::from(part == StatePart::S), TensorType::F32, [width, rows, 1, 1], place)
    }

    /// Reads the states of the batch's sequences.
    pub(crate) fn read_state(&mut self, inputs: StateInputs, layer: u32, part: StatePart) -> Id {
        self.read_state_with(inputs, layer, part, None)
    }

    /// Reads states through an op of its own, which gets the states and the rows.
    pub(crate) fn read_state_with(
        &mut self,
        inputs: StateInputs,
        layer: u32,
        part: StatePart,
        custom: Option<ReadStates<'_, Self>>,
    ) -> Id {
        let state = self.state(layer, part);
        let [width, all, _, _] = self.graph.get(state).ne;
        let (rows, sequences) = (self.context.sequences, self.batch.sequences);
        let states = self.graph.reshape(state, [width, all, 1, 1]);
        let zero = self.graph.view_1d(states, width, 0);
        let cleared = self.graph.scale_in_place(zero);
        self.graph.expand(cleared);
        let stride = width * 4;
        let (output, extra) = if self.rules.gathers_all_states {
            let copy = if custom.is_some() { inputs.copy_tail } else { inputs.copy };
            let first = rows - self.graph.ne(copy, 0);
            let gathered = self.graph.get_rows(states, copy);
            let output = match custom {
                Some(read) => read(self, states, inputs.copy_main),
                None => self.graph.view_2d(gathered, width, sequences, stride, 0),
            };
            self.graph.expand(output);
            let extra = self.graph.view_2d(gathered, width, rows - sequences, stride, (sequences - first) * stride);
            (output, extra)
        } else {
            let output = match custom {
                Some(read) => read(self, states, inputs.copy_main),
                None => self.graph.get_rows(states, inputs.copy_main),
            };
            self.graph.expand(output);
            (output, self.graph.get_rows(states, inputs.copy_tail))
        };
        let into = self.graph.view_2d(state, width, rows - sequences, stride, sequences * stride);
        let copied = self.graph.copy_into(extra, into);
        self.graph.expand(copied);
        output
    }

    /// Mamba and Mamba 2 models.
    pub(crate) fn mamba(&mut self) {
        let mut current = self.input_embedding(false);
        let inputs = self.state_inputs();
        for layer in self.layers.clone() {
            let normed = self.layer_norm(current, layer, "attn_norm");
            let mut mixed = if self.is_mamba2(layer) {
                self.mamba2_layer(inputs, normed, layer)
            } else {
                self.mamba1_layer(inputs, normed, layer)
            };
            if self.is_last(layer) {
                mixed = self.output_rows_of(mixed);
                current = self.output_rows_of(current);
            }
            current = self.graph.add(mixed, current);
            self.end_layer(current);
        }
        self.finish(current, Op::RmsNorm);
    }

    /// A Mamba 2 layer has one decay for each head, a Mamba layer one for each channel and state.
    pub(crate) fn is_mamba2(&self, layer: u32) -> bool {
        self.model.layer_weights[layer as usize]
            .get("ssm_a")
            .is_some_and(|index| self.model.weights[*index as usize].dims[0] == 1)
    }

    #[expect(clippy::many_single_char_names, reason = "the letters of the Mamba paper")]
    pub(crate) fn mamba1_layer(&mut self, inputs: StateInputs, current: Id, layer: u32) -> Id {
        let sizes = self.state_space();
        let sequences = self.batch.sequences;
        let tokens = self.batch.tokens / sequences;
        let (inner, state) = (sizes.inner, sizes.state);
        let convolution = self.read_state(inputs, layer, StatePart::R);
        let convolution = self.graph.reshape(convolution, [sizes.convolution - 1, inner, sequences, 1]);
        let width = self.graph.ne(current, 0);
        let current = self.graph.reshape(current, [width, tokens, sequences, 1]);
        let joined = self.multiply(current, layer, "ssm_in");
        let row = *self.graph.get(joined);
        let x = self.graph.view_3d(joined, [inner, row.ne[1], row.ne[2]], [row.nb[1], row.nb[2]], 0);
        let z = self.graph.view_3d(joined, [inner, row.ne[1], row.ne[2]], [row.nb[1], row.nb[2]], inner * 4);
        let x = self.convolve(convolution, x, layer, inner, sizes);
        let projected = self.multiply(x, layer, "ssm_x");
        let row = *self.graph.get(projected);
        let mut dt = self.graph.view_3d(projected, [sizes.rank, tokens, sequences], [row.nb[1], row.nb[2]], 0);
        let part = [state, 1, tokens, sequences];
        let nb = [state * 4, row.nb[1], row.nb[2]];
        let mut b = self.graph.view(projected, part, nb, sizes.rank * 4);
        let mut c = self.graph.view(projected, part, nb, (sizes.rank + state) * 4);
        if self.has(layer, "ssm_dt_norm.weight") || self.model.whole("ssm.dt_b_c_rms").is_some_and(|flag| flag != 0) {
            let norm = |builder: &mut Self, id: Id, name: &str| {
                let weight = builder.weight(layer, name);
                builder.norm_op(Op::RmsNorm, id, weight, None, Some(layer))
            };
            dt = norm(self, dt, "ssm_dt_norm.weight");
            b = norm(self, b, "ssm_b_norm.weight");
            c = norm(self, c, "ssm_c_norm.weight");
        } else {
            dt = self.graph.cont(dt);
        }
        let dt = self.project(dt, layer, "ssm_dt");
        let shaped = self.graph.reshape(x, [1, inner, tokens, sequences]);
        let a = self.needed(layer, "ssm_a");
        let all_states = self.state(layer, StatePart::S);
        let all = self.graph.ne(all_states, 1);
        let y = self.read_state_with(
            inputs,
            layer,
            StatePart::S,
            Some(&mut |builder: &mut Self, states, rows| {
                let states = builder.graph.reshape(states, [state, 1, inner, all]);
                builder.scan(states, shaped, dt, a, b, c, rows)
            }),
        );
        let elements = self.graph.get(shaped).elements();
        let last = self.graph.view_1d(y, state * inner * sequences, elements * 4);
        let all_states = self.state(layer, StatePart::S);
        let into = self.graph.view_1d(all_states, state * inner * sequences, 0);
        let stored = self.graph.copy_into(last, into);
        self.graph.expand(stored);
        let shape = *self.graph.get(shaped);
        let y = self.graph.view_3d(y, [inner, tokens, sequences], [shape.nb[2], shape.nb[3]], 0);
        let d = self.needed(layer, "ssm_d");
        let skipped = self.graph.mul(x, d);
        let y = self.graph.add(y, skipped);
        let z = self.graph.cont(z);
        let y = self.graph.glu_split(z, y);
        let output = self.multiply(y, layer, "ssm_out");
        let width = self.graph.ne(output, 0);
        self.graph.reshape(output, [width, tokens * sequences, 1, 1])
    }

    #[expect(clippy::too_many_arguments, reason = "the op has that many sources")]
    fn scan(&mut self, states: Id, x: Id, dt: Id, a: Id, b: Id, c: Id, rows: Id) -> Id {
        let state = self.graph.get(states).ne;
        let snapshots = 1 + self.context.state_snapshots;
        let elements =
            self.graph.get(x).elements() + snapshots * state[0] * state[1] * state[2] * self.graph.ne(rows, 0);
        self.graph.push(TensorType::F32, Op::SsmScan, [elements, 1, 1, 1], &[states, x, dt, a, b, c, rows])
    }

    /// Appends new columns to the kept ones, keeps the last again, convolves.
    fn convolve(&mut self, kept: Id, x: Id, layer: u32, channels: u64, sizes: StateSpace) -> Id {
        let sequences = self.batch.sequences;
        let tokens = self.batch.tokens / sequences;
        let turned = self.graph.transpose(x);
        let all = self.graph.concat(kept, turned, 0);
        let tensor = *self.graph.get(all);
        let columns = sizes.convolution - 1;
        let state = self.state(layer, StatePart::R);
        let written = (1 + self.context.state_snapshots).min(tokens);
        for slot in 0..written {
            let last = self.graph.view_3d(
                all,
                [columns, channels, sequences],
                [tensor.nb[1], tensor.nb[2]],
                (tokens - slot) * 4,
            );
            let into = self.graph.view_2d(state, columns * channels, sequences, columns * channels * 4, 0);
            let stored = self.graph.copy_into(last, into);
            self.graph.expand(stored);
        }
        let kernel = self.needed(layer, "ssm_conv1d.weight");
        let ne = [self.graph.ne(kernel, 1), tensor.ne[0] - self.graph.ne(kernel, 0) + 1, tensor.ne[2], 1];
        let mut x = self.graph.push(TensorType::F32, Op::SsmConv, ne, &[all, kernel]);
        if let Some(bias) = self.weight(layer, "ssm_conv1d.bias") {
            x = self.graph.add(x, bias);
        }
        self.graph.unary(x)
    }

    #[expect(clippy::many_single_char_names, reason = "the letters of the Mamba paper")]
    pub(crate) fn mamba2_layer(&mut self, inputs: StateInputs, current: Id, layer: u32) -> Id {
        let sizes = self.state_space();
        let sequences = self.batch.sequences;
        let tokens = self.batch.tokens / sequences;
        let heads = sizes.rank.max(1);
        let (inner, state, groups, head) = (sizes.inner, sizes.state, sizes.groups, sizes.inner / heads);
        let channels = inner + 2 * groups * state;
        let convolution = self.read_state(inputs, layer, StatePart::R);
        let convolution = self.graph.reshape(convolution, [sizes.convolution - 1, channels, sequences, 1]);
        let joined = self.multiply(current, layer, "ssm_in");
        let width = self.graph.ne(joined, 0);
        let joined = self.graph.reshape(joined, [width, tokens, sequences, 1]);
        let row = *self.graph.get(joined);
        let z = self.graph.view(joined, [head, heads, tokens, sequences], [head * 4, row.nb[1], row.nb[2]], 0);
        let xbc = self.graph.view_3d(joined, [channels, tokens, sequences], [row.nb[1], row.nb[2]], inner * 4);
        let dt = self.graph.view_3d(
            joined,
            [heads, tokens, sequences],
            [row.nb[1], row.nb[2]],
            (2 * inner + 2 * groups * state) * 4,
        );
        let xbc = self.convolve(convolution, xbc, layer, channels, sizes);
        let row = *self.graph.get(xbc);
        let x = self.graph.view(xbc, [head, heads, tokens, sequences], [head * 4, row.nb[1], row.nb[2]], 0);
        let part = [state, groups, tokens, sequences];
        let nb = [state * 4, row.nb[1], row.nb[2]];
        let b = self.graph.view(xbc, part, nb, inner * 4);
        let c = self.graph.view(xbc, part, nb, (inner + groups * state) * 4);
        let dt = self.graph.cont(dt);
        let dt = match self.weight(layer, "ssm_dt.bias") {
            Some(bias) => self.graph.add(dt, bias),
            None => dt,
        };
        let a = self.needed(layer, "ssm_a");
        let all_states = self.state(layer, StatePart::S);
        let all = self.graph.ne(all_states, 1);
        let y = self.read_state_with(
            inputs,
            layer,
            StatePart::S,
            Some(&mut |builder: &mut Self, states, rows| {
                let states = builder.graph.reshape(states, [state, head, heads, all]);
                builder.scan(states, x, dt, a, b, c, rows)
            }),
        );
        let width = state * inner;
        let written = (1 + self.context.state_snapshots).min(tokens);
        let offset = self.graph.get(x).elements() * 4;
        let last = self.graph.view_3d(y, [width, sequences, written], [width * 4, width * 4 * sequences], offset);
        let all_states = self.state(layer, StatePart::S);
        let into = self.graph.view_3d(all_states, [width, sequences, written], [width * 4, width * 4 * sequences], 0);
        let stored = self.graph.copy_into(last, into);
        self.graph.expand(stored);
        let y = self.graph.view(
            y,
            [head, heads, tokens, sequences],
            [head * 4, heads * head * 4, tokens * heads * head * 4],
            0,
        );
        let d = self.needed(layer, "ssm_d");
        let skipped = self.graph.mul(x, d);
        let y = self.graph.add(y, skipped);
        let z = self.graph.cont(z);
        let mut y = self.graph.glu_split(z, y);
        if self.has(layer, "ssm_norm.weight") {
            y = self.graph.reshape(y, [inner / groups, groups, tokens, sequences]);
            y = self.rms_norm(y, layer, "ssm_norm.weight");
        }
        let y = self.graph.reshape(y, [inner, tokens * sequences, 1, 1]);
        self.multiply(y, layer, "ssm_out")
    }
}
