//! Gemma 3n: four versions of the residual stream, predicted and corrected by every layer (llama.cpp b11434 `src/models/gemma3n.cpp`).

use super::builder::Builder;
use super::tensor::{Id, NONE, Op};

/// Versions of the stream (`n_altup`, `src/llama-hparams.h`); the first is the active one.
const VERSIONS: u64 = 4;
/// Layers whose gates are made sparse (`n_layer_sparsity`, `src/models/models.h`).
pub(crate) const SPARSE_LAYERS: u32 = 10;

impl Builder<'_> {
    pub(crate) fn gemma3n(&mut self) {
        let embedded = self.input_embedding(true);
        let inputs = self.attention_inputs();
        let layer_inputs = match self.per_layer_inputs(embedded) {
            Some(inputs) => inputs,
            None => self.needed_global("per_layer_token_embd.weight"),
        };
        let mut current = self.stacked(embedded);
        for layer in self.layers.clone() {
            let predictions = self.predict_versions(current, layer);
            let active = self.slice(predictions, 0);
            let normed = self.layer_norm(active, layer, "attn_norm");
            let laurel = self.laurel(normed, layer);
            let attended = self.attention_with_shared_cache(&inputs, normed, layer, NONE);
            let attended = self.layer_norm(attended, layer, "post_attention_norm");
            let gated = self.graph.add(attended, active);
            let sum = self.graph.add(gated, laurel);
            let middle = self.graph.scale(sum);
            let normed = self.layer_norm(middle, layer, "ffn_norm");
            let fed = self.gemma3n_feed_forward(normed, layer);
            let weight = self.weight(layer, "post_ffw_norm.weight");
            let fed = self.norm_op(Op::RmsNorm, fed, weight, None, None);
            let activated = self.graph.add(fed, middle);
            let corrected = self.correct_versions(predictions, activated, layer);
            current = self.add_layer_input(corrected, layer_inputs, layer);
            self.end_layer(current);
        }
        let merged = self.merged(current);
        let rows = self.output_rows_of(merged);
        self.finish(rows, Op::RmsNorm);
    }

    /// The root of each row's sum of squares.
    fn magnitude(&mut self, id: Id) -> Id {
        let squares = self.graph.like(Op::Sqr, id, &[]);
        let sums = self.graph.sum_rows(squares);
        self.graph.like(Op::Sqrt, sums, &[])
    }

    /// `projected` with the magnitudes of `target`.
    fn with_magnitude(&mut self, projected: Id, target: Id) -> Id {
        let own = self.magnitude(projected);
        let scaled = self.graph.mul(projected, target);
        self.graph.like(Op::Div, scaled, &[own])
    }

    /// The embedding, and the other versions projected from it.
    fn stacked(&mut self, embedded: Id) -> Id {
        let target = self.magnitude(embedded);
        let shape = [self.model.embedding, self.batch.tokens, VERSIONS - 1, 1];
        let repeated = self.graph.repeat(embedded, shape);
        let projection = self.needed_global("altup_proj.weight");
        let projected = self.graph.mul_mat(projection, repeated);
        let added = self.with_magnitude(projected, target);
        self.graph.concat(embedded, added, 2)
    }

    /// All versions but the first.
    fn other_versions(&mut self, stack: Id) -> Id {
        let (width, tokens) = (self.graph.ne(stack, 0), self.graph.ne(stack, 1));
        let row = width * 4;
        self.graph.view_3d(stack, [width, tokens, VERSIONS - 1], [row, row * tokens], row * tokens)
    }

    /// The mean of all versions.
    fn merged(&mut self, stack: Id) -> Id {
        let first = self.slice(stack, 0);
        let target = self.magnitude(first);
        let others = self.other_versions(stack);
        let projection = self.needed_global("altup_unembd_proj.weight");
        let projected = self.graph.mul_mat(projection, others);
        let others = self.with_magnitude(projected, target);
        let mut sum = self.slice(stack, 0);
        for index in 0..VERSIONS - 1 {
            let one = self.slice(others, index);
            sum = self.graph.add(sum, one);
        }
        self.graph.scale(sum)
    }

    /// What a token is, as far as the versions' coefficients ask.
    fn modalities(&mut self, current: Id, layer: u32) -> Id {
        let normed = self.rms_norm(current, layer, "altup_router_norm.weight");
        let scaled = self.graph.scale(normed);
        let routed = self.multiply(scaled, layer, "altup_router");
        self.graph.unary(routed)
    }

    fn predict_versions(&mut self, stack: Id, layer: u32) -> Id {
        let active = self.slice(stack, 0);
        let modalities = self.modalities(active, layer);
        let coefficients = self.multiply(modalities, layer, "altup_predict_coef");
        let coefficients = self.graph.reshape(coefficients, [VERSIONS, VERSIONS, self.batch.tokens, 1]);
        let turned = self.graph.permute(stack, [1, 2, 0, 3]);
        let turned = self.graph.cont(turned);
        let predictions = self.graph.mul_mat(turned, coefficients);
        let predictions = self.graph.permute(predictions, [0, 2, 1, 3]);
        let predictions = self.graph.cont(predictions);
        self.graph.add(predictions, stack)
    }

    fn correct_versions(&mut self, predictions: Id, activated: Id, layer: u32) -> Id {
        let (width, tokens) = (self.model.embedding, self.batch.tokens);
        let modalities = self.modalities(activated, layer);
        let active = self.slice(predictions, 0);
        let innovation = self.graph.like(Op::Sub, activated, &[active]);
        let coefficients = self.multiply(modalities, layer, "altup_correct_coef");
        let coefficients = self.graph.scale(coefficients);
        let coefficients = self.graph.transpose(coefficients);
        let coefficients = self.graph.cont_shaped(coefficients, [1, tokens, VERSIONS, 1]);
        let innovation = self.graph.repeat(innovation, [width, tokens, VERSIONS, 1]);
        let corrected = self.graph.mul(innovation, coefficients);
        self.graph.add(corrected, predictions)
    }

    /// A low-rank detour beside attention.
    fn laurel(&mut self, normed: Id, layer: u32) -> Id {
        let low = self.multiply(normed, layer, "laurel_l");
        let high = self.multiply(low, layer, "laurel_r");
        let high = self.rms_norm(high, layer, "laurel_post_norm.weight");
        self.graph.add(high, normed)
    }

    fn gemma3n_feed_forward(&mut self, normed: Id, layer: u32) -> Id {
        let up = self.multiply(normed, layer, "ffn_up");
        let mut gate = self.multiply(normed, layer, "ffn_gate");
        if layer < SPARSE_LAYERS {
            gate = self.sparse(gate);
        }
        let gate = self.graph.unary(gate);
        let hidden = self.graph.mul(up, gate);
        self.multiply(hidden, layer, "ffn_down")
    }

    /// Only what stands out of each row stays (`gaussian_topk`).
    fn sparse(&mut self, gate: Id) -> Id {
        let mean = self.graph.mean(gate);
        let centred = self.graph.like(Op::Sub, gate, &[mean]);
        let squares = self.graph.like(Op::Sqr, centred, &[]);
        let sums = self.graph.sum_rows(squares);
        let variance = self.graph.scale(sums);
        let deviation = self.graph.like(Op::Sqrt, variance, &[]);
        let scaled = self.graph.scale(deviation);
        let cutoff = self.graph.add(mean, scaled);
        let above = self.graph.like(Op::Sub, gate, &[cutoff]);
        self.graph.unary(above)
    }

    /// The layer's own input goes to the other versions.
    fn add_layer_input(&mut self, corrected: Id, layer_inputs: Id, layer: u32) -> Id {
        let first = self.slice(corrected, 0);
        let scale = self.needed(layer, "altup_correct_scale.weight");
        let scaled = self.graph.mul(first, scale);
        let own = self.gated_layer_input(scaled, layer_inputs, layer);
        let first = self.slice(corrected, 0);
        let others = self.other_versions(corrected);
        let others = self.graph.add(others, own);
        self.graph.concat(first, others, 2)
    }
}
