//! Attention as most decoders have it: projections, head norms, rope, attention, output projection
//! (llama.cpp b11434 `src/llama-graph.cpp:1684`).

use super::attention::{Attention, AttentionInputs};
use super::builder::Builder;
use super::tensor::{Id, NONE, Op};
use crate::fit::architecture::{AttentionGate, GraphKind, Rope};

impl Builder<'_> {
    /// Projections, head norms, rope, attention, output projection.
    pub(crate) fn self_attention(&mut self, inputs: &AttentionInputs, normed: Id, layer: u32) -> Id {
        let style = self.model.architecture.style;
        let ropes = self.ropes(layer);
        let factors = if ropes && !matches!(style.rope, Rope::WithoutFactors | Rope::With32Layers) {
            self.rope_factors(layer)
        } else {
            NONE
        };
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
        if self.has(layer, "attn_gate.weight") && style.attention_gate != AttentionGate::None {
            let attended = self.attend(inputs, layer, q, k, v, Attention { output: None, sinks, ..Attention::PLAIN });
            let gated = self.attention_times_gate(attended, normed, layer);
            return self.multiply(gated, layer, "attn_output");
        }
        if self.has(layer, "attn_sub_norm.weight") {
            let attended = self.attend(inputs, layer, q, k, v, Attention { output: None, sinks, ..Attention::PLAIN });
            let normed = self.layer_norm(attended, layer, "attn_sub_norm");
            return self.project(normed, layer, "attn_output");
        }
        let attended = self.attend(inputs, layer, q, k, v, Attention { sinks, ..Attention::PLAIN });
        let scaled = self.model.number("attention.value_scale").is_some_and(|scale| (scale - 1.0).abs() > f64::EPSILON);
        if scaled { self.graph.scale(attended) } else { attended }
    }

    /// Each head of the result, or each element, times a gate.
    pub(crate) fn attention_times_gate(&mut self, attended: Id, normed: Id, layer: u32) -> Id {
        let gate = self.multiply(normed, layer, "attn_gate");
        let packs = self.model.architecture.graph == GraphKind::Bailingmoe3;
        let (tokens, heads) = (self.graph.ne(attended, 1), self.model.heads[layer as usize]);
        let gate = if packs { self.graph.reshape(gate, [1, heads, tokens, 1]) } else { gate };
        let op = match self.model.architecture.style.attention_gate {
            AttentionGate::Softplus => Op::Softplus,
            AttentionGate::Sigmoid | AttentionGate::None => Op::Sigmoid,
        };
        let gate = self.graph.like(op, gate, &[]);
        let width = self.graph.ne(attended, 0);
        if !packs && self.graph.ne(gate, 0) != heads {
            return self.graph.mul(attended, gate);
        }
        let by_head = self.graph.reshape(attended, [width / heads, heads, tokens, 1]);
        if packs {
            let gated = self.graph.mul(by_head, gate);
            return self.graph.cont_shaped(gated, [width, tokens, 1, 1]);
        }
        let gate = self.graph.reshape(gate, [1, heads, tokens, 1]);
        let gated = self.graph.mul(by_head, gate);
        self.graph.reshape(gated, [width, tokens, 1, 1])
    }

    /// Whether a layer has positions: some architectures give none to layers that see the whole context.
    pub(crate) fn ropes(&self, layer: u32) -> bool {
        match self.model.architecture.style.rope {
            Rope::Always | Rope::WithoutFactors => true,
            Rope::Never => false,
            Rope::WindowedOrDense => {
                self.model.windowed[layer as usize]
                    || u64::from(layer) < self.model.whole("leading_dense_block_count").unwrap_or(0)
            }
            Rope::With32Layers => self.model.layers() == 32,
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
        let style = self.model.architecture.style;
        if !self.has(layer, &format!("{name}.weight")) && !style.norms_heads_always {
            return current;
        }
        if !style.norms_heads_by_mean {
            return self.layer_norm(current, layer, name);
        }
        let weight = self.weight(layer, &format!("{name}.weight"));
        let bias = self.weight(layer, &format!("{name}.bias"));
        self.norm_op(Op::Norm, current, weight, bias, Some(layer))
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
