//! Encoders with a class token beside the patches: `LLaVA`, `InternVL`, Llama 4 (b11434 `tools/mtmd/models/llava.cpp`, `internvl.cpp`, `llama4.cpp`).

use super::encoder::{Encoder, Form, Rope};
use crate::fit::graph::tensor::{Id, NONE, Op};
use crate::gguf::TensorType;

impl Encoder<'_> {
    /// `LLaVA` 1.5, Granite vision, Yi: without the last layer, or as deep as the layers that are asked for.
    pub(super) fn llava(&mut self) -> Option<Id> {
        let mut patches = self.patch_rows()?;
        let mut count = self.patches();
        if let Some(class) = self.weight("v.class_embd") {
            patches = self.graph.concat(patches, class, 1);
            count += 1;
        }
        let learned = self.weight("v.position_embd.weight")?;
        let positions = self.positions(count);
        let positions = self.graph.get_rows(learned, positions);
        let mut current = self.graph.add(patches, positions);
        current = self.norm_if(Op::Norm, "v.pre_ln", current);
        let asked = self.side.feature_layers.clone();
        let depth = asked.iter().copied().max().unwrap_or(self.side.layers.saturating_sub(1));
        let mut stacked = Vec::new();
        for layer in 0..depth {
            if asked.contains(&layer) {
                stacked.push(current);
            }
            current = self.block(layer, current, count, &Form::PLAIN, NONE)?;
        }
        current = self.norm_if(Op::Norm, "v.post_ln", current);
        if asked.contains(&depth) {
            stacked.push(current);
        }
        let mut features = stacked.first().copied().unwrap_or(current);
        for more in stacked.into_iter().skip(1) {
            features = self.graph.concat(features, more, 0);
        }
        let [width, rows, ..] = self.graph.get(features).ne;
        let features = self.graph.reshape(features, [width, rows, 1, 1]);
        let chosen = self.positions(self.patches());
        let features = self.graph.get_rows(features, chosen);
        if self.shape("mm.3.weight").is_none() {
            let hidden = self.linear("mm.0", features)?;
            let hidden = self.graph.unary(hidden);
            return Some(self.linear("mm.2", hidden).unwrap_or(hidden));
        }
        let hidden = self.linear("mm.0", features)?;
        let hidden = self.norm(Op::Norm, "mm.1", hidden);
        let hidden = self.graph.unary(hidden);
        let out = self.linear("mm.3", hidden)?;
        Some(self.norm(Op::Norm, "mm.4", out))
    }

    pub(super) fn internvl(&mut self) -> Option<Id> {
        let (columns, rows, width, scale) = (self.columns(), self.rows(), self.side.width, self.side.merge);
        let patches = self.patch_rows()?;
        let class = self.weight("v.class_embd")?;
        let class = self.graph.repeat(class, [width, 1, 1, 1]);
        let patches = self.graph.concat(patches, class, 1);
        // The 6B encoder, by its shape.
        let norm = if (width, self.side.layers) == (3200, 45) { Op::RmsNorm } else { Op::Norm };
        let positions = self.weight("v.position_embd.weight")?;
        let current = self.transformer(patches, self.patches() + 1, &Form { norm, positions, ..Form::PLAIN })?;
        let (row, all) = (self.graph.nb(current, 1), self.graph.nb(current, 2));
        let current = self.graph.view_3d(current, [width, columns * rows, 1], [row, all], 0);
        let current = self.graph.cont(current);
        let current = self.graph.reshape(current, [width * scale, rows / scale, columns, 1]);
        let current = self.graph.permute(current, [0, 2, 1, 3]);
        let wide = width * scale * scale;
        let current = self.graph.cont_shaped(current, [wide, rows / scale, columns / scale, 1]);
        let current = self.graph.permute(current, [0, 2, 1, 3]);
        let current = self.graph.cont_shaped(current, [wide, (rows / scale) * (columns / scale), 1, 1]);
        let normed = self.norm(Op::Norm, "mm.model.mlp.0", current);
        self.feed_forward(["mm.model.mlp.1", "", "mm.model.mlp.3"], normed)
    }

    pub(super) fn llama4(&mut self) -> Option<Id> {
        let (columns, rows, width, patch) = (self.columns(), self.rows(), self.side.width, self.side.patch);
        let (scale, count) = (self.side.merge, self.patches());
        let (down, across) = (self.positions(count + 1), self.positions(count + 1));
        let image = self.image(3);
        let weight = self.weight("v.patch_embd.weight")?;
        let kernel = self.graph.reshape(weight, [patch, patch, 3, width]);
        let ne = [patch * patch * 3, columns, rows, 1];
        let unrolled = self.graph.push(TensorType::F32, Op::Unroll, ne, &[kernel, image]);
        let patches = self.graph.mul_mat(weight, unrolled);
        let patches = self.graph.reshape(patches, [width, count, 1, 1]);
        let class = self.weight("v.class_embd")?;
        let patches = self.graph.concat(patches, class, 1);
        let positions = self.weight("v.position_embd.weight")?;
        let form = Form { positions, rope: Rope::Halves(across, down), ..Form::PLAIN };
        let current = self.transformer(patches, count + 1, &form)?;
        let current = self.graph.view_2d(current, width, count, width * 4, 0);
        let current = self.graph.reshape(current, [width * scale, columns / scale, rows, 1]);
        let current = self.graph.permute(current, [0, 2, 1, 3]);
        let wide = width * scale * scale;
        let current = self.graph.cont_shaped(current, [wide, columns / scale, rows / scale, 1]);
        let current = self.graph.cont_shaped(current, [wide, count / scale / scale, 1, 1]);
        let hidden = self.multiply("mm.model.mlp.1", current)?;
        let hidden = self.graph.unary(hidden);
        let hidden = self.multiply("mm.model.mlp.2", hidden)?;
        let hidden = self.graph.unary(hidden);
        self.multiply("mm.model.fc", hidden)
    }
}
