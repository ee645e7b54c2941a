//! Whisper encoders and what follows them: Ultravox, Voxtral, Qwen 2 Audio, Music Flamingo, GLM (b11434 `tools/mtmd/models/whisper-enc.cpp`).

use super::encoder::{Encoder, Form};
use crate::fit::graph::tensor::{Id, Op};

impl Encoder<'_> {
    pub(super) fn whisper(&mut self, kind: &str) -> Option<Id> {
        let (frames, width) = (self.size[0], self.side.width);
        let count = frames / 2;
        let mut sound = self.image(1);
        for (step, name) in [(1, "a.conv1d.1"), (2, "a.conv1d.2")] {
            let kernel = self.weight(&format!("{name}.weight"))?;
            sound = self.convolve_time(kernel, sound, step);
            sound = self.plus(&format!("{name}.bias"), sound);
            sound = self.graph.unary(sound);
        }
        let sound = self.graph.transpose(sound);
        let sound = self.graph.cont(sound);
        let learned = self.weight("a.position_embd.weight")?;
        let row = self.graph.nb(learned, 1);
        let positions = self.graph.view_2d(learned, width, count, row, 0);
        let halves_rows = matches!(kind, "qwen2a" | "voxtral" | "musicflamingo");
        let mut current = self.transformer(sound, count, &Form { positions, halves_rows, ..Form::PLAIN })?;
        if matches!(kind, "ultravox" | "voxtral") {
            current = self.stack_frames(current);
        }
        match kind {
            "ultravox" => {
                let normed = self.norm(Op::RmsNorm, "mm.a.norm_pre", current);
                let hidden = self.multiply("mm.a.mlp.1", normed)?;
                let hidden = self.graph.glu(hidden);
                let normed = self.norm(Op::RmsNorm, "mm.a.norm_mid", hidden);
                self.multiply("mm.a.mlp.2", normed)
            }
            "qwen2a" => self.linear("mm.a.fc", current),
            "glma" => {
                let normed = self.norm(Op::Norm, "mm.a.norm_pre", current);
                let stacked = self.stack_frames(normed);
                let tokens = self.feed_forward(["mm.a.mlp.1", "", "mm.a.mlp.2"], stacked)?;
                let (first, last) = (self.weight("v.boi")?, self.weight("v.eoi")?);
                let tokens = self.graph.concat(first, tokens, 1);
                Some(self.graph.concat(tokens, last, 1))
            }
            _ => self.feed_forward(["mm.a.mlp.1", "", "mm.a.mlp.2"], current),
        }
    }

    /// Several frames become one row (`clip_graph::build_stack`).
    fn stack_frames(&mut self, mut current: Id) -> Id {
        let factor = self.side.stacked_frames;
        if factor <= 1 {
            return current;
        }
        let stride = self.side.width * factor;
        let all = self.graph.get(current).elements();
        let padded = all.next_multiple_of(stride);
        if padded > all {
            current = self.graph.view_1d(current, all, 0);
            current = self.graph.pad_first(current, padded - all);
        }
        self.graph.view_2d(current, stride, padded / stride, stride * 4, 0)
    }
}
