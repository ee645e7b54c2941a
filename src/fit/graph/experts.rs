//! Mixture of experts: router, expert projections, weighted sum, shared experts (llama.cpp b11434 `src/llama-graph.cpp:2044`).

use serde::Deserialize;

use super::builder::{Activation, Builder};
use super::tensor::{Id, NONE, Op};
use crate::gguf::TensorType;

/// How a router turns logits into weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gating {
    /// As `expert_gating_func` in the file says; softmax without.
    #[default]
    File,
    Softmax,
    Sigmoid,
    /// Softmax over the chosen experts only.
    SoftmaxWeight,
    SqrtSoftplus,
}

/// Whether the weights of the chosen experts are made to sum to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Normalized {
    /// As `expert_weights_norm` in the file says.
    #[default]
    File,
    Always,
    Never,
}

/// How an architecture routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Experts {
    pub gating: Gating,
    pub normalized: Normalized,
    /// What experts do between their projections.
    pub activation: Activation,
    /// Weights multiply the input, not the output (llama4).
    pub weights_first: bool,
    /// Experts are chosen by the logits themselves (llama4).
    pub selects_by_logits: bool,
    /// Experts are chosen by a sigmoid of the logits, whatever their weights are made by.
    pub selects_by_sigmoid: bool,
    /// The last projection's input must not be rounded: CUDA leaves it to the host (`ggml-cuda.cu:5308`).
    pub precise_down: bool,
    /// A file without `expert_gating_func` means a sigmoid.
    pub sigmoid_unless_said: bool,
}

impl Builder<'_> {
    fn gating(&self) -> Gating {
        match self.model.architecture.experts.gating {
            Gating::File => match self.model.whole("expert_gating_func").unwrap_or(0) {
                2 => Gating::Sigmoid,
                3 => Gating::SoftmaxWeight,
                4 => Gating::SqrtSoftplus,
                0 if self.model.architecture.experts.sigmoid_unless_said
                    || self.model.architecture.sigmoid_by_shape(self.model) =>
                {
                    Gating::Sigmoid
                }
                _ => Gating::Softmax,
            },
            other => other,
        }
    }

    fn normalizes(&self) -> bool {
        match self.model.architecture.experts.normalized {
            Normalized::Always => true,
            Normalized::Never => false,
            Normalized::File => self.model.whole("expert_weights_norm").is_some_and(|flag| flag != 0),
        }
    }

    /// Routed experts; `logits` where the architecture computes them in its own way.
    pub(crate) fn experts(&mut self, current: Id, layer: u32, logits: Option<Id>) -> Id {
        let used = self.model.whole_at("expert_used_count", layer).unwrap_or(1).max(1);
        self.experts_of(current, layer, logits, "exps", used)
    }

    /// Experts, and on what they give, the small experts that each group of them shares (`GroveMoE`).
    pub(crate) fn experts_and_shared_chunks(&mut self, current: Id, layer: u32) -> Id {
        let logits = self.multiply(current, layer, "ffn_gate_inp");
        let routed = self.experts(current, layer, Some(logits));
        let each = self.model.whole("experts_per_group").unwrap_or(1).max(1);
        let chunks = self.graph.ne(logits, 0) / each;
        let used = self.model.whole_at("expert_used_count", layer).unwrap_or(1).clamp(1, chunks.max(1));
        let shared = self.experts_of(routed, layer, Some(logits), "chexps", used);
        let shared = self.graph.scale(shared);
        self.graph.add(routed, shared)
    }

    fn experts_of(&mut self, current: Id, layer: u32, logits: Option<Id>, family: &str, used: u64) -> Id {
        let how = self.model.architecture.experts;
        let (embedding, tokens) = (self.graph.ne(current, 0), self.graph.ne(current, 1));
        let mut logits = logits.unwrap_or_else(|| self.multiply(current, layer, "ffn_gate_inp"));
        if let Some(bias) = self.weight(layer, "ffn_gate_inp.bias") {
            logits = self.graph.add(logits, bias);
        }
        let count = self.graph.ne(logits, 0);
        let gating = self.gating();
        let probabilities = match gating {
            Gating::Sigmoid => self.graph.like(Op::Sigmoid, logits, &[]),
            Gating::SoftmaxWeight => logits,
            Gating::SqrtSoftplus => {
                let soft = self.graph.like(Op::Softplus, logits, &[]);
                self.graph.like(Op::Sqrt, soft, &[])
            }
            Gating::Softmax | Gating::File => self.graph.like(Op::SoftMax, logits, &[]),
        };
        let given = self.chosen_experts;
        let mut selection = match self.weight(layer, "exp_probs_b.bias").or_else(|| self.weight(layer, "exp_probs_b")) {
            Some(bias) => self.graph.add(probabilities, bias),
            None => probabilities,
        };
        if how.selects_by_logits {
            selection = logits;
        }
        if how.selects_by_sigmoid {
            selection = self.graph.like(Op::Sigmoid, logits, &[]);
        }
        selection = self.expert_groups(selection, count, tokens);
        let mut chosen = if given == NONE { self.graph.argsort_top_k(selection, used) } else { given };
        if family != "exps" {
            // An expert's number becomes its group's.
            let numbers = self.graph.cast(chosen, TensorType::F32);
            let numbers = self.graph.scale(numbers);
            chosen = self.graph.cast(numbers, TensorType::I32);
        }
        let probabilities = self.graph.reshape(probabilities, [1, count, tokens, 1]);
        let weights = self.graph.get_rows(probabilities, chosen);
        let weights = self.expert_weights(weights, used, tokens, gating);
        self.graph.expand(weights);

        let mut input = self.graph.reshape(current, [embedding, 1, tokens, 1]);
        if how.weights_first {
            let repeated = self.graph.repeat(input, [embedding, used, tokens, 1]);
            input = self.graph.mul(repeated, weights);
        }
        let hidden = self.expert_hidden(input, layer, chosen, family);
        let mut output = self.multiply_experts(hidden, layer, &format!("ffn_down_{family}"), chosen);
        self.graph.get_mut(output).host_only = how.precise_down;
        if !how.weights_first {
            output = self.graph.mul(output, weights);
        }
        self.graph.expand(output);
        self.sum_experts(output, used, embedding, tokens)
    }

    /// Only the best groups of experts take part (`expert_group_count`).
    fn expert_groups(&mut self, selection: Id, count: u64, tokens: u64) -> Id {
        let groups = self.model.whole("expert_group_count").unwrap_or(0);
        if groups <= 1 || !count.is_multiple_of(groups) {
            return selection;
        }
        let used = self.model.whole("expert_group_used_count").unwrap_or(1);
        let each = count / groups;
        let grouped = self.graph.reshape(selection, [each, groups, tokens, 1]);
        let best = self.graph.argsort_top_k(grouped, 2);
        let rows = self.graph.reshape(grouped, [1, each, groups, tokens]);
        let scores = self.graph.get_rows(rows, best);
        let ne = self.graph.get(scores).ne;
        let scores = self.graph.reshape(scores, [ne[1], ne[2], ne[3], 1]);
        let sums = self.graph.sum_rows(scores);
        let ne = self.graph.get(sums).ne;
        let sums = self.graph.reshape(sums, [ne[1], ne[2], 1, 1]);
        let chosen = self.graph.argsort_top_k(sums, used);
        let kept = self.graph.get_rows(grouped, chosen);
        let empty = self.graph.like(Op::Fill, grouped, &[]);
        let masked = self.graph.set_rows(empty, kept, chosen);
        self.graph.reshape(masked, [count, tokens, 1, 1])
    }

    fn expert_weights(&mut self, mut weights: Id, used: u64, tokens: u64, gating: Gating) -> Id {
        if gating == Gating::SoftmaxWeight {
            weights = self.graph.reshape(weights, [used, tokens, 1, 1]);
            weights = self.graph.like(Op::SoftMax, weights, &[]);
            weights = self.graph.reshape(weights, [1, used, tokens, 1]);
        }
        if self.normalizes() {
            weights = self.graph.reshape(weights, [used, tokens, 1, 1]);
            let sum = self.graph.sum_rows(weights);
            let sum = self.graph.like(Op::Clamp, sum, &[]);
            weights = self.graph.like(Op::Div, weights, &[sum]);
            weights = self.graph.reshape(weights, [1, used, tokens, 1]);
        }
        let scale = self.model.number("expert_weights_scale").unwrap_or(0.0);
        if scale != 0.0 && (scale - 1.0).abs() > f64::EPSILON {
            weights = self.graph.scale(weights);
        }
        weights
    }

    /// The projection of every token by its chosen experts, with scale and bias.
    fn multiply_experts(&mut self, current: Id, layer: u32, name: &str, chosen: Id) -> Id {
        let Some(weight) = self.weight(layer, &format!("{name}.weight")) else { return current };
        let mut result = self.graph.mul_mat_id(weight, current, chosen);
        if let Some(scale) = self.weight(layer, &format!("{name}.scale")) {
            let (count, tokens) = (self.graph.ne(scale, 0), self.graph.ne(current, 2));
            let scale = self.graph.reshape(scale, [1, count, 1, 1]);
            let scale = self.graph.repeat(scale, [1, count, tokens, 1]);
            let scale = self.graph.get_rows(scale, chosen);
            result = self.graph.mul(result, scale);
        }
        if let Some(bias) = self.weight(layer, &format!("{name}.bias")) {
            result = self.graph.like(Op::AddId, result, &[bias, chosen]);
        }
        result
    }

    fn expert_hidden(&mut self, input: Id, layer: u32, chosen: Id, family: &str) -> Id {
        if self.has(layer, &format!("ffn_gate_up_{family}.weight")) {
            let joined = self.multiply_experts(input, layer, &format!("ffn_gate_up_{family}"), chosen);
            let tensor = *self.graph.get(joined);
            let half = tensor.ne[0] / 2;
            let ne = [half, tensor.ne[1], tensor.ne[2]];
            let nb = [tensor.nb[1], tensor.nb[2]];
            let gate = self.graph.view_3d(joined, ne, nb, 0);
            let up = self.graph.view_3d(joined, ne, nb, half * tensor.nb[0]);
            return self.graph.glu_split(gate, up);
        }
        let up = self.multiply_experts(input, layer, &format!("ffn_up_{family}"), chosen);
        if self.has(layer, &format!("ffn_gate_{family}.weight")) {
            let gate = self.multiply_experts(input, layer, &format!("ffn_gate_{family}"), chosen);
            if self.model.architecture.experts.activation == Activation::Situ {
                return self.situ(gate, up);
            }
            if self.clamps("swiglu_clamp_exp", layer) {
                return self.clamped(gate, up);
            }
            return self.graph.glu_split(gate, up);
        }
        let activated = self.graph.unary(up);
        match self.model.architecture.experts.activation {
            Activation::ReluSquared => self.graph.like(Op::Sqr, activated, &[]),
            _ => activated,
        }
    }

    fn sum_experts(&mut self, output: Id, used: u64, embedding: u64, tokens: u64) -> Id {
        let nb = self.graph.get(output).nb;
        let parts: Vec<Id> = (0..used)
            .map(|expert| {
                let part = self.graph.view_2d(output, embedding, tokens, nb[2], expert * nb[1]);
                self.graph.expand(part);
                part
            })
            .collect();
        let mut sum = parts[0];
        for part in &parts[1..] {
            sum = self.graph.add(sum, *part);
            self.graph.expand(sum);
        }
        if used == 1 { self.graph.cont(sum) } else { sum }
    }

    /// The second half of a layer: the residual, and the feed-forward block. `ends` where only the rows that are put out go on.
    pub(crate) fn end_block(&mut self, mixed: Id, residual: Id, layer: u32, ends: bool) -> Id {
        let (mixed, residual) =
            if ends { (self.output_rows_of(mixed), self.output_rows_of(residual)) } else { (mixed, residual) };
        let middle = self.graph.add(mixed, residual);
        let normed = self.layer_norm(middle, layer, "ffn_norm");
        let fed = self.feed_forward_or_experts(normed, layer);
        let current = self.graph.add(fed, middle);
        self.end_layer(current);
        current
    }

    /// Feed-forward of a layer, whichever kind it has: dense, or experts with a shared one beside them.
    pub(crate) fn feed_forward_or_experts(&mut self, current: Id, layer: u32) -> Id {
        if !self.has(layer, "ffn_gate_inp.weight") {
            return self.feed_forward(current, layer, "", self.model.architecture.style.activation);
        }
        if self.has(layer, "ffn_up_chexps.weight") {
            return self.experts_and_shared_chunks(current, layer);
        }
        let routed = self.experts(current, layer, None);
        if !self.has(layer, "ffn_up_shexp.weight") {
            return routed;
        }
        let shared = self.shared_expert(current, layer);
        self.graph.add(routed, shared)
    }

    /// The expert that every token passes, gated where the model has weights for it.
    pub(crate) fn shared_expert(&mut self, current: Id, layer: u32) -> Id {
        let gate_first = self.model.architecture.style.shared_gate_first;
        let gate = |builder: &mut Self| {
            builder.weight(layer, "ffn_gate_inp_shexp.weight").map(|weight| builder.graph.mul_mat(weight, current))
        };
        let early = if gate_first { gate(self).map(|logits| self.shared_gate(logits)) } else { None };
        let shared = self.feed_forward(current, layer, "_shexp", self.model.architecture.style.shared_activation());
        let factor = early.or_else(|| gate(self).map(|logits| self.shared_gate(logits)));
        match factor {
            Some(factor) => self.graph.mul(shared, factor),
            None => shared,
        }
    }

    fn shared_gate(&mut self, logits: Id) -> Id {
        if self.model.architecture.style.shared_gate_silu {
            let silu = self.graph.unary(logits);
            return self.graph.like(Op::Div, silu, &[logits]);
        }
        self.graph.like(Op::Sigmoid, logits, &[])
    }

    /// Rows of 32-bit numbers that the graph reads: an input of that many.
    pub(crate) fn input_rows(&mut self, rows: u64) -> Id {
        self.graph.input(TensorType::I32, [rows, 1, 1, 1])
    }
}
