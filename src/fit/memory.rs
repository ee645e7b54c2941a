//! The buffers whose size follows from the settings alone: weights, KV cache, recurrent state (`knowledge` in closed form).

use std::collections::BTreeMap;
use std::ops::Range;

use super::architecture::{GraphKind, Memory};
use super::context::Context;
use super::graph::cuda;
use super::graph::glm5_next::INDEXER_PARTS;
use super::graph::recurrent::StatePart;
use super::graph::tensor::Place;
use super::model::{Class, Model, Weight};
use super::placement::Placement;
use super::settings::LoadMode;
use crate::gguf::TensorType;

const CUDA_ALIGNMENT: u64 = 128;
const HOST_ALIGNMENT: u64 = 32;

/// Bytes of one tensor in a buffer at `place`.
fn padded(place: Place, kind: TensorType, row: u64, bytes: u64) -> u64 {
    match place {
        Place::Device(_) => (bytes + cuda::row_padding(kind, row)).next_multiple_of(CUDA_ALIGNMENT),
        Place::Host => bytes.next_multiple_of(HOST_ALIGNMENT),
    }
}

/// Bytes by place.
pub(crate) type ByPlace = BTreeMap<Place, u64>;

/// Weights by place. Mapped files count the span from the first to the last host tensor, whatever lies between.
pub(crate) fn weights(model: &Model, placement: &Placement, load_mode: LoadMode, mtp: bool) -> (ByPlace, &'static str) {
    let mapped = matches!(load_mode, LoadMode::Auto | LoadMode::Mmap | LoadMode::MmapMlock);
    let mut by_place = ByPlace::new();
    let mut spans: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
    let mut put = |place: Place, weight: &Weight| {
        if mapped && place == Place::Host {
            let span = spans.entry(weight.shard).or_insert((u64::MAX, 0));
            *span = (span.0.min(weight.offset), span.1.max(weight.offset + weight.bytes));
        } else {
            *by_place.entry(place).or_default() += padded(place, weight.kind, weight.dims[0], weight.bytes);
        }
    };
    for (weight, place) in model.weights.iter().zip(&placement.weights) {
        match weight.class {
            Class::Layer(layer)
                if layer >= model.layers() && !mtp && !model.architecture.loads_of_mtp(&weight.name) => {}
            Class::EveryDevice => {
                let mut places: Vec<Place> = placement.layers.clone();
                places.sort();
                places.dedup();
                for place in places {
                    put(place, weight);
                }
            }
            _ => put(*place, weight),
        }
    }
    if model.output_is_tied()
        && placement.output != Place::Host
        && let Some(table) = model.weight("token_embd.weight")
    {
        put(placement.output, table);
    }
    let span: u64 = spans.values().map(|(start, end)| end - start).sum();
    if span > 0 {
        *by_place.entry(Place::Host).or_default() += span;
    }
    (by_place, if mapped { "CPU_Mapped" } else { "CUDA_Host" })
}

/// KV cache of some layers by place, and the bytes without padding.
pub(crate) fn kv_cache(model: &Model, layers: Range<u32>, context: &Context, placement: &Placement) -> (ByPlace, u64) {
    let mut by_place = ByPlace::new();
    let mut plain = 0;
    for layer in layers {
        for (kind, width, cells) in model.cache_rows(layer, context) {
            let bytes = kind.row_bytes(width) * cells * context.streams;
            let place = placement.cache_place(layer);
            *by_place.entry(place).or_default() += padded(place, kind, width, bytes);
            plain += bytes;
        }
    }
    (by_place, plain)
}

/// Bytes of KV cache that one more token of context costs.
pub(crate) fn bytes_per_token(model: &Model, layers: Range<u32>, context: &Context) -> u64 {
    if model.architecture.graph == GraphKind::Deepseek4 {
        let each = |layer| {
            let rows = model.compressors(layer).into_iter();
            rows.map(|one| context.kind_k.row_bytes(one.key) / one.ratio).sum::<u64>()
        };
        return layers.map(each).sum();
    }
    layers
        .filter(|layer| !model.windowed[*layer as usize])
        .flat_map(|layer| model.cache_rows(layer, context))
        .map(|(kind, width, _)| kind.row_bytes(width))
        .sum()
}

/// Recurrent state by place: 32-bit floats, whatever the cache types.
pub(crate) fn recurrent_state(model: &Model, context: &Context, placement: &Placement) -> (ByPlace, u64) {
    let mut by_place = ByPlace::new();
    let mut plain = 0;
    let rows = context.sequences * (1 + context.state_snapshots);
    for layer in (0..model.layers()).filter(|layer| model.recurrent[*layer as usize]) {
        for width in
            [StatePart::R, StatePart::S].map(|part| model.state_width(part)).into_iter().filter(|width| *width > 0)
        {
            let bytes = width * 4 * rows;
            let place = placement.cache_place(layer);
            *by_place.entry(place).or_default() += padded(place, TensorType::F32, width, bytes);
            plain += bytes;
        }
    }
    (by_place, plain)
}

impl Model {
    /// The cache tensors of a layer: type, elements in a row, cells in a stream.
    pub(crate) fn cache_rows(&self, layer: u32, context: &Context) -> Vec<(TensorType, u64, u64)> {
        let kv_heads = self.kv_heads[layer as usize];
        let is_hybrid = self.recurrent[layer as usize] && !self.architecture.attends_and_recurs();
        if is_hybrid || layer >= self.cached_layers() || self.architecture.memory == Memory::None {
            return Vec::new();
        }
        let cells = if self.windowed[layer as usize] { context.window_cells } else { context.cells_per_sequence };
        if self.architecture.graph == GraphKind::Deepseek4 {
            return self.deepseek4_rows(layer, context);
        }
        if kv_heads == 0 {
            // Padded as all others are, though nothing is ever written to it.
            let padded = self.architecture.memory == Memory::Kv && !context.flash_attention;
            return if padded { vec![(context.kind_v, self.widest_v(), cells)] } else { Vec::new() };
        }
        if self.is_latent() {
            let parts = if self.architecture.graph == GraphKind::Glm5Next { INDEXER_PARTS } else { 1 };
            let indexer = (context.kind_k, parts * self.indexer_key(layer), cells);
            let both = [(context.kind_k, self.head_k_at(layer), cells), indexer];
            return both.into_iter().filter(|(_, width, _)| *width > 0).collect();
        }
        let v_width = if context.v_by_column { self.widest_v() } else { self.head_v_at(layer) * kv_heads };
        let mut rows =
            vec![(context.kind_k, self.head_k_at(layer) * kv_heads, cells), (context.kind_v, v_width, cells)];
        if self.architecture.graph == GraphKind::MinimaxM3
            && let Some([key, value]) = self.block_indexer_rows(layer)
        {
            rows.extend([(context.kind_k, key, cells), (context.kind_v, value, cells)]);
        }
        rows
    }

    /// The caches are apart for each sequence, whatever the flags say: the cells of all of them, by stream.
    fn deepseek4_rows(&self, layer: u32, context: &Context) -> Vec<(TensorType, u64, u64)> {
        let sequences = context.sequences / context.streams;
        let mut rows = vec![(context.kind_k, self.head_k, context.raw_cells(self, context.whole_window) * sequences)];
        for one in self.compressors(layer) {
            let state =
                (TensorType::F32, one.state_width(), one.state_rows() * sequences * (1 + context.state_snapshots));
            rows.push((context.kind_k, one.key, context.compressed_cells(one.ratio) * sequences));
            rows.extend([state, state]);
        }
        rows
    }

    /// Elements of the widest V row: without flash attention all layers are padded to it.
    pub(crate) fn widest_v(&self) -> u64 {
        (0..self.layers_all).map(|layer| self.head_v_at(layer) * self.kv_heads[layer as usize]).max().unwrap_or(0)
    }

    /// K and V are one compressed row (`is_mla`, `src/llama-hparams.cpp:298`).
    pub(crate) fn is_latent(&self) -> bool {
        let given = |key| self.whole(key).is_some_and(|value| value > 0);
        given("attention.key_length_mla") && given("attention.value_length_mla")
    }

    /// Layers from this one on read the caches of earlier ones.
    pub(crate) fn cached_layers(&self) -> u32 {
        let shared = self.whole("attention.shared_kv_layers").unwrap_or(0) as u32;
        self.architecture.cached_layers.unwrap_or_else(|| self.layers_all.saturating_sub(shared))
    }

    /// The layer whose cache this one reads instead of its own (`src/llama-model.cpp`: the last but one, if windowed).
    pub(crate) fn cache_owner(&self, layer: u32) -> Option<u32> {
        let cached = self.cached_layers();
        (layer >= cached).then(|| cached.saturating_sub(if self.windowed[layer as usize] { 2 } else { 1 }))
    }

    /// Sizes of the Hadamard matrices for K and V of one cache; 0 = none (`src/llama-kv-cache.cpp:315`).
    pub(crate) fn rotations(&self, context: &Context, windowed: bool) -> (u64, u64) {
        let layers = || {
            (0..self.layers()).filter(move |layer| {
                self.windowed[*layer as usize] == windowed && !self.cache_rows(*layer, context).is_empty()
            })
        };
        let one = |of: &dyn Fn(u32) -> u64| {
            let first = layers().next().map(of)?;
            layers().all(|layer| of(layer) == first).then_some(first).filter(|size| *size > 0)
        };
        let k = one(&|layer| self.head_k_at(layer))
            .filter(|_| context.kind_k.is_quantized() && self.head_k.is_multiple_of(64));
        let v = one(&|layer| self.head_v_at(layer))
            .filter(|_| context.kind_v.is_quantized() && self.head_v.is_multiple_of(64) && !self.is_latent());
        let largest = |head: u64| {
            let mut size = 64;
            while head.is_multiple_of(2 * size) {
                size *= 2;
            }
            size
        };
        (k.map_or(0, largest), v.map_or(0, |_| 64))
    }

    /// Elements of a token's embedding as it enters the graph.
    pub(crate) fn embedding_inputs(&self) -> u64 {
        self.embedding * (1 + self.deepstack_layers())
    }

    /// Layers after which a further part of the input embedding is added.
    pub(crate) fn deepstack_layers(&self) -> u64 {
        self.whole("n_deepstack_layers").unwrap_or(0)
    }

    /// Elements of an RWKV head; 1 for files without.
    pub(crate) fn wkv_head(&self) -> u64 {
        self.whole("wkv.head_size").unwrap_or(1).max(1)
    }

    /// Tokens that an RWKV layer remembers as they were (`src/llama-hparams.h`: two where the file does not say).
    pub(crate) fn token_shifts(&self) -> u64 {
        self.whole("token_shift_count").unwrap_or(2)
    }

    /// RWKV 6 halves what some layers hand on.
    pub(crate) fn rescales_after(&self, layer: u32) -> bool {
        self.whole("rescale_every_n_layers").is_some_and(|every| every > 0 && u64::from(layer + 1) % every == 0)
    }

    /// Floats of one of a recurrent layer's two state tensors (`src/llama-hparams.cpp:208`).
    pub(crate) fn state_width(&self, part: StatePart) -> u64 {
        let number = |key| self.whole(key).unwrap_or(0);
        let wkv_head = number("wkv.head_size");
        if wkv_head > 0 {
            return match part {
                StatePart::R => self.token_shifts() * self.embedding,
                StatePart::S => self.embedding * wkv_head,
            };
        }
        let inner = self.heads[0] * number("kda.head_dim");
        match part {
            StatePart::R if number("shortconv.l_cache") > 0 => self.embedding * (number("shortconv.l_cache") - 1),
            StatePart::R if inner > 0 => {
                3 * self.whole("ssm.conv_kernel").map_or(3, |width| width.saturating_sub(1)) * inner
            }
            StatePart::S if inner > 0 => number("kda.head_dim") * inner,
            StatePart::R => {
                let columns = number("ssm.conv_kernel").saturating_sub(1);
                columns * (number("ssm.inner_size") + 2 * number("ssm.group_count") * number("ssm.state_size"))
            }
            StatePart::S => number("ssm.state_size") * number("ssm.inner_size"),
        }
    }
}
