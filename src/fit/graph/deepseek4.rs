//! `DeepSeek` 4: a window of raw keys beside keys that stand for 4 or 128 tokens each, over streams of residuals
//! (llama.cpp b11434 `src/models/deepseek4.cpp`, `src/llama-kv-cache-dsv4.cpp`).

use super::attention::CacheInputs;
use super::builder::Builder;
use super::streams::StreamShares;
use super::tensor::{Id, NONE, Op};
use crate::fit::context::Context;
use crate::fit::model::Model;
use crate::gguf::TensorType;

/// Tokens that one compressed key stands for: with an indexer that chooses among them, and without.
const CHOSEN: u64 = 4;
const SEEN: u64 = 128;
/// Compressed caches are padded to this many cells.
const PADDING: u64 = 256;

/// A compressed cache and the state that fills it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Compressor {
    /// The slots of its cache and of its two state tensors among a layer's.
    slot: u8,
    name: &'static str,
    norm: &'static str,
    pub(crate) ratio: u64,
    /// Elements of one key.
    pub(crate) key: u64,
    /// Blocks overlap by half: the state holds two of them, in two halves.
    overlaps: bool,
}

impl Compressor {
    pub(crate) const fn state_rows(self) -> u64 {
        if self.overlaps { 2 * self.ratio } else { self.ratio }
    }

    pub(crate) const fn state_width(self) -> u64 {
        if self.overlaps { 2 * self.key } else { self.key }
    }
}

/// What the graph reads for one compressed cache.
#[derive(Debug, Clone, Copy)]
struct CompressorInputs {
    positions: Id,
    kept: Id,
    kept_at: Id,
    read: Id,
    write: Id,
    write_positions: Id,
    mask: Id,
    rotation: Id,
    blocks: u64,
}

#[derive(Debug, Clone, Copy)]
struct Inputs {
    raw: CacheInputs,
    chosen: CompressorInputs,
    seen: CompressorInputs,
    indexer: CompressorInputs,
}

impl Model {
    /// Tokens that a layer's compressed keys stand for; 0 for layers that see their window only.
    fn compress_ratio(&self, layer: u32) -> u64 {
        self.whole_at("attention.compress_ratios", layer).unwrap_or(0)
    }

    /// A layer's compressed caches, the indexer's last.
    pub(crate) fn compressors(&self, layer: u32) -> Vec<Compressor> {
        let main = Compressor {
            slot: 1,
            name: "attn_compressor",
            norm: "attn_compressor_norm.weight",
            ratio: self.compress_ratio(layer),
            key: self.head_k,
            overlaps: self.compress_ratio(layer) == CHOSEN,
        };
        let indexer = Compressor {
            slot: 4,
            name: "indexer_compressor",
            norm: "indexer_compressor_norm.weight",
            key: self.whole("attention.indexer.key_length").unwrap_or(0),
            ..main
        };
        match main.ratio {
            CHOSEN => vec![main, indexer],
            0 => Vec::new(),
            _ => vec![main],
        }
    }
}

impl Context {
    /// Cells of each sequence's window: never shared, whatever the flags say.
    pub(crate) fn raw_cells(&self, model: &Model, whole: bool) -> u64 {
        let window = model.whole("attention.sliding_window").unwrap_or(0);
        if whole {
            self.cells_per_sequence
        } else {
            self.cells_per_sequence.min(window + self.ubatch).next_multiple_of(PADDING)
        }
    }

    pub(crate) const fn compressed_cells(&self, ratio: u64) -> u64 {
        self.cells_per_sequence.div_ceil(ratio).next_multiple_of(PADDING)
    }
}

impl Builder<'_> {
    pub(crate) fn deepseek4(&mut self) {
        let embedded = self.input_embedding(false);
        let inputs = self.compressed_inputs();
        self.graph.expand(inputs.raw.mask);
        let mut streams = self.spread_streams(embedded);
        for layer in self.layers.clone() {
            let (mixed, shares) = self.before_fused_block(streams, layer, "attn");
            let normed = self.layer_norm(mixed, layer, "attn_norm");
            let attended = self.compressed_attention(inputs, normed, layer);
            streams = self.after_fused_block(attended, streams, shares, layer);
            let (mixed, shares) = self.before_fused_block(streams, layer, "ffn");
            for id in [streams, shares[0], shares[1]] {
                self.graph.expand(id);
            }
            let normed = self.layer_norm(mixed, layer, "ffn_norm");
            self.chosen_experts = self.experts_by_table(layer);
            let fed = self.feed_forward_or_experts(normed, layer);
            self.chosen_experts = NONE;
            streams = self.after_fused_block(fed, streams, shares, layer);
            // Else it would run on the next layer's device (`src/llama-context.cpp:2646`).
            self.pin(streams, Some(layer));
            self.end_layer(streams);
        }
        let rows = self.stream_rows(streams);
        let mixed = self.last_mix(rows);
        self.finish(mixed, Op::RmsNorm);
    }

    /// The first layers look a token's experts up.
    fn experts_by_table(&mut self, layer: u32) -> Id {
        match self.weight(layer, "ffn_gate_tid2eid.weight") {
            Some(table) => self.graph.get_rows(table, self.token_ids),
            None => NONE,
        }
    }

    /// The block's input, each stream's share of its output, and how the streams mix.
    pub(crate) fn before_fused_block(&mut self, streams: Id, layer: u32, block: &str) -> (Id, [Id; 2]) {
        let count = self.graph.ne(streams, 1);
        let StreamShares { scores, scale, base, before, after } = self.stream_shares(streams, count, layer, block);
        let tokens = self.graph.ne(scores, 1);
        let mix = self.graph.push(TensorType::F32, Op::MixStreams, [count, count, tokens, 1], &[scores, scale, base]);
        let width = self.graph.ne(streams, 0);
        let mixed = self.graph.push(TensorType::F32, Op::MixStreams, [width, tokens, 1, 1], &[streams, before]);
        (mixed, [after, mix])
    }

    /// The streams mixed, each with its share of the output: one op, or many where llama.cpp finds that op on another device.
    pub(crate) fn after_fused_block(&mut self, output: Id, streams: Id, [after, mix]: [Id; 2], layer: u32) -> Id {
        let ne = self.graph.get(streams).ne;
        if !self.context.mixes_apart {
            let mixed = self.graph.push(TensorType::F32, Op::MixStreams, ne, &[output, streams, after, mix]);
            self.mixing_nodes.push((mixed, layer));
            return mixed;
        }
        let [width, count, tokens, _] = ne;
        let [_, stream, row, _] = self.graph.get(streams).nb;
        let (after_row, mix_nb) = (self.graph.nb(after, 1), self.graph.get(mix).nb);
        let mut joined = NONE;
        for to in 0..count {
            let share = self.graph.view_2d(after, 1, tokens, after_row, to * 4);
            let mut sum = self.graph.mul(output, share);
            for from in 0..count {
                let old = self.graph.view_2d(streams, width, tokens, row, from * stream);
                let share = self.graph.view_2d(mix, 1, tokens, mix_nb[2], to * mix_nb[0] + from * mix_nb[1]);
                let weighted = self.graph.mul(old, share);
                sum = self.graph.add(sum, weighted);
            }
            let sum = self.graph.reshape(sum, [width, 1, tokens, 1]);
            joined = if joined == NONE { sum } else { self.graph.concat(joined, sum, 1) };
        }
        joined
    }

    fn compressed_inputs(&mut self) -> Inputs {
        let (tokens, streams) = (self.batch.tokens, self.batch.sequences);
        let mask_kind = if self.context.flash_attention { TensorType::F16 } else { TensorType::F32 };
        let head = self.model.head_k;
        let turns = self.context.kind_k.is_quantized() && head.is_multiple_of(64);
        let cells = self.context.raw_cells(self.model, self.context.whole_window);
        let k_rows = self.graph.input(TensorType::I64, [tokens, 1, 1, 1]);
        let mask = self.graph.input(mask_kind, [cells, tokens / streams, 1, streams]);
        let rotation = |builder: &mut Self, size: u64| {
            let largest = if size == 0 { 1 } else { 1 << size.trailing_zeros() };
            builder.graph.input(TensorType::F32, [largest, largest, 1, 1])
        };
        let k_rotation = if turns { rotation(self, head) } else { NONE };
        let raw = CacheInputs { k_rows, v_rows: NONE, mask, k_rotation, v_rotation: NONE, cells };
        let mut chosen = self.compressor_inputs(CHOSEN, true, mask_kind);
        let mut seen = self.compressor_inputs(SEEN, false, mask_kind);
        let mut indexer = self.compressor_inputs(CHOSEN, true, TensorType::F16);
        if turns {
            chosen.rotation = rotation(self, head);
            seen.rotation = rotation(self, head);
        }
        indexer.rotation = rotation(self, self.model.whole("attention.indexer.key_length").unwrap_or(0));
        Inputs { raw, chosen, seen, indexer }
    }

    fn compressor_inputs(&mut self, ratio: u64, overlaps: bool, mask_kind: TensorType) -> CompressorInputs {
        let (tokens, streams) = (self.batch.tokens, self.batch.sequences);
        // However the tokens are shared out, no more blocks than this become complete.
        let blocks = tokens / ratio + streams;
        let halves = if overlaps { 2 } else { 1 };
        let kept = tokens.min(halves * ratio * self.context.sequences);
        let mut row = |kind: TensorType, rows: u64| self.graph.input(kind, [rows, 1, 1, 1]);
        let positions = row(TensorType::I32, tokens);
        let kept_rows = row(TensorType::I32, kept);
        let kept_at = row(TensorType::I32, kept);
        let read = row(TensorType::I32, halves * ratio * blocks);
        let write = row(TensorType::I64, blocks);
        let write_positions = row(TensorType::I32, blocks);
        let cells = self.context.compressed_cells(ratio);
        let mask = self.graph.input(mask_kind, [cells, tokens / streams, 1, streams]);
        CompressorInputs {
            positions,
            kept: kept_rows,
            kept_at,
            read,
            write,
            write_positions,
            mask,
            rotation: NONE,
            blocks,
        }
    }

    fn compressed_attention(&mut self, inputs: Inputs, normed: Id, layer: u32) -> Id {
        let tokens = self.batch.tokens;
        let (heads, head) = (self.model.heads[layer as usize], self.model.head_k);
        let compressed = self.multiply(normed, layer, "attn_q_a");
        let compressed = self.rms_norm(compressed, layer, "attn_q_a_norm.weight");
        let q = self.multiply(compressed, layer, "attn_q_b");
        let q = self.graph.reshape(q, [head, heads, tokens, 1]);
        let q = self.graph.rms_norm(q);
        let q = self.rope(q, NONE);
        let k = self.multiply(normed, layer, "attn_kv");
        let k = self.rms_norm(k, layer, "attn_kv_a_norm.weight");
        let k = self.graph.reshape(k, [head, 1, tokens, 1]);
        let k = self.rope(k, NONE);

        let compressors = self.model.compressors(layer);
        for (at, one) in compressors.iter().enumerate() {
            let of = if at == 1 {
                inputs.indexer
            } else if one.overlaps {
                inputs.chosen
            } else {
                inputs.seen
            };
            self.compress(*one, of, normed, layer);
        }
        let attended = self.attend_raw_and_compressed(inputs, &compressors, [q, k, compressed, normed], layer);

        let attended = self.graph.reshape(attended, [head, heads, tokens, 1]);
        let attended = self.rope(attended, NONE);
        let groups = self.model.whole("attention.output_group_count").unwrap_or(1).max(1);
        let rank = self.model.whole("attention.output_lora_rank").unwrap_or(0);
        let attended = self.graph.reshape(attended, [head * heads / groups, groups, tokens, 1]);
        let attended = self.graph.permute(attended, [0, 2, 1, 3]);
        let first = self.needed(layer, "attn_output_a.weight");
        // In the file the groups may stand in one dimension.
        self.graph.reshape_resident(first, [head * heads / groups, rank, groups, 1]);
        let narrow = self.graph.mul_mat(first, attended);
        let narrow = self.graph.permute(narrow, [0, 2, 1, 3]);
        let narrow = self.graph.cont_shaped(narrow, [rank * groups, tokens, 1, 1]);
        self.multiply(narrow, layer, "attn_output_b")
    }

    /// Turns the blocks that these tokens complete into keys, and keeps the rest for later.
    fn compress(&mut self, one: Compressor, inputs: CompressorInputs, normed: Id, layer: u32) {
        let sequences = self.context.sequences;
        let keys = self.multiply(normed, layer, &format!("{}_kv", one.name));
        let scores = self.multiply(normed, layer, &format!("{}_gate", one.name));
        let places = self.needed(layer, &format!("{}_ape.weight", one.name));
        let places = self.graph.get_rows(places, inputs.positions);
        let scores = self.graph.add(scores, places);
        let (width, rows) = (one.state_width(), one.state_rows() * sequences);
        let place = self.placement.cache_place(layer);
        let state = |builder: &mut Self, part: u8| {
            let ne = [width, one.state_rows(), sequences * (1 + builder.context.state_snapshots), 1];
            let state = builder.cache(layer, one.slot + 1 + part, TensorType::F32, ne, place);
            builder.graph.view_2d(state, width, rows * (1 + builder.context.state_snapshots), width * 4, 0)
        };
        let states = [state(self, 0), state(self, 1)];
        let sources = [(states[0], keys), (states[1], scores)].map(|(state, new)| {
            let old = self.graph.view_2d(state, width, rows, width * 4, 0);
            self.graph.concat(old, new, 1)
        });
        let made = if one.overlaps {
            self.overlapping_blocks(one, inputs, sources)
        } else {
            self.separate_blocks(one, inputs, sources)
        };
        let made = self.rms_norm(made, layer, one.norm);
        let made = self.graph.like(Op::Rope, made, &[inputs.write_positions]);
        let made = self.rotate(made, inputs.rotation);
        let cache = self.compressed_cache(one, layer);
        self.store_rows(cache, made, inputs.write);
        let kept = [keys, scores].map(|id| self.graph.get_rows(id, inputs.kept));
        let into = [state(self, 0), state(self, 1)];
        let stored = [0, 1].map(|at| self.graph.set_rows(into[at], kept[at], inputs.kept_at));
        for id in stored {
            self.graph.expand(id);
        }
    }

    fn compressed_cache(&mut self, one: Compressor, layer: u32) -> Id {
        let cells = self.context.compressed_cells(one.ratio);
        let ne = [one.key, cells, self.context.sequences, 1];
        let place = self.placement.cache_place(layer);
        self.cache(layer, one.slot, self.context.kind_k, ne, place)
    }

    /// All keys of a cache that holds one for each cell: head, 1, cells, sequences.
    fn all_keys(&mut self, cache: Id) -> Id {
        let [head, cells, sequences, _] = self.graph.get(cache).ne;
        let row = self.graph.get(cache).kind.row_bytes(head);
        let keys = self.graph.view(cache, [head, 1, cells, sequences], [row, row, row * cells], 0);
        self.graph.view(keys, [head, 1, cells, sequences], [row, row, row * cells], 0)
    }

    /// Blocks of twice the ratio: the first half from the block before.
    fn overlapping_blocks(&mut self, one: Compressor, inputs: CompressorInputs, sources: [Id; 2]) -> Id {
        let (head, ratio, blocks) = (one.key, one.ratio, inputs.blocks);
        let rows = ratio * blocks;
        let gathered = sources.map(|source| {
            let width = self.graph.ne(source, 0);
            let row = self.graph.view_1d(source, width, 0);
            let empty = self.graph.scale(row);
            let empty = self.graph.reshape(empty, [width, 1, 1, 1]);
            let all = self.graph.concat(source, empty, 1);
            self.graph.get_rows(all, inputs.read)
        });
        let joined = gathered.map(|source| {
            let row = self.graph.nb(source, 1);
            let half = |builder: &mut Self, offset: u64| {
                let part = builder.graph.view_2d(source, head, rows, row, offset);
                let part = builder.graph.cont(part);
                builder.graph.reshape(part, [head, ratio, blocks, 1])
            };
            let before = half(self, 0);
            let now = half(self, rows * row + head * 4);
            self.graph.concat(before, now, 1)
        });
        self.weighted_blocks(joined)
    }

    fn separate_blocks(&mut self, one: Compressor, inputs: CompressorInputs, sources: [Id; 2]) -> Id {
        let gathered = sources.map(|source| {
            let rows = self.graph.get_rows(source, inputs.read);
            self.graph.reshape(rows, [one.key, one.ratio, inputs.blocks, 1])
        });
        self.weighted_blocks(gathered)
    }

    /// The sum of each block's keys, weighted by the softmax of their scores.
    fn weighted_blocks(&mut self, [keys, scores]: [Id; 2]) -> Id {
        let mut turned = |id: Id| {
            let turned = self.graph.permute(id, [1, 0, 2, 3]);
            self.graph.cont(turned)
        };
        let (keys, scores) = (turned(keys), turned(scores));
        let weights = self.graph.like(Op::SoftMax, scores, &[]);
        let weighted = self.graph.mul(keys, weights);
        let sums = self.graph.sum_rows(weighted);
        let sums = self.graph.permute(sums, [1, 0, 2, 3]);
        self.graph.cont(sums)
    }

    fn attend_raw_and_compressed(
        &mut self,
        inputs: Inputs,
        compressors: &[Compressor],
        [q, k, compressed, normed]: [Id; 4],
        layer: u32,
    ) -> Id {
        let chosen =
            compressors.get(1).map(|one| self.choose_compressed(*one, inputs.indexer, compressed, normed, layer));
        let raw = inputs.raw;
        let q = self.rotate(q, raw.k_rotation);
        let k = self.rotate(k, raw.k_rotation);
        self.graph.expand(q);
        self.graph.expand(k);
        let ne = [self.model.head_k, raw.cells, self.context.sequences, 1];
        let place = self.placement.cache_place(layer);
        let cache = self.cache(layer, 0, self.context.kind_k, ne, place);
        self.store_rows(cache, k, raw.k_rows);
        let [head, cells, sequences, _] = ne;
        let row = self.context.kind_k.row_bytes(head);
        let mut keys = self.graph.view(cache, [head, 1, cells, sequences], [row, row, row * cells], 0);
        let mut mask = raw.mask;
        if let Some(one) = compressors.first() {
            let cache = self.compressed_cache(*one, layer);
            let more = self.all_keys(cache);
            keys = self.graph.concat(keys, more, 2);
            let more = match chosen {
                Some(chosen) => {
                    let kind = self.graph.get(inputs.chosen.mask).kind;
                    self.mask_of_chosen(inputs.chosen.mask, chosen, kind)
                }
                None => inputs.seen.mask,
            };
            mask = self.graph.concat(mask, more, 0);
        }
        let sinks = self.weight(layer, "attn_sinks.weight").unwrap_or(NONE);
        let attended = self.heads(layer, q, keys, keys, mask, sinks, None);
        self.rotate(attended, raw.k_rotation)
    }

    /// The compressed keys that each token will see.
    fn choose_compressed(
        &mut self,
        one: Compressor,
        inputs: CompressorInputs,
        compressed: Id,
        normed: Id,
        layer: u32,
    ) -> Id {
        let tokens = self.batch.tokens;
        let heads = self.model.whole("attention.indexer.head_count").unwrap_or(1);
        let q = self.multiply(compressed, layer, "indexer.attn_q_b");
        let q = self.graph.reshape(q, [one.key, heads, tokens, 1]);
        let q = self.rope(q, NONE);
        let q = self.rotate(q, inputs.rotation);
        let weights = self.multiply(normed, layer, "indexer.proj");
        let weights = self.graph.scale(weights);
        let cache = self.compressed_cache(one, layer);
        let keys = self.all_keys(cache);
        let streams = self.context.sequences;
        let each = tokens / streams;
        let size = one.key;
        let strides = [size * 4, size * heads * 4, size * heads * each * 4];
        let q = self.graph.view(q, [size, heads, each, streams], strides, 0);
        let strides = [heads * 4, heads * each * 4, heads * each * 4];
        let weights = self.graph.view(weights, [heads, each, 1, streams], strides, 0);
        let scores = self.graph.lightning_indexer(q, keys, weights, inputs.mask);
        let cells = self.graph.ne(scores, 0);
        let count = self.model.whole("attention.indexer.top_k").unwrap_or(1).min(cells);
        let best = self.graph.top_k(scores, count);
        self.graph.cont(best)
    }
}
