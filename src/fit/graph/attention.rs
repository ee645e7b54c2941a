//! Attention over a KV cache, with flash attention or without, whole or windowed (llama.cpp b11434 `src/llama-graph.cpp:2691`).

use super::builder::Builder;
use super::tensor::{Id, NONE, Op};
use crate::gguf::TensorType;

/// The inputs that belong to one cache.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CacheInputs {
    pub(crate) k_rows: Id,
    pub(crate) v_rows: Id,
    pub(crate) mask: Id,
    pub(crate) k_rotation: Id,
    pub(crate) v_rotation: Id,
    /// Cells of each stream.
    pub(crate) cells: u64,
}

/// The caches of a model: for all of the context, and for the window.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AttentionInputs {
    pub(crate) full: CacheInputs,
    pub(crate) window: Option<CacheInputs>,
    /// Without, a batch attends to itself and nothing is stored.
    pub(crate) cached: bool,
}

impl AttentionInputs {
    pub(crate) fn of(&self, windowed: bool) -> CacheInputs {
        self.window.filter(|_| windowed).unwrap_or(self.full)
    }
}

/// Where attention's result goes, and what else takes part in it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attention<'n> {
    /// The projection of the result, without `.weight`; none for callers that go on with the raw result.
    pub(crate) output: Option<&'n str>,
    pub(crate) sinks: Id,
    /// V is stored by an earlier layer: nothing is written.
    pub(crate) reuses_layer: Option<u32>,
}

impl Attention<'_> {
    pub(crate) const PLAIN: Attention<'static> =
        Attention { output: Some("attn_output"), sinks: NONE, reuses_layer: None };
}

impl Builder<'_> {
    pub(crate) fn attention_inputs(&mut self) -> AttentionInputs {
        let full = self.cache_inputs(false);
        let window =
            (self.model.window > 0 && self.model.architecture.has_window_cache()).then(|| self.cache_inputs(true));
        AttentionInputs { full, window, cached: true }
    }

    fn cache_inputs(&mut self, windowed: bool) -> CacheInputs {
        let (tokens, context) = (self.batch.tokens, self.context);
        let cells = if windowed { context.window_cells } else { context.cells_per_sequence };
        let streams = context.streams_of(self.batch.sequences);
        let v_rows = if context.v_by_column { tokens * self.model.widest_v() } else { tokens };
        let mask_kind = if context.flash_attention { TensorType::F16 } else { TensorType::F32 };
        let k_rows = self.graph.input(TensorType::I64, [tokens, 1, 1, 1]);
        let v_rows = self.graph.input(TensorType::I64, [v_rows, 1, 1, 1]);
        let mask = self.graph.input(mask_kind, [cells, tokens / streams, 1, streams]);
        let rotation = self.model.rotations(context, windowed);
        let mut square = |size: u64| {
            if size == 0 { NONE } else { self.graph.input(TensorType::F32, [size, size, 1, 1]) }
        };
        let k_rotation = square(rotation.0);
        let v_rotation = square(rotation.1);
        CacheInputs { k_rows, v_rows, mask, k_rotation, v_rotation, cells }
    }

    /// Multiplies by a Hadamard matrix, in blocks of its size.
    pub(crate) fn rotate(&mut self, current: Id, rotation: Id) -> Id {
        if rotation == NONE {
            return current;
        }
        let ne = self.graph.get(current).ne;
        let size = self.graph.ne(rotation, 0);
        let flat = [size, self.graph.get(current).elements() / size, 1, 1];
        let shaped = if self.graph.get(current).is_contiguous() {
            self.graph.reshape(current, flat)
        } else {
            self.graph.cont_shaped(current, flat)
        };
        let rotated = self.graph.mul_mat(rotation, shaped);
        self.graph.reshape(rotated, ne)
    }

    /// Projections to queries, keys and values, as heads (`build_qkv`).
    pub(crate) fn queries_keys_values(&mut self, current: Id, layer: u32) -> (Id, Id, Id) {
        let heads = self.model.heads[layer as usize];
        let kv_heads = self.model.kv_heads[layer as usize];
        let (head_k, head_v) = (self.model.head_k_at(layer), self.model.head_v_at(layer));
        self.queries_keys_values_of(current, layer, [(head_k, heads), (head_k, kv_heads), (head_v, kv_heads)])
    }

    /// As above, with (head size, heads) of Q, K and V given.
    pub(crate) fn queries_keys_values_of(&mut self, current: Id, layer: u32, shapes: [(u64, u64); 3]) -> (Id, Id, Id) {
        let tokens = self.graph.ne(current, 1);
        if self.has(layer, "attn_qkv.weight") {
            let mut joined = self.project(current, layer, "attn_qkv");
            if self.model.number("attention.clamp_kqv").is_some_and(|clamp| clamp > 0.0) {
                joined = self.graph.like(Op::Clamp, joined, &[]);
            }
            let row = self.graph.nb(joined, 1);
            let mut offset = 0;
            let mut part = |(head, count): (u64, u64)| {
                let view = self.graph.view_3d(joined, [head, count, tokens], [head * 4, row], offset);
                offset += head * count * 4;
                view
            };
            return (part(shapes[0]), part(shapes[1]), part(shapes[2]));
        }
        let mut one = |name: &str| {
            let mut current = self.project(current, layer, name);
            if self.model.number("attention.clamp_kqv").is_some_and(|clamp| clamp > 0.0) {
                current = self.graph.like(Op::Clamp, current, &[]);
            }
            current
        };
        let (q, k, v) = (one("attn_q"), one("attn_k"), one("attn_v"));
        let mut shape = |id: Id, (head, count): (u64, u64)| self.graph.reshape(id, [head, count, tokens, 1]);
        let q = shape(q, shapes[0]);
        let k = shape(k, shapes[1]);
        (q, k, shape(v, shapes[2]))
    }

    /// Stores K and V, attends, projects.
    pub(crate) fn attend(
        &mut self,
        inputs: &AttentionInputs,
        layer: u32,
        q: Id,
        k: Id,
        v: Id,
        how: Attention<'_>,
    ) -> Id {
        let cache = inputs.of(self.model.windowed[layer as usize]);
        if !inputs.cached {
            for id in [q, k, v] {
                self.graph.expand(id);
            }
            let current = self.heads(layer, q, k, v, cache.mask, how.sinks, None);
            return self.project_heads(current, layer, how);
        }
        let q = self.rotate(q, cache.k_rotation);
        let writes = how.reuses_layer.is_none();
        let (k, v) = if writes { (self.rotate(k, cache.k_rotation), self.rotate(v, cache.v_rotation)) } else { (k, v) };
        self.graph.expand(q);
        if writes {
            self.expand_k_and_v(k, v, inputs.window.is_some());
            self.store_k(layer, k, cache);
            self.store_v(layer, v, cache);
        }
        let owner = how.reuses_layer.unwrap_or(layer);
        let keys = self.keys(owner, cache.cells);
        let values = self.values(owner, cache.cells);
        let mut current = self.heads(layer, q, keys, values, cache.mask, how.sinks, None);
        current = self.rotate(current, cache.v_rotation);
        self.project_heads(current, layer, how)
    }

    fn project_heads(&mut self, current: Id, layer: u32, how: Attention<'_>) -> Id {
        match how.output {
            Some(name) => self.project(current, layer, name),
            None => current,
        }
    }

    fn expand_k_and_v(&mut self, k: Id, v: Id, k_first: bool) {
        let order = if k_first { [k, v] } else { [v, k] };
        for id in order {
            self.graph.expand(id);
        }
    }

    fn k_width(&self, layer: u32) -> u64 {
        self.model.head_k_at(layer) * self.model.kv_heads[layer as usize]
    }

    fn v_width(&self, layer: u32) -> u64 {
        self.model.head_v_at(layer) * self.model.kv_heads[layer as usize]
    }

    /// The layer's K cache, all streams.
    fn k_cache(&mut self, layer: u32, cells: u64) -> Id {
        let ne = [self.k_width(layer), cells, self.context.streams, 1];
        let place = self.placement.cache_place(layer);
        self.cache(layer, 0, self.context.kind_k, ne, place)
    }

    fn v_cache(&mut self, layer: u32, cells: u64) -> Id {
        let width = if self.context.v_by_column { self.model.widest_v() } else { self.v_width(layer) };
        let place = self.placement.cache_place(layer);
        self.cache(layer, 1, self.context.kind_v, [width, cells, self.context.streams, 1], place)
    }

    pub(crate) fn store_k(&mut self, layer: u32, k: Id, inputs: CacheInputs) {
        let cache = self.k_cache(layer, inputs.cells);
        self.store_rows(cache, k, inputs.k_rows);
    }

    pub(crate) fn store_rows(&mut self, cache: Id, rows: Id, indices: Id) {
        let rows_tensor = *self.graph.get(rows);
        let width = rows_tensor.ne[0] * rows_tensor.ne[1];
        let flat = self.graph.view_2d(rows, width, rows_tensor.ne[2], rows_tensor.nb[2], 0);
        let [_, cells, streams, _] = self.graph.get(cache).ne;
        let into = if streams > 1 { self.graph.reshape(cache, [width, cells * streams, 1, 1]) } else { cache };
        let stored = self.graph.set_rows(into, flat, indices);
        self.graph.expand(stored);
    }

    pub(crate) fn store_v(&mut self, layer: u32, v: Id, inputs: CacheInputs) {
        let cache = self.v_cache(layer, inputs.cells);
        if !self.context.v_by_column {
            self.store_rows(cache, v, inputs.v_rows);
            return;
        }
        let tensor = *self.graph.get(v);
        let width = tensor.ne[0] * tensor.ne[1];
        let flat = [width, tensor.ne[2], 1, 1];
        let mut rows = if tensor.kind.row_bytes(width) == tensor.nb[2] {
            self.graph.reshape(v, flat)
        } else {
            self.graph.cont_shaped(v, flat)
        };
        let cache_width = self.graph.ne(cache, 0);
        if width < cache_width {
            rows = self.graph.pad_first(rows, cache_width - width);
        }
        let all = self.graph.get(cache).elements();
        let into = self.graph.reshape(cache, [1, all, 1, 1]);
        let elements = self.graph.get(rows).elements();
        let rows = self.graph.reshape(rows, [1, elements, 1, 1]);
        let stored = self.graph.set_rows(into, rows, inputs.v_rows);
        self.graph.expand(stored);
    }

    pub(crate) fn keys(&mut self, layer: u32, cells: u64) -> Id {
        let cache = self.k_cache(layer, cells);
        let (head, heads) = (self.model.head_k_at(layer), self.model.kv_heads[layer as usize]);
        let kind = self.context.kind_k;
        let width = kind.row_bytes(head * heads);
        self.graph.view(
            cache,
            [head, heads, cells, self.context.streams],
            [kind.row_bytes(head), width, width * cells],
            0,
        )
    }

    pub(crate) fn values(&mut self, layer: u32, cells: u64) -> Id {
        let cache = self.v_cache(layer, cells);
        let (head, heads) = (self.model.head_v_at(layer), self.model.kv_heads[layer as usize]);
        let kind = self.context.kind_v;
        let width = self.graph.ne(cache, 0);
        let streams = self.context.streams;
        if !self.context.v_by_column {
            let row = kind.row_bytes(width);
            return self.graph.view(cache, [head, heads, cells, streams], [kind.row_bytes(head), row, row * cells], 0);
        }
        let column = kind.row_bytes(cells);
        self.graph.view(cache, [cells, heads, head, streams], [column * head, column, column * width], 0)
    }

    /// Queries against keys and values (`build_attn_mha`). `v_mla` decompresses a latent result.
    #[expect(clippy::too_many_arguments, reason = "attention has that many parts")]
    pub(crate) fn heads(&mut self, layer: u32, q: Id, k: Id, v: Id, mask: Id, sinks: Id, v_mla: Option<Id>) -> Id {
        let transposed = self.graph.nb(v, 1) > self.graph.nb(v, 2);
        let streams = self.graph.ne(k, 3);
        let tensor = *self.graph.get(q);
        let per_stream = tensor.ne[2] / streams;
        let q = self.graph.view(
            q,
            [tensor.ne[0], tensor.ne[1], per_stream, streams],
            [tensor.nb[1], tensor.nb[2], tensor.nb[2] * per_stream],
            0,
        );
        let q = self.graph.permute(q, [0, 2, 1, 3]);
        let mut k = self.graph.permute(k, [0, 2, 1, 3]);
        let mut v = self.graph.permute(v, [0, 2, 1, 3]);
        let result = if self.context.flash_attention {
            if transposed {
                v = self.graph.transpose(v);
            }
            if self.graph.get(k).kind == TensorType::F32 {
                k = self.graph.cast(k, TensorType::F16);
            }
            if self.graph.get(v).kind == TensorType::F32 {
                v = self.graph.cast(v, TensorType::F16);
            }
            let mut current = self.graph.flash_attention(q, k, v, mask, sinks);
            self.attention_nodes.push((current, layer));
            if let Some(v_mla) = v_mla {
                current = self.graph.permute(current, [0, 2, 1, 3]);
                current = self.graph.mul_mat(v_mla, current);
                current = self.graph.permute(current, [0, 2, 1, 3]);
                current = self.graph.cont(current);
            }
            let ne = self.graph.get(current).ne;
            self.graph.reshape(current, [ne[0] * ne[1], ne[2] * ne[3], 1, 1])
        } else {
            let mut scores = self.graph.mul_mat(k, q);
            let style = self.model.architecture.style;
            if style.caps_attention_always || style.caps_attention && self.has_factor("attn_logit_softcapping") {
                scores = self.graph.scale(scores);
                scores = self.graph.unary(scores);
                scores = self.graph.scale(scores);
            }
            scores = self.graph.like(Op::SoftMax, scores, &[mask]);
            self.graph.get_mut(scores).sources[2] = sinks;
            if !transposed {
                v = self.graph.transpose(v);
                v = self.graph.cont(v);
            }
            let mut current = self.graph.mul_mat(v, scores);
            if let Some(v_mla) = v_mla {
                current = self.graph.mul_mat(v_mla, current);
            }
            current = self.graph.permute(current, [0, 2, 1, 3]);
            let ne = self.graph.get(current).ne;
            current = self.graph.cont_shaped(current, [ne[0] * ne[1], ne[2] * ne[3], 1, 1]);
            if !self.context.cache_on_gpu {
                self.graph.get_mut(current).pinned_backend = self.placement.host_backend();
            }
            current
        };
        self.graph.expand(result);
        result
    }
}
