//! MiniCPM-V: queries of fixed number read the patches (b11434 `tools/mtmd/models/minicpmv.cpp`).

use super::encoder::{Encoder, Form};
use crate::fit::graph::tensor::{Id, NONE, Op};
use crate::gguf::TensorType;

/// Width of a head of the resampler (`models/minicpmv.cpp:63`).
const HEAD: u64 = 128;

impl Encoder<'_> {
    /// Queries of fixed number read the patches.
    pub(super) fn minicpm(&mut self) -> Option<Id> {
        let count = self.patches();
        let query = self.weight("resampler.query")?;
        let text = self.graph.ne(query, 0);
        let frequencies = self.input(TensorType::F32, [text / 4, 1, 1, 1]);
        let down = self.input(TensorType::F32, [1, count, 1, 1]);
        let across = self.input(TensorType::F32, [1, count, 1, 1]);
        let places = self.positions(count);
        let learned = self.weight("v.position_embd.weight")?;
        let positions = self.graph.get_rows(learned, places);
        let patches = self.patch_rows()?;
        let seen = self.transformer(patches, count, &Form { positions, ..Form::PLAIN })?;
        let values = self.multiply("resampler.kv", seen)?;
        let q = self.norm(Op::Norm, "resampler.ln_q", query);
        let v = self.norm(Op::Norm, "resampler.ln_kv", values);
        let repeated = self.graph.repeat(frequencies, [text / 4, count, 1, 1]);
        let angles = [self.graph.mul(repeated, across), self.graph.mul(repeated, down)];
        let waves = angles.map(|angle| {
            let (sine, cosine) = (self.graph.like(Op::Sine, angle, &[]), self.graph.like(Op::Sine, angle, &[]));
            self.graph.concat(sine, cosine, 0)
        });
        let waves = self.graph.concat(waves[0], waves[1], 0);
        let k = self.graph.add(v, waves);
        let q = self.linear("resampler.attn.q", q)?;
        let k = self.linear("resampler.attn.k", k)?;
        let v = self.linear("resampler.attn.v", v)?;
        let heads = text / HEAD;
        let q = self.graph.reshape(q, [HEAD, heads, self.side.queries, 1]);
        let k = self.graph.reshape(k, [HEAD, heads, count, 1]);
        let v = self.graph.reshape(v, [HEAD, heads, count, 1]);
        let read = self.attend("resampler.attn.out", [q, k, v], NONE)?;
        let normed = self.norm(Op::Norm, "resampler.ln_post", read);
        self.multiply("resampler.proj", normed)
    }
}
