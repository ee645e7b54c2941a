//! The context that drafts with a model's layers for multi-token prediction: the last token's embedding beside the hidden state
//! that led to it, one decoder layer, and logits (llama.cpp b11434 `src/models/qwen35moe.cpp:551`, `glm4-moe.cpp:132`).

use super::builder::Builder;
use super::tensor::Op;
use crate::gguf::TensorType;

impl Builder<'_> {
    /// Builds the graph; false for an architecture whose head is not described here.
    pub(crate) fn draft_head(&mut self) -> bool {
        let gated = match self.model.architecture.name.as_str() {
            "qwen35" | "qwen35moe" | "qwen3next" => true,
            "glm4moe" => false,
            _ => return false,
        };
        let layer = self.model.layers();
        if layer >= self.model.layers_all {
            return false;
        }
        let (tokens, width) = (self.batch.tokens, self.model.embedding);
        let table = match self.weight(layer, "nextn.embed_tokens.weight") {
            Some(own) => own,
            None => self.needed_global("token_embd.weight"),
        };
        let input = self.graph.input(TensorType::I32, [tokens, 1, 1, 1]);
        let embedded = self.graph.get_rows(table, input);
        let hidden = self.graph.input(TensorType::F32, [width, tokens, 1, 1]);
        self.input_positions();
        self.input_output_rows();
        let inputs = self.attention_inputs();
        let hidden = self.layer_norm(hidden, layer, "nextn.hnorm");
        let embedded = self.layer_norm(embedded, layer, "nextn.enorm");
        let both = self.graph.concat(embedded, hidden, 0);
        let current = self.multiply(both, layer, "nextn.eh_proj");
        let normed = self.layer_norm(current, layer, "attn_norm");
        let attended = if gated {
            self.gated_attention(&inputs, normed, layer)
        } else {
            self.self_attention(&inputs, normed, layer)
        };
        let middle = self.graph.add(attended, current);
        let normed = self.layer_norm(middle, layer, "post_attention_norm");
        let fed = self.feed_forward_or_experts(normed, layer);
        let current = self.graph.add(fed, middle);
        let norm = match self.weight(layer, "nextn.shared_head_norm.weight") {
            Some(own) => Some(own),
            None => self.global("output_norm.weight"),
        };
        let normed = self.norm_op(Op::RmsNorm, current, norm, None, None);
        self.graph.get_mut(normed).is_output = true;
        let rows = self.output_rows_of(normed);
        let own = self.weight(layer, "nextn.shared_head_head.weight");
        let output = own.unwrap_or_else(|| self.output_weight());
        let logits = self.graph.mul_mat(output, rows);
        self.graph.get_mut(logits).is_output = true;
        self.graph.expand(logits);
        true
    }
}
