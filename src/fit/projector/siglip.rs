//! `SigLIP` encoders and what follows them: Gemma 3, Idefics 3, LFM2, Janus, Phi 4, Kimi (b11434 `tools/mtmd/models/siglip.cpp`).

use super::encoder::{Encoder, Form, Rope};
use crate::fit::graph::tensor::{Id, NONE, Op};
use crate::gguf::TensorType;

impl Encoder<'_> {
    pub(super) fn siglip(&mut self, kind: &str) -> Option<Id> {
        let patches = self.patch_rows()?;
        let positions = match kind {
            "lfm2" | "phi4" => self.stretched_positions()?,
            _ => self.weight("v.position_embd.weight").unwrap_or(NONE),
        };
        let current = self.transformer(patches, self.patches(), &Form { positions, ..Form::PLAIN })?;
        match kind {
            "gemma3" => self.gemma3_projection(current),
            "idefics3" => {
                let merged = self.merge_patches(current);
                self.multiply("mm.model.fc", merged)
            }
            "lfm2" => {
                let merged = self.merge_patches(current);
                let normed = self.norm_if(Op::Norm, "mm.input_norm", merged);
                self.feed_forward(["mm.1", "", "mm.2"], normed)
            }
            "janus_pro" => self.feed_forward(["mm.0", "", "mm.1"], current),
            _ => self.feed_forward(["mm.0", "", "mm.2"], current),
        }
    }

    fn gemma3_projection(&mut self, current: Id) -> Option<Id> {
        let (columns, width) = (self.columns(), self.side.width);
        let by_column = self.graph.transpose(current);
        let square = self.graph.cont_shaped(by_column, [columns, columns, width, 1]);
        let pooled = self.pool_2d(square, self.side.merge);
        let side = self.graph.ne(pooled, 0);
        let pooled = self.graph.reshape(pooled, [side * side, width, 1, 1]);
        let pooled = self.graph.transpose(pooled);
        let pooled = self.graph.cont(pooled);
        let normed = self.graph.rms_norm(pooled);
        let normed = self.times("mm.soft_emb_norm.weight", normed);
        let weight = self.weight("mm.input_projection.weight")?;
        let weight = self.graph.transpose(weight);
        let weight = self.graph.cont(weight);
        Some(self.graph.mul_mat(weight, normed))
    }

    /// Squares of patches become one row (`clip_graph::build_patch_merge_permute`).
    fn merge_patches(&mut self, current: Id) -> Id {
        let scale = self.side.merge;
        let width = self.graph.ne(current, 0);
        let (mut columns, mut rows) = (self.columns(), self.rows());
        let mut current = self.graph.reshape(current, [width, columns, rows, 1]);
        if !columns.is_multiple_of(scale) || !rows.is_multiple_of(scale) {
            (columns, rows) = (columns.next_multiple_of(scale), rows.next_multiple_of(scale));
            current = self.graph.push(TensorType::F32, Op::Pad, [width, columns, rows, 1], &[current]);
        }
        let current = self.graph.reshape(current, [width * scale, columns / scale, rows, 1]);
        let current = self.graph.permute(current, [0, 2, 1, 3]);
        let wide = width * scale * scale;
        let current = self.graph.cont_shaped(current, [wide, rows / scale, columns / scale, 1]);
        let current = self.graph.permute(current, [0, 2, 1, 3]);
        self.graph.cont_shaped(current, [wide, (rows / scale) * (columns / scale), 1, 1])
    }

    pub(super) fn kimivl(&mut self) -> Option<Id> {
        let (width, squares) = (self.side.width, self.side.merge * self.side.merge);
        let (down, across) = (self.positions(self.patches()), self.positions(self.patches()));
        let positions = self.stretched_positions()?;
        let patches = self.patch_rows()?;
        let form = Form { positions, rope: Rope::Halves(across, down), ..Form::PLAIN };
        let current = self.transformer(patches, self.patches(), &form)?;
        let merged = self.merge_patches(current);
        let tokens = self.graph.ne(merged, 1);
        let apart = self.graph.view_2d(merged, width, tokens * squares, width * 4, 0);
        let normed = self.norm(Op::Norm, "mm.input_norm", apart);
        let together = self.graph.view_2d(normed, width * squares, tokens, width * squares * 4, 0);
        self.feed_forward(["mm.1", "", "mm.2"], together)
    }
}
