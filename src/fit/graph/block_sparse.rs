//! Sparse attention over blocks of positions: an indexer of its own cache ranks blocks, each group of heads sees the best
//! (llama.cpp b11434 `src/models/minimax-m3.cpp`).

use super::attention::{Attention, AttentionInputs};
use super::builder::Builder;
use super::tensor::{Id, NONE, Op};
use crate::fit::context::Context;
use crate::fit::model::Model;
use crate::gguf::TensorType;

/// The slot of a layer's indexer keys beside its K and V.
const INDEXER_CACHE: u8 = 2;
/// Positions that the reserved graph counts with: those of an empty cache (`src/llama-kv-cache-msa.cpp:250`). While the cache
/// fills they become more, and the graph outgrows its buffer.
const RESERVED_POSITIONS: u64 = 256;

/// What all layers that choose blocks read.
#[derive(Debug, Clone, Copy)]
struct Blocks {
    indexer_rows: Id,
    bias: Id,
    position_mask: Id,
    slots: Id,
    /// The slots as floats where each stream has one token, else the block of each cell.
    slots_or_cells: Id,
    /// The mask as floats; none where each stream has one token.
    mask: Id,
    positions: u64,
    streams: u64,
}

impl Context {
    /// Layers choose blocks where flash attention is on and streams are apart; else they see everything.
    pub(crate) const fn chooses_blocks(&self) -> bool {
        self.flash_attention && (self.sequences == 1 || !self.unified)
    }
}

impl Model {
    /// Elements of an indexer's key and of its V, which is reserved though never written.
    pub(crate) fn block_indexer_rows(&self, layer: u32) -> Option<[u64; 2]> {
        let dense = self.whole("leading_dense_block_count").unwrap_or(0);
        let key = self.whole("attention.indexer.key_length").unwrap_or(0);
        (u64::from(layer) >= dense).then_some([key, self.head_v])
    }

    fn block(&self) -> u64 {
        self.whole("attention.indexer.block_size").unwrap_or(1).max(1)
    }
}

impl Builder<'_> {
    pub(crate) fn minimax_m3(&mut self) {
        let mut current = self.input_embedding(false);
        let inputs = self.attention_inputs();
        let blocks = self.context.chooses_blocks().then(|| self.block_inputs(&inputs));
        for layer in self.layers.clone() {
            let normed = self.layer_norm(current, layer, "attn_norm");
            let (q, k, v) = self.queries_keys_values(normed, layer);
            let q = self.head_norm(q, layer, "attn_q_norm");
            let k = self.head_norm(k, layer, "attn_k_norm");
            let (q, k) = (self.rope(q, NONE), self.rope(k, NONE));
            let blocks = blocks.filter(|_| self.model.block_indexer_rows(layer).is_some());
            let attended = match blocks {
                Some(blocks) => self.attend_blocks(&inputs, blocks, normed, [q, k, v], layer),
                None => self.attend(&inputs, layer, q, k, v, Attention::PLAIN),
            };
            let ends = self.is_last(layer);
            current = self.end_block(attended, current, layer, ends);
        }
        self.finish(current, Op::RmsNorm);
    }

    fn block_inputs(&mut self, inputs: &AttentionInputs) -> Blocks {
        let tokens = self.batch.tokens;
        let [cells, each, _, streams] = self.graph.get(inputs.full.mask).ne;
        let positions = if self.context.is_full { self.context.cells_per_sequence } else { RESERVED_POSITIONS };
        let positions = positions.next_multiple_of(self.model.block());
        let indexer_rows = self.graph.input(TensorType::I64, [tokens, 1, 1, 1]);
        let bias = self.graph.input(TensorType::F32, [positions / self.model.block(), tokens, 1, 1]);
        let position_mask = self.graph.input(TensorType::F32, [positions, tokens, 1, 1]);
        let slots = self.graph.input(TensorType::I32, [positions, streams, 1, 1]);
        let (slots_or_cells, mask) = if each == 1 {
            (self.graph.input(TensorType::F32, [positions, streams, 1, 1]), NONE)
        } else {
            let cells = self.graph.input(TensorType::I32, [cells, streams, 1, 1]);
            (cells, self.graph.cast(inputs.full.mask, TensorType::F32))
        };
        Blocks { indexer_rows, bias, position_mask, slots, slots_or_cells, mask, positions, streams }
    }

    fn attend_blocks(
        &mut self,
        inputs: &AttentionInputs,
        blocks: Blocks,
        normed: Id,
        [q, k, v]: [Id; 3],
        layer: u32,
    ) -> Id {
        let cache = inputs.full;
        let (query, keys) = self.block_indexer(blocks, normed, layer);
        let q = self.rotate(q, cache.k_rotation);
        let k = self.rotate(k, cache.k_rotation);
        let v = self.rotate(v, cache.v_rotation);
        for id in [q, k, v] {
            self.graph.expand(id);
        }
        self.store_k(layer, k, cache);
        self.store_v(layer, v, cache);
        let k = self.keys(layer, cache.cells);
        let v = self.values(layer, cache.cells);
        let attended = if blocks.mask == NONE {
            self.attend_gathered(blocks, q, [k, v], query, keys)
        } else {
            let mut all = self.attend_masked(blocks, 0, q, [k, v], query, keys);
            for stream in 1..blocks.streams {
                let one = self.attend_masked(blocks, stream, q, [k, v], query, keys);
                all = self.graph.concat(all, one, 1);
            }
            all
        };
        let attended = self.rotate(attended, cache.v_rotation);
        self.multiply(attended, layer, "attn_output")
    }

    /// The indexer's queries, and all keys of its cache.
    fn block_indexer(&mut self, blocks: Blocks, normed: Id, layer: u32) -> (Id, Id) {
        let tokens = self.batch.tokens;
        let size = self.model.whole("attention.indexer.key_length").unwrap_or(0);
        let heads = self.model.whole("attention.indexer.head_count").unwrap_or(1);
        let q = self.multiply(normed, layer, "indexer.q_proj");
        let k = self.multiply(normed, layer, "indexer.k_proj");
        let q = self.graph.reshape(q, [size, heads, tokens, 1]);
        let k = self.graph.reshape(k, [size, 1, tokens, 1]);
        let q = self.rms_norm(q, layer, "indexer.q_norm.weight");
        let k = self.rms_norm(k, layer, "indexer.k_norm.weight");
        let (q, k) = (self.rope(q, NONE), self.rope(k, NONE));
        let kind = self.context.kind_k;
        let (cells, streams) = (self.context.cells_per_sequence, self.context.streams);
        let place = self.placement.cache_place(layer);
        let cache = self.cache(layer, INDEXER_CACHE, kind, [size, cells, streams, 1], place);
        self.store_rows(cache, k, blocks.indexer_rows);
        let row = kind.row_bytes(size);
        (q, self.graph.view(cache, [size, 1, cells, streams], [row, row, row * cells], 0))
    }

    /// One token a stream: the cells of the best blocks are gathered, then attended.
    fn attend_gathered(&mut self, blocks: Blocks, q: Id, [k, v]: [Id; 2], query: Id, keys: Id) -> Id {
        let Blocks { positions, streams, .. } = blocks;
        let block = self.model.block();
        let [size, _, cells, _] = self.graph.get(keys).ne;
        let heads = self.graph.ne(query, 1);
        let [head, kv_heads, ..] = self.graph.get(k).ne;
        let count = positions / block;
        let best = self.model.whole("attention.indexer.top_k").unwrap_or(1).min(count);

        let strides = [self.graph.nb(keys, 2), self.graph.nb(keys, 3)];
        let keys = self.graph.view_3d(keys, [size, cells, streams], strides, 0);
        let keys = self.graph.get_rows(keys, blocks.slots);
        let query = self.graph.reshape(query, [size, heads, 1, streams]);
        let keys = self.graph.reshape(keys, [size, positions, 1, streams]);
        let scores = self.graph.mul_mat(keys, query);
        let mask = self.graph.reshape(blocks.position_mask, [positions, 1, 1, streams]);
        let scores = self.graph.in_place(Op::Add, scores, &[mask]);
        let pooled = self.graph.push(TensorType::F32, Op::Pool, [count, heads, 1, streams], &[scores]);
        let bias = self.graph.reshape(blocks.bias, [count, 1, 1, streams]);
        let pooled = self.graph.add(pooled, bias);
        let chosen = self.graph.top_k(pooled, best);

        let chosen = self.graph.cast(chosen, TensorType::F32);
        let chosen = self.graph.scale(chosen);
        let chosen = self.graph.reshape(chosen, [1, best, heads, streams]);
        let chosen = self.graph.repeat(chosen, [block, best, heads, streams]);
        let within = self.graph.push(TensorType::F32, Op::Arange, [block, 1, 1, 1], &[]);
        let within = self.graph.reshape(within, [block, 1, 1, 1]);
        let places = self.graph.add(chosen, within);
        let all = block * best * heads;
        let places = self.graph.reshape(places, [all, streams, 1, 1]);
        let places = self.graph.cast(places, TensorType::I32);
        let slots = self.graph.reshape(blocks.slots_or_cells, [1, positions, streams, 1]);
        let cell = self.graph.get_rows(slots, places);
        let cell = self.graph.reshape(cell, [block, best, heads, streams]);
        let cell = self.graph.scale(cell);
        let head_number = self.graph.push(TensorType::F32, Op::Arange, [kv_heads, 1, 1, 1], &[]);
        let head_number = self.graph.reshape(head_number, [1, 1, heads, 1]);
        let rows = self.graph.add(cell, head_number);
        let rows = self.graph.reshape(rows, [all, streams, 1, 1]);
        let rows = self.graph.cast(rows, TensorType::I32);

        let mut flat = |id: Id| {
            let strides = [self.graph.nb(id, 1), self.graph.nb(id, 3)];
            self.graph.view_3d(id, [head, kv_heads * cells, streams], strides, 0)
        };
        let (flat_k, flat_v) = (flat(k), flat(v));
        let mask = self.graph.reshape(blocks.position_mask, [1, positions, streams, 1]);
        let gathered = [self.graph.get_rows(flat_k, rows), self.graph.get_rows(flat_v, rows)];
        let mask = self.graph.get_rows(mask, places);
        let kinds = [k, v].map(|id| self.graph.get(id).kind);
        let seen = best * block;
        let mut wanted = [NONE; 2];
        for at in 0..2 {
            let kind = if kinds[at].is_quantized() { TensorType::F16 } else { kinds[at] };
            wanted[at] = self.graph.reshape(gathered[at], [head, seen, 1, heads * streams]);
            if kind != TensorType::F32 {
                wanted[at] = self.graph.cast(wanted[at], kind);
            }
        }
        let mask = self.graph.reshape(mask, [seen, 1, 1, heads * streams]);
        let mask = self.graph.cast(mask, TensorType::F16);
        self.attend_groups(q, wanted, mask, kv_heads)
    }

    /// Many tokens of one stream: a mask for each group of heads leaves the best blocks only.
    fn attend_masked(&mut self, blocks: Blocks, stream: u64, q: Id, [k, v]: [Id; 2], query: Id, keys: Id) -> Id {
        let Blocks { positions, streams, .. } = blocks;
        let each = self.batch.tokens / streams;
        let block = self.model.block();
        let [size, _, cells, _] = self.graph.get(keys).ne;
        let heads = self.graph.ne(query, 1);
        let count = positions / block;
        let best = self.model.whole("attention.indexer.top_k").unwrap_or(1).min(count);
        let tokens_of = |builder: &mut Self, id: Id| {
            let [ne0, ne1, ..] = builder.graph.get(id).ne;
            let [_, nb1, nb2, _] = builder.graph.get(id).nb;
            builder.graph.view_3d(id, [ne0, ne1, each], [nb1, nb2], stream * each * nb2)
        };
        // Rows of an input that has one for each token.
        let rows_of = |builder: &mut Self, id: Id| {
            let (width, row) = (builder.graph.ne(id, 0), builder.graph.nb(id, 1));
            builder.graph.view_3d(id, [width, 1, each], [row, row], stream * each * row)
        };
        let query = tokens_of(self, query);
        let offset = stream * self.graph.nb(keys, 3);
        let keys = self.graph.view_2d(keys, size, cells, self.graph.nb(keys, 2), offset);
        let slots = self.graph.view_1d(blocks.slots, positions, stream * self.graph.nb(blocks.slots, 1));
        let position_mask = rows_of(self, blocks.position_mask);
        let cell_blocks =
            self.graph.view_1d(blocks.slots_or_cells, cells, stream * self.graph.nb(blocks.slots_or_cells, 1));
        let [_, mask_row, _, mask_stream] = self.graph.get(blocks.mask).nb;
        let mask = self.graph.view_3d(blocks.mask, [cells, each, 1], [mask_row, mask_stream], stream * mask_stream);
        let bias = rows_of(self, blocks.bias);
        let q = tokens_of(self, q);
        let mut stream_of = |id: Id| {
            let (ne, nb) = (self.graph.get(id).ne, self.graph.get(id).nb);
            self.graph.view(id, [ne[0], ne[1], ne[2], 1], [nb[1], nb[2], nb[3]], stream * nb[3])
        };
        let (k, v) = (stream_of(k), stream_of(v));

        let keys = self.graph.get_rows(keys, slots);
        let query = self.graph.reshape(query, [size, heads * each, 1, 1]);
        let scores = self.graph.mul_mat(keys, query);
        let scores = self.graph.reshape(scores, [positions, heads, each, 1]);
        let scores = self.graph.in_place(Op::Add, scores, &[position_mask]);
        let pooled = self.graph.push(TensorType::F32, Op::Pool, [count, heads, each, 1], &[scores]);
        let pooled = self.graph.add(pooled, bias);
        let chosen = self.graph.top_k(pooled, best);

        let nothing = self.graph.scale(bias);
        let nothing = self.graph.cast(nothing, TensorType::F16);
        let nothing = self.graph.repeat(nothing, [count, heads, each, 1]);
        let zero = self.graph.cast(chosen, TensorType::F32);
        let zero = self.graph.scale(zero);
        let nothing = self.graph.reshape(nothing, [1, count, heads * each, 1]);
        let zero = self.graph.reshape(zero, [1, best, heads * each, 1]);
        let chosen = self.graph.reshape(chosen, [best, heads * each, 1, 1]);
        let seen = self.graph.set_rows(nothing, zero, chosen);
        let seen = self.graph.reshape(seen, [count, heads, each, 1]);
        let seen = self.graph.permute(seen, [0, 2, 1, 3]);
        let seen = self.graph.cont(seen);
        let seen = self.graph.reshape(seen, [count, each * heads, 1, 1]);
        let seen = self.graph.transpose(seen);
        let seen = self.graph.cont(seen);
        let seen = self.graph.get_rows(seen, cell_blocks);
        let seen = self.graph.transpose(seen);
        let seen = self.graph.cont(seen);
        let seen = self.graph.reshape(seen, [cells, each, heads, 1]);
        let seen = self.graph.in_place(Op::Add, seen, &[mask]);
        let seen = self.graph.reshape(seen, [cells, each, 1, heads]);
        let seen = self.graph.cast(seen, TensorType::F16);
        let k = self.graph.permute(k, [0, 3, 1, 2]);
        let v = self.graph.permute(v, [0, 3, 1, 2]);
        self.attend_groups(q, [k, v], seen, heads)
    }

    /// Flash attention with the groups of heads where sequences stand otherwise.
    fn attend_groups(&mut self, q: Id, [k, v]: [Id; 2], mask: Id, kv_heads: u64) -> Id {
        let [head, heads, tokens, _] = self.graph.get(q).ne;
        let groups = self.graph.ne(k, 3);
        let per_group = heads / kv_heads;
        let rest = heads * tokens / (per_group * groups);
        let q = self.graph.reshape(q, [head, per_group, groups, rest]);
        let q = self.graph.permute(q, [0, 2, 3, 1]);
        let attended = self.graph.flash_attention(q, k, v, mask, NONE);
        let mut attended = self.graph.permute(attended, [0, 1, 3, 2]);
        if !self.graph.get(attended).is_contiguous() {
            attended = self.graph.cont(attended);
        }
        self.graph.reshape(attended, [head * heads, tokens, 1, 1])
    }
}
