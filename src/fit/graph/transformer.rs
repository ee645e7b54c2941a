//! The decoder that most models are: norm, attention, residual, norm, feed-forward or experts, residual
//! (llama.cpp b11434 `src/models/llama.cpp` and its many siblings).

use super::attention::AttentionInputs;
use super::builder::Builder;
use super::tensor::Id;

impl Builder<'_> {
    pub(crate) fn transformer(&mut self) {
        let style = self.model.architecture.style;
        let embedded = self.input_embedding(style.scales_embedding);
        let mut current = self.prepared_embedding(embedded);
        let start = current;
        if self.has_temperature() {
            self.input_attention_scale();
        }
        let encodes = self.model.architecture.encodes();
        let inputs = if encodes { self.batch_inputs() } else { self.attention_inputs() };
        for layer in self.layers.clone() {
            current = self.transformer_layer(&inputs, current, layer);
            current = self.add_scaled_embedding(current, start, layer);
            current = self.add_deepstack(current, embedded, layer);
            current = self.loop_norm(current, layer);
            self.end_layer(current);
        }
        if encodes {
            let (weight, bias) = (self.last_norm(), self.global("output_norm.bias"));
            let normed = self.norm_op(self.norm_kind(), current, weight, bias, None);
            self.finish_embeddings(normed);
            return;
        }
        if style.rows_after_norm {
            let (weight, bias) = (self.global("output_norm.weight"), self.global("output_norm.bias"));
            let normed = self.norm_op(self.norm_kind(), current, weight, bias, None);
            self.graph.get_mut(normed).is_output = true;
            let rows = self.output_rows_of(normed);
            self.finish_normed(rows);
            return;
        }
        if style.rows_late {
            self.graph.get_mut(current).is_output = true;
            current = self.output_rows_of(current);
        }
        self.finish(current, self.norm_kind());
    }

    /// What happens to the embeddings before the first layer.
    fn prepared_embedding(&mut self, embedded: Id) -> Id {
        let style = self.model.architecture.style;
        let mut current = embedded;
        if style.scales_embedding_plainly {
            current = self.graph.scale(current);
        }
        if style.adds_positions
            && let Some(table) = self.global("position_embd.weight")
        {
            let positions = self.input_positions();
            let rows = self.graph.get_rows(table, positions);
            current = self.graph.add(current, rows);
        }
        if style.norms_embedding {
            let (weight, bias) = (self.global("token_embd_norm.weight"), self.global("token_embd_norm.bias"));
            current = self.norm_op(self.norm_kind(), current, weight, bias, Some(0));
        }
        current
    }

    fn transformer_layer(&mut self, inputs: &AttentionInputs, input: Id, layer: u32) -> Id {
        let style = self.model.architecture.style;
        if self.model.heads[layer as usize] == 0 {
            return self.layer_without_attention(input, layer);
        }
        let last = self.is_last(layer) && !style.rows_late && !style.rows_after_norm && !style.keeps_all_rows;
        let no_norm = self.norms_after() || style.first_norm_optional && !self.has(layer, "attn_norm.weight");
        let mut normed = if no_norm { input } else { self.layer_norm(input, layer, "attn_norm") };
        let mut logits = style.routes_early.then(|| self.multiply(input, layer, "ffn_gate_inp"));
        let attends_from =
            if self.has(layer, "attn_norm_2.weight") { self.layer_norm(input, layer, "attn_norm_2") } else { normed };
        let mut attended = if self.model.kv_heads[layer as usize] == 0 {
            self.multiply(attends_from, layer, "attn_output")
        } else {
            self.self_attention(inputs, attends_from, layer)
        };
        let mut residual = input;
        if style.rows_after_post_norm {
            attended = self.after_attention(attended, layer);
        }
        if last {
            attended = self.output_rows_of(attended);
            residual = self.output_rows_of(residual);
            normed = self.output_rows_of(normed);
            logits = logits.map(|logits| self.output_rows_of(logits));
        }
        if self.is_parallel() {
            return self.feed_in_parallel(attended, normed, residual, layer);
        }
        if !style.rows_after_post_norm {
            attended = self.after_attention(attended, layer);
        }
        attended = self.scale_residual(attended);
        let middle = if style.residual_first_in_attention {
            self.graph.add(residual, attended)
        } else {
            self.graph.add(attended, residual)
        };
        let fed_from = match self.norm_before_feed_forward(layer) {
            None if style.feeds_from_attention_norm => normed,
            _ if self.norms_after() => middle,
            name => self.layer_norm(middle, layer, name.unwrap_or("ffn_norm")),
        };
        let mut fed = self.fed(fed_from, layer, logits);
        fed = self.after_feed_forward(fed, layer);
        fed = self.scale_residual(fed);
        let sum = if style.residual_first { self.graph.add(middle, fed) } else { self.graph.add(fed, middle) };
        self.add_experts_beside(sum, residual, layer)
    }

    /// Layers of searched architectures have feed-forward only, or nothing (Nemotron Super).
    fn layer_without_attention(&mut self, input: Id, layer: u32) -> Id {
        if !self.has(layer, "ffn_up.weight") {
            return input;
        }
        let input = if self.is_last(layer) { self.output_rows_of(input) } else { input };
        let normed = self.layer_norm(input, layer, "ffn_norm");
        let fed = self.feed_forward_or_experts(normed, layer);
        self.graph.add(fed, input)
    }

    fn is_parallel(&self) -> bool {
        let style = self.model.architecture.style;
        style.parallel
            || style.parallel_unless_said && self.model.number("use_parallel_residual").is_none_or(|flag| flag != 0.0)
    }

    /// Feed-forward beside attention, and the sum of both.
    fn feed_in_parallel(&mut self, attended: Id, normed: Id, residual: Id, layer: u32) -> Id {
        let style = self.model.architecture.style;
        let fed_from =
            if self.has(layer, "ffn_norm.weight") { self.layer_norm(residual, layer, "ffn_norm") } else { normed };
        let fed = self.fed(fed_from, layer, None);
        if style.residual_before_attention {
            let sum = self.graph.add(fed, residual);
            return self.graph.add(sum, attended);
        }
        let sum = if style.attention_first { self.graph.add(attended, fed) } else { self.graph.add(fed, attended) };
        self.graph.add(sum, residual)
    }

    fn norm_before_feed_forward(&self, layer: u32) -> Option<&'static str> {
        let style = self.model.architecture.style;
        if style.post_norm_is_ffn_norm {
            return Some("post_attention_norm");
        }
        if self.has(layer, "attn_output_norm.weight") && !style.attn_output_norm_is_post_norm {
            return Some("attn_output_norm");
        }
        self.has(layer, "ffn_norm.weight").then_some("ffn_norm")
    }

    fn after_attention(&mut self, attended: Id, layer: u32) -> Id {
        let style = self.model.architecture.style;
        if self.is_swin() {
            return self.layer_norm(attended, layer, "attn_norm");
        }
        let name = if style.attn_output_norm_is_post_norm { "attn_output_norm" } else { "post_attention_norm" };
        let Some(weight) = self.weight(layer, &format!("{name}.weight")).filter(|_| !style.post_norm_is_ffn_norm)
        else {
            return attended;
        };
        let pinned = (!style.unpinned_post_norms).then_some(layer);
        self.norm_op(self.norm_kind(), attended, Some(weight), None, pinned)
    }

    fn after_feed_forward(&mut self, fed: Id, layer: u32) -> Id {
        if self.is_swin() {
            return self.layer_norm(fed, layer, "ffn_norm");
        }
        let weight =
            self.weight(layer, "post_ffw_norm.weight").or_else(|| self.weight(layer, "layer_output_norm.weight"));
        let Some(weight) = weight else { return fed };
        let pinned = self.model.architecture.style.pins_last_norm.then_some(layer);
        self.norm_op(self.norm_kind(), fed, Some(weight), None, pinned)
    }

    /// Experts, or a dense block; `logits` where the router has been asked already.
    fn fed(&mut self, from: Id, layer: u32, logits: Option<Id>) -> Id {
        let style = self.model.architecture.style;
        if logits.is_some() {
            return self.experts(from, layer, logits);
        }
        if style.dense_beside_experts && self.has(layer, "ffn_gate_inp.weight") {
            let routed = self.experts(from, layer, None);
            if !self.has(layer, "ffn_up.weight") {
                return routed;
            }
            let dense = self.feed_forward(from, layer, "", style.activation);
            let sum = self.graph.add(dense, routed);
            return self.graph.scale(sum);
        }
        // Experts of their own input come later.
        if self.has(layer, "ffn_norm_exps.weight") {
            return self.feed_forward(from, layer, "", style.activation);
        }
        let fed = self.feed_forward_or_experts(from, layer);
        let has_shared = self.has(layer, "ffn_up_shexp.weight");
        if style.scales_shared_sum && has_shared { self.graph.scale(fed) } else { fed }
    }

    /// Experts that read the layer's input (Arctic).
    fn add_experts_beside(&mut self, sum: Id, residual: Id, layer: u32) -> Id {
        if !self.has(layer, "ffn_norm_exps.weight") {
            return sum;
        }
        let normed = self.layer_norm(residual, layer, "ffn_norm_exps");
        let routed = self.experts(normed, layer, None);
        self.graph.add(routed, sum)
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

    fn norms_after(&self) -> bool {
        self.model.architecture.style.norms_after || self.is_swin()
    }

    /// Chameleon 34B norms what attention and feed-forward give, not what they take.
    fn is_swin(&self) -> bool {
        self.model.architecture.style.norms_after_if_swin && self.has_factor("swin_norm")
    }

    /// Talkie lets every layer hear the beginning.
    fn add_scaled_embedding(&mut self, current: Id, start: Id, layer: u32) -> Id {
        if !self.model.architecture.style.adds_scaled_embedding {
            return current;
        }
        let Some(scale) = self.weight(layer, "layer_output_scale.weight") else { return current };
        let start = if self.is_last(layer) { self.output_rows_of(start) } else { start };
        let part = self.graph.mul(start, scale);
        self.graph.add(current, part)
    }

    /// The norm between two passes of all layers.
    fn loop_norm(&mut self, current: Id, layer: u32) -> Id {
        if !self.model.ends_loop(layer) {
            return current;
        }
        let weight = self.global("output_norm.weight");
        self.norm_op(self.norm_kind(), current, weight, None, Some(layer))
    }

    /// Granite scales what it adds to the residual.
    pub(crate) fn scale_residual(&mut self, current: Id) -> Id {
        if self.has_factor("residual_scale") || self.model.architecture.style.scales_residual_always {
            self.graph.scale(current)
        } else {
            current
        }
    }
}
