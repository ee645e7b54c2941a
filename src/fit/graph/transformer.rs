//! The decoder that most models are: norm, attention, residual, norm, feed-forward or experts, residual
//! (llama.cpp b11434 `src/models/llama.cpp` and its many siblings).

use super::attention::{Attention, AttentionInputs};
use super::builder::Builder;
use super::tensor::{Id, NONE};
use crate::fit::architecture::Rope;

impl Builder<'_> {
    pub(crate) fn transformer(&mut self) {
        let style = self.model.architecture.style;
        let mut current = self.input_embedding(style.scales_embedding);
        let embedded = current;
        if style.scales_embedding_plainly {
            current = self.graph.scale(current);
        }
        if self.has_temperature() {
            self.input_attention_scale();
        }
        let inputs = self.attention_inputs();
        for layer in self.layers.clone() {
            current = self.transformer_layer(&inputs, current, layer);
            current = self.add_deepstack(current, embedded, layer);
            self.end_layer(current);
        }
        if style.rows_late {
            self.graph.get_mut(current).is_output = true;
            current = self.output_rows_of(current);
        }
        self.finish(current, style.norm.op());
    }

    fn transformer_layer(&mut self, inputs: &AttentionInputs, input: Id, layer: u32) -> Id {
        let style = self.model.architecture.style;
        let normed = if style.norms_after { input } else { self.layer_norm(input, layer, "attn_norm") };
        let mut attended = self.self_attention(inputs, normed, layer);
        let (mut residual, mut normed) = (input, normed);
        if self.is_last(layer) && !style.rows_late {
            attended = self.output_rows_of(attended);
            residual = self.output_rows_of(residual);
            if style.parallel {
                normed = self.output_rows_of(normed);
            }
        }
        if style.parallel {
            let second =
                ["attn_norm_2", "ffn_norm"].into_iter().find(|name| self.has(layer, &format!("{name}.weight")));
            let fed_from = match second {
                Some(name) => self.layer_norm(residual, layer, name),
                None => normed,
            };
            let fed = self.feed_forward_or_experts(fed_from, layer);
            if style.residual_before_attention {
                let sum = self.graph.add(fed, residual);
                return self.graph.add(sum, attended);
            }
            let sum = if style.attention_first { self.graph.add(attended, fed) } else { self.graph.add(fed, attended) };
            return self.graph.add(sum, residual);
        }
        if !style.post_norm_is_ffn_norm && self.has(layer, "post_attention_norm.weight") {
            attended = self.layer_norm(attended, layer, "post_attention_norm");
        }
        attended = self.scale_residual(attended);
        let middle = self.graph.add(attended, residual);
        let normed = if style.norms_after {
            middle
        } else {
            let name = if style.post_norm_is_ffn_norm { "post_attention_norm" } else { "ffn_norm" };
            self.layer_norm(middle, layer, name)
        };
        let mut fed = self.feed_forward_or_experts(normed, layer);
        if self.has(layer, "post_ffw_norm.weight") {
            let weight = self.weight(layer, "post_ffw_norm.weight");
            let pinned = style.pins_last_norm.then_some(layer);
            fed = self.norm_op(style.norm.op(), fed, weight, None, pinned);
        }
        fed = self.scale_residual(fed);
        if style.residual_first { self.graph.add(middle, fed) } else { self.graph.add(fed, middle) }
    }

    /// Further parts of the input embedding are added after the first layers (Qwen3-VL).
    fn add_deepstack(&mut self, current: Id, embedded: Id, layer: u32) -> Id {
        if u64::from(layer) >= self.model.deepstack_layers() {
            return current;
        }
        let (width, tokens) = (self.model.embedding, self.batch.tokens);
        let row = self.graph.nb(embedded, 1);
        let part = self.graph.view_2d(embedded, width, tokens, row, u64::from(layer + 1) * width * 4);
        self.graph.add(current, part)
    }

    /// Projections, head norms, rope, attention, output projection.
    pub(crate) fn self_attention(&mut self, inputs: &AttentionInputs, normed: Id, layer: u32) -> Id {
        let style = self.model.architecture.style;
        let ropes = self.ropes(layer);
        let factors = if ropes && style.rope != Rope::WithoutFactors { self.rope_factors(layer) } else { NONE };
        let (mut q, mut k, mut v) = if style.norms_whole_rows {
            self.queries_keys_values_normed(normed, layer)
        } else {
            self.queries_keys_values(normed, layer)
        };
        if style.norm_after_rope {
            q = self.rope_if(ropes, q, factors);
            q = self.head_norm(q, layer, "attn_q_norm");
            k = self.rope_if(ropes, k, factors);
            k = self.head_norm(k, layer, "attn_k_norm");
        } else if style.norms_whole_rows {
            q = self.rope_if(ropes, q, factors);
            k = self.rope_if(ropes, k, factors);
        } else {
            q = self.head_norm(q, layer, "attn_q_norm");
            q = self.rope_if(ropes, q, factors);
            k = self.head_norm(k, layer, "attn_k_norm");
            k = self.rope_if(ropes, k, factors);
        }
        if style.norms_roped_heads && ropes && self.model.whole("expert_count") != Some(128) {
            q = self.graph.rms_norm(q);
            k = self.graph.rms_norm(k);
        }
        if style.norms_values {
            v = self.graph.rms_norm(v);
        }
        if style.scales_query {
            q = self.graph.scale(q);
        }
        if self.has_temperature() || (style.temperature_without_rope && !ropes) {
            let scale = self.input_attention_scale();
            q = self.graph.mul(q, scale);
        }
        let sinks =
            self.weight(layer, "attn_sinks.weight").or_else(|| self.weight(layer, "attn_sinks")).unwrap_or(NONE);
        self.attend(inputs, layer, q, k, v, Attention { sinks, ..Attention::PLAIN })
    }

    /// Whether a layer has positions: some architectures give none to layers that see the whole context.
    pub(crate) fn ropes(&self, layer: u32) -> bool {
        match self.model.architecture.style.rope {
            Rope::Always | Rope::WithoutFactors => true,
            Rope::Never => false,
            Rope::WindowedOnly => self.model.window == 0 || self.model.windowed[layer as usize],
            Rope::AllButEveryFourth => self.model.ropes_by_number(layer),
            Rope::Finetuned => self.model.whole("rope.scaling.finetuned").is_none_or(|flag| flag != 0),
        }
    }

    fn rope_if(&mut self, ropes: bool, current: Id, factors: Id) -> Id {
        if ropes { self.rope(current, factors) } else { current }
    }

    /// Norms each head of Q or K where the model has weights for it.
    pub(crate) fn head_norm(&mut self, current: Id, layer: u32, name: &str) -> Id {
        if self.has(layer, &format!("{name}.weight")) { self.layer_norm(current, layer, name) } else { current }
    }

    /// Granite scales what it adds to the residual.
    pub(crate) fn scale_residual(&mut self, current: Id) -> Id {
        if self.model.number("residual_scale").is_some_and(|scale| scale != 0.0) {
            self.graph.scale(current)
        } else {
            current
        }
    }

    /// Projections whose whole rows are normed before they become heads.
    fn queries_keys_values_normed(&mut self, current: Id, layer: u32) -> (Id, Id, Id) {
        let tokens = self.graph.ne(current, 1);
        let heads = self.model.heads[layer as usize];
        let kv_heads = self.model.kv_heads[layer as usize];
        let (head_k, head_v) = (self.model.head_k_at(layer), self.model.head_v_at(layer));
        let q = self.project(current, layer, "attn_q");
        let k = self.project(current, layer, "attn_k");
        let v = self.project(current, layer, "attn_v");
        let q = self.head_norm(q, layer, "attn_q_norm");
        let k = self.head_norm(k, layer, "attn_k_norm");
        let q = self.graph.reshape(q, [head_k, heads, tokens, 1]);
        let k = self.graph.reshape(k, [head_k, kv_heads, tokens, 1]);
        (q, k, self.graph.reshape(v, [head_v, kv_heads, tokens, 1]))
    }

    /// Attention is sharpened with the position (`attention.temperature_scale`).
    pub(crate) fn has_temperature(&self) -> bool {
        self.model.architecture.style.temperature
            && self.model.number("attention.temperature_scale").is_some_and(|scale| scale != 0.0)
    }
}
