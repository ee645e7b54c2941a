//! GLM 5.3: delta attention in turn with latent attention to cells that an indexer chooses pool by pool, over streams of
//! residuals (llama.cpp b11434 `src/models/glm5-next.cpp`).

use super::attention::{AttentionInputs, CacheInputs};
use super::builder::Builder;
use super::tensor::{Id, NONE, Op};
use crate::gguf::TensorType;

/// The slot of a layer's indexer rows beside its K: key, gate and pooled key of each cell.
const INDEXER_CACHE: u8 = 2;
pub(crate) const INDEXER_PARTS: u64 = 3;
/// Pools are padded to this many (`src/llama-memory-hybrid-idx.cpp:386`).
const POOL_PADDING: u64 = 64;

/// What all layers that choose cells read.
#[derive(Debug, Clone, Copy)]
struct Pools {
    rows: Id,
    cells: Id,
    members: Id,
    mask: Id,
    tail: Id,
    live: Id,
    new_members: Id,
    new_cells: Id,
    /// Tokens of a pool.
    each: u64,
    count: u64,
    new: u64,
    /// Pools that a token sees, and the cells.
    seen: u64,
    seen_cells: u64,
    keeps_tail: bool,
}

impl Builder<'_> {
    pub(crate) fn glm5_next(&mut self) {
        let embedded = self.input_embedding(false);
        let states = self.state_inputs();
        let inputs = self.latent_inputs();
        let pools = self.pool_inputs();
        let mut streams = self.spread_streams(embedded);
        let mut chosen = NONE;
        for layer in self.layers.clone() {
            let (mixed, shares) = self.before_fused_block(streams, layer, "attn");
            let normed = self.layer_norm(mixed, layer, "attn_norm");
            self.graph.expand(normed);
            let attended = if self.model.recurrent[layer as usize] {
                self.kimi_delta_layer(states, normed, layer)
            } else {
                self.pooled_attention(&inputs, pools, normed, &mut chosen, layer)
            };
            streams = self.after_fused_block(attended, streams, shares, layer);
            let (mixed, shares) = self.before_fused_block(streams, layer, "ffn");
            let normed = self.layer_norm(mixed, layer, "ffn_norm");
            let fed = self.feed_forward_or_experts(normed, layer);
            streams = self.after_fused_block(fed, streams, shares, layer);
            self.end_layer(streams);
        }
        let rows = self.stream_rows(streams);
        let mean = self.mean_of_streams(rows);
        self.finish(mean, Op::RmsNorm);
    }

    fn mean_of_streams(&mut self, streams: Id) -> Id {
        let [width, count, tokens, _] = self.graph.get(streams).ne;
        let [_, stream, row, _] = self.graph.get(streams).nb;
        let mut sum = self.graph.view_2d(streams, width, tokens, row, 0);
        for at in 1..count {
            let one = self.graph.view_2d(streams, width, tokens, row, at * stream);
            sum = self.graph.add(sum, one);
        }
        self.graph.scale(sum)
    }

    fn pool_inputs(&mut self) -> Pools {
        let number = |key| self.model.whole(key).unwrap_or(0);
        let each = number("attention.indexer.kpool").max(1);
        let keeps_tail = number("attention.indexer.kpool_select_tail") != 0;
        let top = number("attention.indexer.top_k");
        let tokens = self.batch.tokens;
        // As many as a full cache of every sequence would have.
        let real = self.context.cells_per_sequence / each * self.context.sequences;
        let count = (real + 1).next_multiple_of(POOL_PADDING);
        let new = real.max(1);
        let seen = count.min(top / each);
        let seen_cells = each * seen + if keeps_tail { each - 1 } else { 0 };
        let mut input = |kind: TensorType, ne: [u64; 2]| self.graph.input(kind, [ne[0], ne[1], 1, 1]);
        let rows = input(TensorType::I64, [tokens, 1]);
        let cells = input(TensorType::I32, [count, 1]);
        let members = input(TensorType::I32, [each, count]);
        let mask = input(TensorType::F16, [count, tokens]);
        let tail = input(TensorType::I32, [each - 1, tokens]);
        let live = self.graph.input(TensorType::F32, [seen_cells, 1, 1, tokens]);
        for id in [cells, members, mask, tail, live] {
            self.graph.expand(id);
        }
        let new_members = self.graph.input(TensorType::I32, [each, new, 1, 1]);
        let new_cells = self.graph.input(TensorType::I64, [new, 1, 1, 1]);
        Pools {
            rows,
            cells,
            members,
            mask,
            tail,
            live,
            new_members,
            new_cells,
            each,
            count,
            new,
            seen,
            seen_cells,
            keeps_tail,
        }
    }

    /// Latent attention without positions, to the chosen cells.
    fn pooled_attention(
        &mut self,
        inputs: &AttentionInputs,
        pools: Pools,
        normed: Id,
        chosen: &mut Id,
        layer: u32,
    ) -> Id {
        let tokens = self.batch.tokens;
        let heads = self.model.heads[layer as usize];
        let [head, _, rank] = self.model.latent_sizes(layer);
        let compressed = self.multiply(normed, layer, "attn_q_a");
        let compressed = self.rms_norm(compressed, layer, "attn_q_a_norm.weight");
        let q = self.multiply(compressed, layer, "attn_q_b");
        let q = self.graph.reshape(q, [head, heads, tokens, 1]);
        let k = self.multiply(normed, layer, "attn_kv_a_mqa");
        let k = self.rms_norm(k, layer, "attn_kv_a_norm.weight");
        let k = self.graph.reshape(k, [rank, 1, tokens, 1]);
        let q = self.graph.permute(q, [0, 2, 1, 3]);
        let k_b = self.needed(layer, "attn_k_b.weight");
        let q = self.graph.mul_mat(k_b, q);
        let q = self.graph.permute(q, [0, 2, 1, 3]);
        let cache = inputs.full;
        if self.model.indexer_key(layer) > 0 {
            *chosen = self.choose_pools(cache, pools, compressed, normed, layer);
        }
        self.graph.expand(q);
        self.graph.expand(k);
        self.store_k(layer, k, cache);
        let ne = self.graph.get(cache.mask).ne;
        let mask = self.graph.reshape(*chosen, ne);
        let v_b = self.needed(layer, "attn_v_b.weight");
        let attended = self.attend_compressed(layer, q, k, CacheInputs { mask, ..cache }, v_b);
        self.multiply(attended, layer, "attn_output")
    }

    /// Stores keys and gates, pools what is complete, and makes the mask that leaves the best pools' cells.
    fn choose_pools(&mut self, cache: CacheInputs, pools: Pools, compressed: Id, normed: Id, layer: u32) -> Id {
        let tokens = self.batch.tokens;
        let size = self.model.indexer_key(layer);
        let heads = self.model.whole("attention.indexer.head_count").unwrap_or(1);
        let q = self.multiply(compressed, layer, "indexer.attn_q_b");
        let q = self.graph.reshape(q, [size, heads, tokens, 1]);
        let pooled = self.pooled_keys(pools, normed, layer);
        let weights = self.multiply(normed, layer, "indexer.proj");
        let weights = self.graph.scale(weights);
        let scores = self.graph.lightning_indexer(q, pooled, weights, pools.mask);
        let best = self.graph.top_k(scores, pools.seen);
        let best = self.ordered(best, scores, pools);
        let flat = self.graph.reshape(best, [pools.seen * tokens, 1, 1, 1]);
        let cells = self.graph.get_rows(pools.members, flat);
        let mut cells = self.graph.reshape(cells, [pools.each * pools.seen, tokens, 1, 1]);
        if pools.keeps_tail {
            cells = self.graph.concat(cells, pools.tail, 0);
        }
        self.graph.expand(cells);
        self.mask_of_cells(cache.mask, pools, cells)
    }

    /// The keys of all pools, those that these tokens complete among them.
    fn pooled_keys(&mut self, pools: Pools, normed: Id, layer: u32) -> Id {
        let tokens = self.batch.tokens;
        let size = self.model.indexer_key(layer);
        let k = self.multiply(normed, layer, "indexer.attn_k");
        let (weight, bias) = (self.weight(layer, "indexer.k_norm.weight"), self.weight(layer, "indexer.k_norm.bias"));
        let k = self.norm_op(Op::Norm, k, weight, bias, Some(layer));
        let gate = self.multiply(normed, layer, "indexer_compressor_gate");
        let empty = self.graph.push(TensorType::F32, Op::None, [size, tokens, 1, 1], &[]);
        let empty = self.graph.like(Op::Fill, empty, &[]);
        let packed = self.graph.concat(k, gate, 0);
        let packed = self.graph.concat(packed, empty, 0);
        let packed = self.graph.reshape(packed, [INDEXER_PARTS * size, 1, tokens, 1]);
        let (cells, streams, kind) = (self.context.cells_per_sequence, self.context.streams, self.context.kind_k);
        let place = self.placement.cache_place(layer);
        let cache = self.cache(layer, INDEXER_CACHE, kind, [INDEXER_PARTS * size, cells, streams, 1], place);
        self.store_rows(cache, packed, pools.rows);
        let row = self.graph.nb(cache, 1);
        let keys = self.graph.view_2d(cache, 2 * size, cells * streams, row, 0);
        let pooled = self.graph.view_2d(cache, size, cells * streams, row, kind.row_bytes(2 * size));

        let members = self.graph.reshape(pools.new_members, [pools.each * pools.new, 1, 1, 1]);
        let rows = self.graph.get_rows(keys, members);
        let rows = self.graph.reshape(rows, [2 * size, pools.each, pools.new, 1]);
        let strides = [self.graph.nb(rows, 1), self.graph.nb(rows, 2)];
        let keys = self.graph.view_3d(rows, [size, pools.each, pools.new], strides, 0);
        let gates = self.graph.view_3d(rows, [size, pools.each, pools.new], strides, size * 4);
        let places = self.needed(layer, "indexer_compressor_ape.weight");
        let gates = self.graph.add(gates, places);
        let gates = self.graph.permute(gates, [1, 0, 2, 3]);
        let gates = self.graph.cont(gates);
        let gates = self.graph.reshape(gates, [pools.each, size * pools.new, 1, 1]);
        let shares = self.graph.like(Op::SoftMax, gates, &[]);
        let shares = self.graph.reshape(shares, [pools.each, size, pools.new, 1]);
        let keys = self.graph.permute(keys, [1, 0, 2, 3]);
        let keys = self.graph.cont(keys);
        let weighted = self.graph.mul(shares, keys);
        let made = self.graph.sum_rows(weighted);
        let made = self.graph.reshape(made, [size, pools.new, 1, 1]);
        let stored = self.graph.set_rows(pooled, made, pools.new_cells);
        self.graph.expand(stored);
        let all = self.graph.get_rows(pooled, pools.cells);
        self.graph.reshape(all, [size, 1, pools.count, 1])
    }

    /// The best pools, by descending score.
    fn ordered(&mut self, best: Id, scores: Id, pools: Pools) -> Id {
        let tokens = self.batch.tokens;
        let by_pool = self.graph.reshape(scores, [1, pools.count, tokens, 1]);
        let scores = self.graph.get_rows(by_pool, best);
        let scores = self.graph.reshape(scores, [pools.seen, tokens, 1, 1]);
        let order = self.graph.push(TensorType::I32, Op::Argsort, [pools.seen, tokens, 1, 1], &[scores]);
        let best = self.graph.cast(best, TensorType::F32);
        let best = self.graph.reshape(best, [1, pools.seen, tokens, 1]);
        let best = self.graph.get_rows(best, order);
        let best = self.graph.reshape(best, [pools.seen, tokens, 1, 1]);
        let best = self.graph.cont(best);
        self.graph.cast(best, TensorType::I32)
    }

    fn mask_of_cells(&mut self, mask: Id, pools: Pools, cells: Id) -> Id {
        let tokens = self.batch.tokens;
        let (all_cells, kind) = (self.graph.ne(mask, 0), self.graph.get(mask).kind);
        let rows_of = |builder: &mut Self, count: u64| {
            let one = builder.graph.push(kind, Op::None, [count, 1, 1, 1], &[]);
            let one = builder.graph.like(Op::Fill, one, &[]);
            let all = builder.graph.repeat(one, [count, tokens, 1, 1]);
            builder.graph.reshape(all, [1, count, tokens, 1])
        };
        let hidden = rows_of(self, all_cells + pools.seen_cells);
        let zeros = rows_of(self, pools.seen_cells);
        let live = self.graph.reshape(pools.live, [pools.seen_cells, tokens, 1, 1]);
        let live = self.graph.unary(live);
        let spare = self.graph.push(TensorType::F32, Op::Arange, [pools.seen_cells, 1, 1, 1], &[]);
        let at = self.graph.cast(cells, TensorType::F32);
        let at = self.graph.sub(at, spare);
        let at = self.graph.mul(at, live);
        let at = self.graph.add(at, spare);
        let at = self.graph.cast(at, TensorType::I32);
        let at = self.graph.reshape(at, [pools.seen_cells, tokens, 1, 1]);
        let seen = self.graph.set_rows(hidden, zeros, at);
        let row = self.graph.nb(seen, 2);
        let seen = self.graph.view_2d(seen, all_cells, tokens, row, 0);
        let mask = self.graph.reshape(mask, [all_cells, tokens, 1, 1]);
        self.graph.add(seen, mask)
    }
}
