//! Encoders: attention of a batch over itself, no cache, embeddings out instead of logits
//! (llama.cpp b11434 `src/models/bert.cpp`, `src/llama-graph.cpp:2832` and `:3797`).

use super::attention::{Attention, AttentionInputs, CacheInputs};
use super::builder::Builder;
use super::tensor::{Id, NONE, Op};
use crate::fit::architecture::Rope;
use crate::gguf::TensorType;

/// How the rows of an input become one embedding: `pooling_type` in the file (`include/llama.h`, `llama_pooling_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pooling {
    None,
    Mean,
    /// One row of each sequence: the first or the last.
    Row,
    /// A score of each sequence, from one row or from the mean.
    Rank {
        mean: bool,
    },
}

impl Builder<'_> {
    /// BERT and its kin: norms come after attention and after feed-forward.
    pub(crate) fn bert(&mut self) {
        let mut current = self.input_embedding(false);
        if let Some(types) = self.global("token_types.weight") {
            let first = self.graph.view_1d(types, self.model.embedding, 0);
            current = self.graph.add(current, first);
        }
        if let Some(table) = self.global("position_embd.weight") {
            let positions = self.input_positions();
            let rows = self.graph.get_rows(table, positions);
            current = self.graph.add(rows, current);
        }
        let (weight, bias) = (self.global("token_embd_norm.weight"), self.global("token_embd_norm.bias"));
        current = self.norm_op(Op::Norm, current, weight, bias, Some(0));
        let inputs = self.batch_inputs();
        for layer in self.layers.clone() {
            current = self.bert_layer(&inputs, current, layer);
            self.end_layer(current);
        }
        self.finish_embeddings(current);
    }

    fn bert_layer(&mut self, inputs: &AttentionInputs, input: Id, layer: u32) -> Id {
        let (q, k, v) = self.queries_keys_values(input, layer);
        let mut q = self.whole_row_norm(q, layer, "attn_q_norm");
        let mut k = self.whole_row_norm(k, layer, "attn_k_norm");
        if self.model.architecture.style.rope != Rope::Never {
            q = self.rope(q, NONE);
            k = self.rope(k, NONE);
        }
        let mut current = self.attend(inputs, layer, q, k, v, Attention::PLAIN);
        let mut input = input;
        if self.is_last(layer) {
            current = self.output_rows_of(current);
            input = self.output_rows_of(input);
        }
        current = self.graph.add(current, input);
        current = self.layer_norm(current, layer, "attn_output_norm");
        if self.has(layer, "attn_norm_2.weight") {
            current = self.graph.add(current, input);
            current = self.layer_norm(current, layer, "attn_norm_2");
        }
        let fed = if self.has(layer, "ffn_gate_inp.weight") {
            self.experts(current, layer, None)
        } else {
            self.feed_forward(current, layer, "", self.bert_activation(layer))
        };
        let sum = self.graph.add(fed, current);
        self.layer_norm(sum, layer, "layer_output_norm")
    }

    /// The up projection of some files holds the gate, too (Jina v2).
    fn bert_activation(&self, layer: u32) -> super::builder::Activation {
        use super::builder::Activation;
        let wide = |name| self.model.layer_weight(layer, name).map_or(0, |weight| weight.dims[1]);
        let inner = self.model.layer_weight(layer, "ffn_down.weight").map_or(0, |weight| weight.dims[0]);
        let joined = !self.has(layer, "ffn_gate.weight") && wide("ffn_up.weight") != inner;
        if joined { Activation::GatedJoined } else { Activation::Gated }
    }

    /// All heads of Q or K are normed as one row, where the model has weights for it.
    fn whole_row_norm(&mut self, current: Id, layer: u32, name: &str) -> Id {
        if !self.has(layer, &format!("{name}.weight")) {
            return current;
        }
        let ne = self.graph.get(current).ne;
        let rows = self.graph.reshape(current, [ne[0] * ne[1], ne[2], 1, 1]);
        let normed = self.layer_norm(rows, layer, name);
        self.graph.reshape(normed, ne)
    }

    /// Attention of the batch over itself.
    pub(crate) fn batch_inputs(&mut self) -> AttentionInputs {
        let full = self.mask_of_batch();
        let window = (self.model.window > 0).then(|| self.mask_of_batch());
        AttentionInputs { full, window, cached: false }
    }

    fn mask_of_batch(&mut self) -> CacheInputs {
        let tokens = self.batch.tokens;
        let kind = if self.context.flash_attention { TensorType::F16 } else { TensorType::F32 };
        let mask = self.graph.input(kind, [tokens, tokens, 1, 1]);
        CacheInputs { k_rows: NONE, v_rows: NONE, mask, k_rotation: NONE, v_rotation: NONE, cells: tokens }
    }

    /// The embeddings of all rows stay; where they are asked for, they are pooled and projected.
    pub(crate) fn finish_embeddings(&mut self, current: Id) {
        self.graph.get_mut(current).is_output = true;
        self.graph.expand(current);
        if !self.context.embeddings {
            return;
        }
        let pooled = match self.model.pooling() {
            Pooling::None => current,
            Pooling::Mean => self.mean_of_rows(current),
            Pooling::Row => self.row_of_sequence(current),
            Pooling::Rank { mean } => {
                let row = if mean { self.mean_of_rows(current) } else { self.row_of_sequence(current) };
                self.score(row)
            }
        };
        self.graph.get_mut(pooled).is_output = true;
        self.graph.expand(pooled);
        let mut dense = pooled;
        for name in ["dense_2", "dense_3"] {
            if let Some(weight) = self.global(&format!("{name}.weight")) {
                dense = self.graph.mul_mat(weight, dense);
            }
            if let Some(bias) = self.global(&format!("{name}.bias")) {
                dense = self.graph.add(dense, bias);
            }
        }
        if dense != pooled {
            // Only the last result is put out.
            self.graph.get_mut(pooled).is_output = pooled == current;
            self.graph.get_mut(dense).is_output = true;
            self.graph.expand(dense);
        }
    }

    fn mean_of_rows(&mut self, current: Id) -> Id {
        let factors = self.graph.input(TensorType::F32, [self.batch.tokens, self.batch.sequences, 1, 1]);
        let columns = self.graph.transpose(current);
        let columns = self.graph.cont(columns);
        self.graph.mul_mat(columns, factors)
    }

    fn row_of_sequence(&mut self, current: Id) -> Id {
        let rows = self.input_rows(self.batch.sequences);
        self.graph.get_rows(current, rows)
    }

    /// The classification head.
    fn score(&mut self, row: Id) -> Id {
        let mut current = row;
        if let Some(head) = self.global("cls.weight") {
            current = self.graph.mul_mat(head, current);
            if let Some(bias) = self.global("cls.bias") {
                current = self.graph.add(current, bias);
            }
            current = self.graph.unary(current);
            if let Some(norm) = self.global("cls.norm.weight") {
                current = self.norm_op(Op::Norm, current, Some(norm), None, None);
            }
        }
        if let Some(head) = self.global("cls.output.weight") {
            current = self.graph.mul_mat(head, current);
            if let Some(bias) = self.global("cls.output.bias") {
                current = self.graph.add(current, bias);
            }
        }
        current
    }
}
