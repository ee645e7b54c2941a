//! Inputs of every layer: an embedding of the token for each of them (llama.cpp b11434 `src/models/gemma4.cpp:457`).

use super::builder::Builder;
use super::tensor::{Id, Op};
use crate::gguf::TensorType;

impl Builder<'_> {
    /// Elements of one layer's input, and what all layers' inputs are: [elements, tokens, layers].
    pub(crate) fn per_layer_inputs(&mut self, embedded: Id) -> Option<Id> {
        let table = self.global("per_layer_token_embd.weight")?;
        let (tokens, layers) = (self.batch.tokens, u64::from(self.model.layers()));
        let width = self.graph.ne(table, 0) / layers;
        let ids = self.graph.input(TensorType::I32, [tokens, 1, 1, 1]);
        let selected = self.graph.get_rows(table, ids);
        let selected = self.graph.reshape(selected, [width, layers, tokens, 1]);
        let selected = self.graph.scale(selected);
        self.graph.expand(selected);

        let projection = self.global("per_layer_model_proj.weight")?;
        let projected = self.graph.mul_mat(projection, embedded);
        let projected = self.graph.scale(projected);
        let projected = self.graph.reshape(projected, [width, layers, tokens, 1]);
        let norm = self.global("per_layer_proj_norm.weight");
        let projected = self.norm_op(Op::RmsNorm, projected, norm, None, None);
        let sum = self.graph.add(projected, selected);
        let sum = self.graph.scale(sum);
        let by_layer = self.graph.permute(sum, [0, 2, 1, 3]);
        Some(self.graph.cont(by_layer))
    }

    /// A layer's own input, gated by `current`, and brought back to the embedding's width.
    pub(crate) fn gated_layer_input(&mut self, current: Id, inputs: Id, layer: u32) -> Id {
        let gate = self.multiply(current, layer, "inp_gate");
        let gate = self.graph.unary(gate);
        let own = self.slice(inputs, u64::from(layer));
        let gated = self.graph.mul(gate, own);
        let projected = self.multiply(gated, layer, "proj");
        self.rms_norm(projected, layer, "post_norm.weight")
    }

    /// One of the matrices that `stack` holds.
    pub(crate) fn slice(&mut self, stack: Id, index: u64) -> Id {
        let (width, rows) = (self.graph.ne(stack, 0), self.graph.ne(stack, 1));
        self.graph.view_2d(stack, width, rows, width * 4, index * width * rows * 4)
    }
}
