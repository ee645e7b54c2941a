//! The pieces that every architecture's graph is made of: inputs, norms, projections, feed-forward, and the end of the graph
//! (llama.cpp b11434 `src/llama-graph.cpp`).

use std::collections::HashMap;

use super::tensor::{Graph, Home, Id, NONE, Op, Place};
use crate::fit::build::Rules;
use crate::fit::context::Context;
use crate::fit::model::Model;
use crate::fit::placement::Placement;
use crate::gguf::TensorType;

/// Chameleon's image tokens (`src/models/chameleon.cpp:186`).
const IMAGE_TOKENS: u64 = 8192;

/// How many tokens, sequences and outputs a reserved graph has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) tokens: u64,
    pub(crate) sequences: u64,
    pub(crate) outputs: u64,
}

pub(crate) struct Builder<'a> {
    pub(crate) graph: Graph,
    pub(crate) model: &'a Model,
    pub(crate) context: &'a Context,
    pub(crate) placement: &'a Placement,
    pub(crate) rules: Rules,
    pub(crate) batch: Batch,
    /// The layers to build: all, or without those that only repeat.
    pub(crate) layers: Vec<u32>,
    /// What each built layer hands on.
    pub(crate) layer_ends: Vec<Id>,
    /// `inp_pos` and `out_ids`, created when first asked for.
    pub(crate) positions: Id,
    pub(crate) output_rows: Id,
    attention_scale: Id,
    /// The numbers of the batch's tokens.
    pub(crate) token_ids: Id,
    /// Experts that are not for the router to choose, while they are set.
    pub(crate) chosen_experts: Id,
    /// Flash attention nodes and their layers.
    pub(crate) attention_nodes: Vec<(Id, u32)>,
    /// The same of the ops that mix residual streams after a block.
    pub(crate) mixing_nodes: Vec<(Id, u32)>,
    /// The first weight that the file lacks.
    pub(crate) missing: Option<String>,
    /// By weight of the model; `NONE` until it is asked for.
    weights: Vec<Id>,
    tied_output: Id,
    caches: HashMap<(u32, u8), Id>,
}

/// What a feed-forward block does between its projections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// Gate and up, joined by one gated unit (`SwiGLU`, `GeGLU`, `ReGLU`).
    #[default]
    Gated,
    /// One projection that holds gate and up.
    GatedJoined,
    /// One projection and an activation.
    Plain,
    /// One projection, `ReLU`, and a square.
    ReluSquared,
    /// Gate and up, each bent by `tanh`, the gate times its sigmoid too.
    Situ,
}

impl<'a> Builder<'a> {
    pub(crate) fn new(
        model: &'a Model,
        context: &'a Context,
        placement: &'a Placement,
        rules: Rules,
        batch: Batch,
        layers: &[u32],
    ) -> Self {
        Self {
            graph: Graph::default(),
            model,
            context,
            placement,
            rules,
            batch,
            layers: layers.to_vec(),
            layer_ends: Vec::new(),
            positions: NONE,
            output_rows: NONE,
            attention_scale: NONE,
            token_ids: NONE,
            chosen_experts: NONE,
            attention_nodes: Vec::new(),
            mixing_nodes: Vec::new(),
            missing: None,
            weights: vec![NONE; model.weights.len()],
            tied_output: NONE,
            caches: HashMap::new(),
        }
    }

    /// The weight of a layer by its name within it.
    pub(crate) fn weight(&mut self, layer: u32, suffix: &str) -> Option<Id> {
        let index = *self.model.layer_weights[layer as usize].get(suffix)?;
        Some(self.weight_at(index))
    }

    /// A weight that the graph cannot do without: where the file lacks it, the model is refused.
    pub(crate) fn needed(&mut self, layer: u32, suffix: &str) -> Id {
        match self.weight(layer, suffix) {
            Some(id) => id,
            None => self.stand_in(format!("blk.{layer}.{suffix}"), self.placement.layers[layer as usize]),
        }
    }

    /// The same outside the layers.
    pub(crate) fn needed_global(&mut self, name: &str) -> Id {
        match self.global(name) {
            Some(id) => id,
            None => self.stand_in(name.to_owned(), self.placement.output),
        }
    }

    fn stand_in(&mut self, name: String, place: Place) -> Id {
        self.missing.get_or_insert(name);
        self.graph.resident(TensorType::F32, [1; 4], Home::Weight(place))
    }

    pub(crate) fn has(&self, layer: u32, suffix: &str) -> bool {
        self.model.layer_weights[layer as usize].contains_key(suffix)
    }

    /// A weight outside the layers.
    pub(crate) fn global(&mut self, name: &str) -> Option<Id> {
        let index = *self.model.other_weights.get(name)?;
        Some(self.weight_at(index))
    }

    fn weight_at(&mut self, index: u32) -> Id {
        if self.weights[index as usize] != NONE {
            return self.weights[index as usize];
        }
        let weight = &self.model.weights[index as usize];
        let id = self.graph.resident(weight.kind, weight.dims, Home::Weight(self.placement.weights[index as usize]));
        self.weights[index as usize] = id;
        id
    }

    /// Frequency factors, which every device has its own copy of.
    pub(crate) fn rope_factors(&mut self, layer: u32) -> Id {
        let long = self.context.cells_per_sequence
            > self.model.whole("rope.scaling.original_context_length").unwrap_or(u64::from(self.model.train_context));
        let name = ["rope_freqs.weight", if long { "rope_factors_long.weight" } else { "rope_factors_short.weight" }]
            .into_iter()
            .find(|name| self.model.other_weights.contains_key(*name));
        let per_layer = name.map_or_else(|| self.weight(layer, "rope_freqs.weight"), |_| None);
        let Some(name) = name else { return per_layer.unwrap_or(NONE) };
        let index = self.model.other_weights[name];
        let weight = &self.model.weights[index as usize];
        let (kind, dims) = (weight.kind, weight.dims);
        let place = self.placement.layers[layer as usize];
        let slot = match place {
            Place::Host => 254,
            Place::Device(device) => device,
        };
        if let Some(id) = self.caches.get(&(u32::MAX, slot)) {
            return *id;
        }
        let id = self.graph.resident(kind, dims, Home::Weight(place));
        self.caches.insert((u32::MAX, slot), id);
        id
    }

    /// A layer's cache tensor: `slot` tells several caches of one layer apart.
    pub(crate) fn cache(&mut self, layer: u32, slot: u8, kind: TensorType, ne: [u64; 4], place: Place) -> Id {
        if let Some(id) = self.caches.get(&(layer, slot)) {
            return *id;
        }
        let id = self.graph.resident(kind, ne, Home::Cache(place));
        self.caches.insert((layer, slot), id);
        id
    }

    /// Token embeddings, the branch for vectors instead of tokens, and in newer builds the branch for both.
    pub(crate) fn input_embedding(&mut self, scaled: bool) -> Id {
        let (tokens, embedding) = (self.batch.tokens, self.model.embedding_inputs());
        let table = self.token_table();
        let input = self.graph.input(TensorType::I32, [tokens, 1, 1, 1]);
        let vectors = self.graph.input(TensorType::F32, [embedding, tokens, 1, 1]);
        self.token_ids = input;
        let from_tokens = self.token_rows(table, input, embedding);
        let mixes = self.rules.mixed_input && !self.model.architecture.style.separates_inputs;
        let mixed = mixes.then(|| {
            let mixed_tokens = self.graph.input(TensorType::I32, [tokens, 1, 1, 1]);
            let slots = self.graph.input(TensorType::I64, [tokens, 1, 1, 1]);
            let mixed_vectors = self.graph.input(TensorType::F32, [embedding, tokens, 1, 1]);
            let copy = self.graph.like(Op::Dup, mixed_vectors, &[]);
            let rows = self.token_rows(table, mixed_tokens, embedding);
            self.graph.set_rows(copy, rows, slots)
        });
        self.graph.expand(from_tokens);
        self.graph.expand_unselected(vectors);
        if let Some(mixed) = mixed {
            self.graph.expand_unselected(mixed);
        }
        let mut current = from_tokens;
        if embedding != self.model.embedding {
            let stride = self.graph.nb(current, 1);
            current = self.graph.view_2d(current, self.model.embedding, tokens, stride, 0);
        }
        if self.has_factor("embedding_scale") || self.model.architecture.style.scales_embedding_always {
            current = self.graph.scale(current);
        }
        if scaled {
            current = if self.rules.scales_rows {
                let factors = self.graph.input(TensorType::F32, [1, tokens, 1, 1]);
                self.graph.mul(current, factors)
            } else {
                self.graph.scale(current)
            };
        }
        self.graph.expand(current);
        current
    }

    fn token_rows(&mut self, table: Id, ids: Id, embedding: u64) -> Id {
        let rows = self.graph.get_rows(table, ids);
        let width = self.graph.ne(rows, 0);
        if embedding > width { self.graph.pad_first(rows, embedding - width) } else { rows }
    }

    fn token_table(&mut self) -> Id {
        self.needed_global("token_embd.weight")
    }

    pub(crate) fn input_positions(&mut self) -> Id {
        if self.positions == NONE {
            let tokens = self.batch.tokens * self.model.architecture.positions_per_token(self.model);
            self.positions = self.graph.input(TensorType::I32, [tokens, 1, 1, 1]);
        }
        self.positions
    }

    /// A factor for each token's queries.
    pub(crate) fn input_attention_scale(&mut self) -> Id {
        if self.attention_scale == NONE {
            self.attention_scale = self.graph.input(TensorType::F32, [1, 1, self.batch.tokens, 1]);
        }
        self.attention_scale
    }

    pub(crate) fn input_output_rows(&mut self) -> Id {
        if self.output_rows == NONE {
            self.output_rows = self.graph.input(TensorType::I32, [self.batch.outputs, 1, 1, 1]);
        }
        self.output_rows
    }

    pub(crate) fn end_layer(&mut self, output: Id) {
        self.layer_ends.push(output);
    }

    pub(crate) fn is_last(&self, layer: u32) -> bool {
        layer + 1 == self.model.layers()
    }

    /// Keeps only the rows that will be put out.
    pub(crate) fn output_rows_of(&mut self, id: Id) -> Id {
        let rows = self.input_output_rows();
        self.graph.get_rows(id, rows)
    }

    /// The norm node itself stays on its layer's device, so that it does not wander to the previous one's.
    pub(crate) fn pin(&mut self, id: Id, layer: Option<u32>) {
        let pins = self.batch.tokens < 32 || (self.placement.everything_offloaded && self.rules.pins_norms);
        if let Some(layer) = layer.filter(|_| pins) {
            self.graph.get_mut(id).pinned_backend = self.placement.backend_of(self.placement.layers[layer as usize]);
        }
    }

    pub(crate) fn norm_op(
        &mut self,
        op: Op,
        current: Id,
        weight: Option<Id>,
        bias: Option<Id>,
        layer: Option<u32>,
    ) -> Id {
        let mut current = self.graph.like(op, current, &[]);
        if weight.is_some() || bias.is_some() {
            self.pin(current, layer);
        }
        if let Some(weight) = weight {
            current = self.graph.mul(current, weight);
        }
        if let Some(bias) = bias {
            current = self.graph.add(current, bias);
        }
        current
    }

    pub(crate) fn rms_norm(&mut self, current: Id, layer: u32, suffix: &str) -> Id {
        let weight = self.weight(layer, suffix);
        self.norm_op(Op::RmsNorm, current, weight, None, Some(layer))
    }

    pub(crate) fn norm_kind(&self) -> Op {
        self.model.architecture.style.norm.op(self.model)
    }

    /// Whether the file gives this factor, other than 0.
    pub(crate) fn has_factor(&self, key: &str) -> bool {
        self.model.number(key).is_some_and(|factor| factor != 0.0)
    }

    /// A layer's norm with the architecture's op, and its bias where the file has one: `name` without `.weight`.
    pub(crate) fn layer_norm(&mut self, current: Id, layer: u32, name: &str) -> Id {
        let weight = self.weight(layer, &format!("{name}.weight"));
        let bias = self.weight(layer, &format!("{name}.bias"));
        let op = self.norm_kind();
        self.norm_op(op, current, weight, bias, Some(layer))
    }

    /// A projection, its NVFP4 scale, and its bias.
    pub(crate) fn project(&mut self, current: Id, layer: u32, name: &str) -> Id {
        let Some(weight) = self.weight(layer, &format!("{name}.weight")) else { return current };
        let mut current = self.graph.mul_mat(weight, current);
        if let Some(scale) = self.weight(layer, &format!("{name}.scale")) {
            current = self.graph.mul(current, scale);
        }
        if let Some(bias) = self.weight(layer, &format!("{name}.bias")) {
            current = self.graph.add(current, bias);
        }
        current
    }

    /// A projection without its bias.
    pub(crate) fn multiply(&mut self, current: Id, layer: u32, name: &str) -> Id {
        let Some(weight) = self.weight(layer, &format!("{name}.weight")) else { return current };
        let current = self.graph.mul_mat(weight, current);
        match self.weight(layer, &format!("{name}.scale")) {
            Some(scale) => self.graph.mul(current, scale),
            None => current,
        }
    }

    pub(crate) fn rope(&mut self, current: Id, factors: Id) -> Id {
        let positions = self.input_positions();
        let rotated = self.graph.like(Op::Rope, current, &[positions]);
        self.graph.get_mut(rotated).sources[2] = factors;
        rotated
    }

    /// Gate, up and down (`build_ffn`): `suffix` is empty, or `_shexp` for a shared expert.
    pub(crate) fn feed_forward(&mut self, current: Id, layer: u32, suffix: &str, activation: Activation) -> Id {
        let up = self.project(current, layer, &format!("ffn_up{suffix}"));
        let has_gate = self.has(layer, &format!("ffn_gate{suffix}.weight"));
        let hidden = if has_gate { self.project(current, layer, &format!("ffn_gate{suffix}")) } else { up };
        let mut activated = match activation {
            Activation::Gated if has_gate && self.clamps("swiglu_clamp_shexp", layer) => self.clamped(hidden, up),
            Activation::Gated if has_gate => self.graph.glu_split(hidden, up),
            Activation::Situ if has_gate => self.situ(hidden, up),
            Activation::GatedJoined => self.graph.glu(hidden),
            Activation::ReluSquared => {
                let relu = self.graph.unary(hidden);
                self.graph.like(Op::Sqr, relu, &[])
            }
            Activation::Gated | Activation::Plain | Activation::Situ => self.graph.unary(hidden),
        };
        if suffix.is_empty() && self.has(layer, "ffn_sub_norm.weight") {
            activated = self.layer_norm(activated, layer, "ffn_sub_norm");
        }
        self.project(activated, layer, &format!("ffn_down{suffix}"))
    }

    /// Whether a layer's gate and up are kept within bounds by nodes of their own; some architectures have one op for all of it.
    pub(crate) fn clamps(&self, key: &str, layer: u32) -> bool {
        // llama.cpp's threshold (`src/llama-graph.cpp:1883`).
        self.model.architecture.style.clamps_apart && self.model.number_at(key, layer).is_some_and(|limit| limit > 1e-6)
    }

    pub(crate) fn clamped(&mut self, gate: Id, up: Id) -> Id {
        let up = self.graph.like(Op::Clamp, up, &[]);
        let gate = self.graph.unary(gate);
        let gate = self.graph.like(Op::Clamp, gate, &[]);
        self.graph.mul(gate, up)
    }

    pub(crate) fn situ(&mut self, gate: Id, up: Id) -> Id {
        let bend = |builder: &mut Self, id: Id| {
            let small = builder.graph.scale(id);
            let bent = builder.graph.unary(small);
            builder.graph.scale(bent)
        };
        let bent = bend(self, gate);
        let share = self.graph.like(Op::Sigmoid, gate, &[]);
        let gate = self.graph.mul(bent, share);
        let bends_up = self.model.number("activation.situ_linear_beta").is_some_and(|beta| beta > 0.0);
        let up = if bends_up { bend(self, up) } else { up };
        self.graph.mul(gate, up)
    }

    /// The last norm and the logits; both stay until the graph ends.
    pub(crate) fn finish(&mut self, current: Id, op: Op) {
        let weight = self.last_norm();
        let bias = self.global("output_norm.bias");
        let normed = self.norm_op(op, current, weight, bias, None);
        self.finish_normed(normed);
    }

    pub(crate) fn last_norm(&mut self) -> Option<Id> {
        let misnamed = self.model.architecture.style.misnames_output_norm;
        self.global(if misnamed { "token_embd_norm.weight" } else { "output_norm.weight" })
            .or_else(|| self.global("enc.output_norm.weight"))
    }

    /// As [`Self::finish`], for models that can draft: all rows' hidden states stay, then the rows are chosen.
    pub(crate) fn finish_before_rows(&mut self, current: Id) {
        let weight = self.global("output_norm.weight");
        let normed = self.norm_op(Op::RmsNorm, current, weight, None, None);
        self.graph.get_mut(normed).is_output = true;
        let rows = self.output_rows_of(normed);
        self.finish_normed(rows);
    }

    pub(crate) fn finish_normed(&mut self, normed: Id) {
        let output = self.output_weight();
        let scaled = if self.model.architecture.style.scales_last_norm { self.graph.scale(normed) } else { normed };
        let mut logits = self.graph.mul_mat(output, scaled);
        if let Some(scale) = self.global("output.scale") {
            logits = self.graph.mul(logits, scale);
        }
        if let Some(bias) = self.global("output.bias") {
            logits = self.graph.add(logits, bias);
        }
        if self.model.architecture.style.masks_image_logits {
            let masked = self.graph.plain(TensorType::F32, [IMAGE_TOKENS, 1, 1, 1]);
            let masked = self.graph.like(Op::Clamp, masked, &[]);
            logits = self.graph.like(Op::Set, logits, &[masked]);
        }
        if self.has_factor("logit_scale") || self.model.architecture.style.scales_logits_always {
            logits = self.graph.scale(logits);
        }
        if self.has_factor("final_logit_softcapping") {
            logits = self.graph.scale(logits);
            logits = self.graph.unary(logits);
            logits = self.graph.scale(logits);
        }
        self.graph.get_mut(normed).is_output = true;
        self.graph.get_mut(logits).is_output = true;
        self.graph.expand(logits);
    }

    pub(crate) fn output_weight(&mut self) -> Id {
        if self.model.architecture.style.output_is_input {
            return self.token_table();
        }
        if let Some(output) = self.global("output.weight") {
            return output;
        }
        if self.tied_output == NONE
            && let Some(table) = self.model.weight("token_embd.weight")
        {
            self.tied_output = self.graph.resident(table.kind, table.dims, Home::Weight(self.placement.output));
        }
        self.tied_output
    }
}
