//! Encoders that take patches in squares of four: Qwen 2 VL to 3.5, GLM 4V (b11434 `tools/mtmd/models/qwen2vl.cpp`, `qwen3vl.cpp`, `glm4v.cpp`).

use super::encoder::{Encoder, Form, Rope};
use crate::fit::graph::tensor::{Id, NONE, Op};
use crate::gguf::TensorType;

impl Encoder<'_> {
    /// Two frames at once; then rows in squares of four patches.
    fn two_frames(&mut self) -> Option<Id> {
        let image = self.image(3);
        let kernels = [self.weight("v.patch_embd.weight")?, self.weight("v.patch_embd.weight.1")?];
        let first = self.convolve(kernels[0], image);
        let second = self.convolve(kernels[1], image);
        let both = self.graph.add(first, second);
        let both = self.graph.permute(both, [1, 2, 0, 3]);
        Some(self.in_squares(both))
    }

    fn in_squares(&mut self, rows: Id) -> Id {
        let (columns, height, width) = (self.columns(), self.rows(), self.side.width);
        let pairs = self.graph.cont_shaped(rows, [width * 2, columns / 2, height, 1]);
        let pairs = self.graph.reshape(pairs, [width * 2, columns / 2, 2, height / 2]);
        let pairs = self.graph.permute(pairs, [0, 2, 1, 3]);
        self.graph.cont_shaped(pairs, [width, columns * height, 1, 1])
    }

    pub(super) fn qwen2vl(&mut self, has_gates: bool) -> Option<Id> {
        let (count, width) = (self.patches(), self.side.width);
        let norm = if has_gates { Op::RmsNorm } else { Op::Norm };
        let pattern = self.side.window_pattern;
        let mut current = self.two_frames()?;
        let positions = self.positions(count * 4);
        current = self.norm_if(norm, "v.pre_ln", current);
        let mut mask = NONE;
        if pattern > 0 {
            let order = self.positions(count / 4);
            mask = self.input(TensorType::F32, [count, count, 1, 1]);
            if self.flash_attention {
                mask = self.graph.cast(mask, TensorType::F16);
            }
            let squares = self.graph.reshape(current, [width * 4, count / 4, 1, 1]);
            let squares = self.graph.get_rows(squares, order);
            current = self.graph.reshape(squares, [width, count, 1, 1]);
        }
        let form = Form { norm, rope: Rope::Whole(positions), ..Form::PLAIN };
        for layer in 0..self.side.layers {
            let whole = pattern == 0 || (layer + 1).is_multiple_of(pattern);
            current = self.block(layer, current, count, &form, if whole { NONE } else { mask })?;
        }
        current = self.norm_if(norm, "v.post_ln", current);
        let squares = self.graph.reshape(current, [width * 4, count / 4, 1, 1]);
        let mut tokens = self.feed_forward(["mm.0", "", "mm.2"], squares)?;
        if pattern > 0 {
            let order = self.positions(count / 4);
            let text = self.graph.ne(tokens, 0);
            tokens = self.graph.reshape(tokens, [text, count / 4, 1, 1]);
            tokens = self.graph.get_rows(tokens, order);
            tokens = self.graph.reshape(tokens, [text, count / 4, 1, 1]);
        }
        Some(tokens)
    }

    pub(super) fn qwen3vl(&mut self) -> Option<Id> {
        let (count, width) = (self.patches(), self.side.width);
        let squares = self.side.merge * self.side.merge;
        let patches = self.two_frames()?;
        let patches = self.plus("v.patch_embd.bias", patches);
        let learned = self.stretched_positions()?;
        let learned = self.in_squares(learned);
        let mut current = self.graph.add(patches, learned);
        let positions = self.positions(count * 4);
        current = self.norm_if(Op::Norm, "v.pre_ln", current);
        let form = Form { rope: Rope::Whole(positions), ..Form::PLAIN };
        let mut features = NONE;
        for layer in 0..self.side.layers {
            current = self.block(layer, current, count, &form, NONE)?;
            let part = |part: &str| format!("v.deepstack.{layer}.{part}");
            if self.shape(&part("fc1.weight")).is_some() {
                let feature = self.graph.reshape(current, [width * squares, count / squares, 1, 1]);
                let feature = self.norm(Op::Norm, &part("norm"), feature);
                let feature = self.feed_forward([&part("fc1"), "", &part("fc2")], feature)?;
                features = if features == NONE { feature } else { self.graph.concat(features, feature, 0) };
            }
        }
        current = self.norm_if(Op::Norm, "v.post_ln", current);
        let tokens = self.graph.reshape(current, [width * 4, count / 4, 1, 1]);
        let tokens = self.feed_forward(["mm.0", "", "mm.2"], tokens)?;
        Some(if features == NONE { tokens } else { self.graph.concat(tokens, features, 0) })
    }

    pub(super) fn glm4v(&mut self) -> Option<Id> {
        let (count, width, merge) = (self.patches(), self.side.width, self.side.merge);
        let patches = self.two_frames()?;
        let patches = self.plus("v.patch_embd.bias", patches);
        let patches = self.norm_if(Op::RmsNorm, "v.norm_embd", patches);
        let positions = self.positions(count * 4);
        let learned = match self.shape("v.position_embd.weight") {
            Some(_) => {
                let learned = self.stretched_positions()?;
                self.in_squares(learned)
            }
            None => NONE,
        };
        let form = Form { norm: Op::RmsNorm, positions: learned, rope: Rope::Whole(positions), ..Form::PLAIN };
        let current = self.transformer(patches, count, &form)?;
        let tokens = count / merge / merge;
        let current = self.graph.reshape(current, [width, merge, merge, tokens]);
        let current = self.graph.permute(current, [2, 0, 1, 3]);
        let current = self.graph.cont(current);
        let kernel = self.weight("mm.patch_merger.weight")?;
        let current = self.convolve(kernel, current);
        let out = self.graph.ne(current, 2);
        let current = self.graph.reshape(current, [out, tokens, 1, 1]);
        let current = self.plus("mm.patch_merger.bias", current);
        let current = self.multiply("mm.model.fc", current)?;
        let current = self.norm(Op::Norm, "mm.post_norm", current);
        let current = self.graph.unary(current);
        self.feed_forward(["mm.up", "mm.gate", "mm.down"], current)
    }
}
