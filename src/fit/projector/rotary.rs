//! Encoders whose patches have a rotary position for each direction: Pixtral, Gemma 4 (b11434 `tools/mtmd/models/pixtral.cpp`, `gemma4v.cpp`).

use super::encoder::{Encoder, Form, Rope};
use crate::fit::graph::tensor::{Id, Op};
use crate::gguf::TensorType;

impl Encoder<'_> {
    pub(super) fn pixtral(&mut self) -> Option<Id> {
        let (columns, rows, width, merge) = (self.columns(), self.rows(), self.side.width, self.side.merge);
        let (down, across) = (self.positions(self.patches()), self.positions(self.patches()));
        let patches = self.patch_rows()?;
        let kind = self.graph.get(patches).kind;
        let form = Form { norm: Op::RmsNorm, rope: Rope::Halves(down, across), ..Form::PLAIN };
        let mut current = self.transformer(patches, self.patches(), &form)?;
        if self.shape("mm.patch_merger.weight").is_some() {
            let normed = self.graph.rms_norm(current);
            let normed = self.times("mm.input_norm.weight", normed);
            let square = self.graph.reshape(normed, [width, columns, rows, 1]);
            let square = self.graph.permute(square, [2, 0, 1, 3]);
            let square = self.graph.cont(square);
            let kernel = self.graph.view(square, [merge, merge, width, 1], [0, 0, 0], 0);
            let ne = [merge * merge * width, columns / merge, rows / merge, 1];
            let unrolled = self.graph.push(kind, Op::Unroll, ne, &[kernel, square]);
            let unrolled = self.graph.reshape(unrolled, [ne[0], ne[1] * ne[2], 1, 1]);
            current = self.multiply("mm.patch_merger", unrolled)?;
        }
        current = self.feed_forward(["mm.1", "", "mm.2"], current)?;
        let Some(row_end) = self.weight("v.token_embd.img_break") else { return Some(current) };
        // The end of each row of the image is a token of its own.
        let (across, down, text) = (columns / merge, rows / merge, self.graph.ne(current, 0));
        let grid = self.graph.reshape(current, [text, across, down, 1]);
        let ends = self.graph.push(TensorType::F32, Op::None, [text, 1, down, 1], &[]);
        let ends = self.graph.scale(ends);
        let ends = self.graph.add(ends, row_end);
        let grid = self.graph.concat(grid, ends, 1);
        Some(self.graph.view_2d(grid, text, across * down + down - 1, text * 4, 0))
    }

    pub(super) fn gemma4(&mut self) -> Option<Id> {
        self.clamps = true;
        let (columns, rows, width, count) = (self.columns(), self.rows(), self.side.width, self.patches());
        let image = self.image(3);
        let image = self.graph.scale(image);
        let kernel = self.weight("v.patch_embd.weight")?;
        let patches = self.convolve(kernel, image);
        let patches = self.graph.reshape(patches, [count, width, 1, 1]);
        let patches = self.graph.transpose(patches);
        let mut current = self.graph.cont(patches);
        let (across, down) = (self.positions(count), self.positions(count));
        let learned = self.weight("v.position_embd.weight")?;
        let [_, places, ..] = self.graph.get(learned).ne;
        let row = self.graph.get(learned).kind.row_bytes(width);
        for (position, offset) in [(across, 0), (down, places * row)] {
            let table = self.graph.view_2d(learned, width, places, row, offset);
            let embedded = self.graph.get_rows(table, position);
            current = self.graph.add(current, embedded);
        }
        let form = Form { norm: Op::RmsNorm, rope: Rope::Halves(across, down), norms_values: true, ..Form::PLAIN };
        let current = self.transformer(current, count, &form)?;
        let by_column = self.graph.transpose(current);
        let square = self.graph.cont_shaped(by_column, [columns, rows, width, 1]);
        let pooled = self.pool_2d(square, self.side.merge);
        let tokens = (columns / self.side.merge) * (rows / self.side.merge);
        let pooled = self.graph.reshape(pooled, [tokens, width, 1, 1]);
        let pooled = self.graph.transpose(pooled);
        let pooled = self.graph.cont(pooled);
        let mut pooled = self.graph.scale(pooled);
        if let (Some(bias), Some(scale)) = (self.weight("v.std_bias"), self.weight("v.std_scale")) {
            pooled = self.graph.sub(pooled, bias);
            pooled = self.graph.mul(pooled, scale);
        }
        let normed = self.graph.rms_norm(pooled);
        self.multiply("mm.input_projection", normed)
    }
}
