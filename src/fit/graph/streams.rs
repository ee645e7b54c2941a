//! Several residual streams side by side, weighed before each block and after it (llama.cpp b11434 `src/models/hy-v4.cpp`).

use super::builder::Builder;
use super::tensor::{Id, NONE, Op};
use crate::gguf::TensorType;

/// How the residual streams share in one block.
pub(crate) struct StreamShares {
    pub(crate) scores: Id,
    pub(crate) scale: Id,
    pub(crate) base: Id,
    pub(crate) before: Id,
    pub(crate) after: Id,
}

impl Builder<'_> {
    pub(crate) fn hy_v4(&mut self) {
        let embedded = self.input_embedding(false);
        let inputs = self.latent_inputs();
        let chooses = self.model.whole("attention.indexer.top_k").is_some_and(|cells| cells > 0);
        let indexer = chooses.then(|| self.indexer_inputs());
        let mut chosen = NONE;
        let mut streams = self.spread_streams(embedded);
        for layer in self.layers.clone() {
            let (mixed, share) = self.before_block(streams, layer, "attn");
            let normed = self.layer_norm(mixed, layer, "attn_norm");
            let attended = match indexer {
                Some(indexer) => self.chosen_attention(&inputs, indexer, normed, &mut chosen, layer),
                None => self.latent_attention(&inputs, normed, layer),
            };
            streams = self.after_block(attended, streams, share);
            let (mixed, share) = self.before_block(streams, layer, "ffn");
            let normed = self.layer_norm(mixed, layer, "ffn_norm");
            let fed = self.feed_forward_or_experts(normed, layer);
            streams = self.after_block(fed, streams, share);
            self.end_layer(streams);
        }
        let rows = self.stream_rows(streams);
        let mixed = self.last_mix(rows);
        self.finish(mixed, Op::RmsNorm);
    }

    fn stream_count(&self) -> u64 {
        self.model.whole("hyper_connection.count").unwrap_or(1)
    }

    /// The embedding, once for each stream.
    pub(crate) fn spread_streams(&mut self, embedded: Id) -> Id {
        let [width, tokens, ..] = self.graph.get(embedded).ne;
        let one = self.graph.reshape(embedded, [width, 1, tokens, 1]);
        self.graph.repeat(one, [width, self.stream_count(), tokens, 1])
    }

    /// How each stream shares in the next block, from all streams of a token.
    pub(crate) fn stream_scores(&mut self, streams: Id, weight: Id) -> Id {
        let [width, count, tokens, _] = self.graph.get(streams).ne;
        let flat = self.graph.reshape(streams, [width * count, tokens, 1, 1]);
        let flat = self.graph.rms_norm(flat);
        self.graph.mul_mat(weight, flat)
    }

    /// One group of the scores: scaled, moved, and made a share.
    pub(crate) fn stream_share(&mut self, scores: Id, scale: Id, base: Id) -> Id {
        let scaled = self.graph.mul(scores, scale);
        let moved = self.graph.add(scaled, base);
        self.graph.like(Op::Sigmoid, moved, &[])
    }

    /// What a block begins with: the scores of all streams, their scale and base, and each stream's share in what the block reads
    /// and in what it writes.
    pub(crate) fn stream_shares(&mut self, streams: Id, count: u64, layer: u32, block: &str) -> StreamShares {
        let weight = self.needed(layer, &format!("hc_{block}_fn.weight"));
        let scale = self.needed(layer, &format!("hc_{block}_scale.weight"));
        let base = self.needed(layer, &format!("hc_{block}_base.weight"));
        let scores = self.stream_scores(streams, weight);
        let (tokens, row) = (self.graph.ne(scores, 1), self.graph.nb(scores, 1));
        let part = |builder: &mut Self, at: u64| {
            let scale = builder.graph.view_1d(scale, 1, at * 4);
            let base = builder.graph.view_1d(base, count, at * count * 4);
            let scores = builder.graph.view_2d(scores, count, tokens, row, at * count * 4);
            let share = builder.stream_share(scores, scale, base);
            builder.graph.scale(share)
        };
        let before = part(self, 0);
        let after = part(self, 1);
        StreamShares { scores, scale, base, before, after }
    }

    /// The block's input, and each stream's share of its output.
    fn before_block(&mut self, streams: Id, layer: u32, block: &str) -> (Id, Id) {
        let count = self.stream_count();
        let StreamShares { before, after, .. } = self.stream_shares(streams, count, layer, block);
        let after = self.graph.scale(after);
        (self.reduce_streams(streams, before), after)
    }

    /// The streams' weighted sum, computed in 32 bits.
    fn reduce_streams(&mut self, streams: Id, shares: Id) -> Id {
        let [width, count, tokens, _] = self.graph.get(streams).ne;
        let all = self.graph.cast(streams, TensorType::F32);
        let [_, stream, row, _] = self.graph.get(all).nb;
        let share_row = self.graph.nb(shares, 1);
        let mut sum = NONE;
        for at in 0..count {
            let one = self.graph.view_2d(all, width, tokens, row, at * stream);
            let share = self.graph.view_2d(shares, 1, tokens, share_row, at * 4);
            let weighted = self.graph.mul(one, share);
            sum = if sum == NONE { weighted } else { self.graph.add(sum, weighted) };
        }
        self.graph.cast(sum, TensorType::F32)
    }

    /// Each stream and its share of the block's output.
    fn after_block(&mut self, output: Id, streams: Id, shares: Id) -> Id {
        let [width, count, tokens, _] = self.graph.get(streams).ne;
        let output = self.graph.cast(output, TensorType::F32);
        let shares = self.graph.cast(shares, TensorType::F32);
        let all = self.graph.cast(streams, TensorType::F32);
        let [_, stream, row, _] = self.graph.get(all).nb;
        let share_row = self.graph.nb(shares, 1);
        let mut joined = NONE;
        for at in 0..count {
            let one = self.graph.view_2d(all, width, tokens, row, at * stream);
            let share = self.graph.view_2d(shares, 1, tokens, share_row, at * 4);
            let weighted = self.graph.mul(output, share);
            let sum = self.graph.add(one, weighted);
            let sum = self.graph.reshape(sum, [width, 1, tokens, 1]);
            joined = if joined == NONE { sum } else { self.graph.concat(joined, sum, 1) };
        }
        self.graph.cast(joined, TensorType::F32)
    }

    /// The rows to put out, all streams.
    pub(crate) fn stream_rows(&mut self, streams: Id) -> Id {
        let [width, count, tokens, _] = self.graph.get(streams).ne;
        let flat = self.graph.reshape(streams, [width * count, tokens, 1, 1]);
        let rows = self.output_rows_of(flat);
        self.graph.reshape(rows, [width, count, self.batch.outputs, 1])
    }

    pub(crate) fn last_mix(&mut self, streams: Id) -> Id {
        let weight = self.needed_global("output_hc_fn.weight");
        let scale = self.needed_global("output_hc_scale.weight");
        let base = self.needed_global("output_hc_base.weight");
        let scores = self.stream_scores(streams, weight);
        let share = self.stream_share(scores, scale, base);
        let share = self.graph.scale(share);
        self.reduce_streams(streams, share)
    }
}
