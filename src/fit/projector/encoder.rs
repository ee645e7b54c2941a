//! The pieces that the encoders' graphs are made of: weights, norms, projections, attention, and the vision transformer that
//! most of them are (b11434 `tools/mtmd/clip.cpp:322`).

use std::collections::HashMap;

use super::side::Side;
use crate::fit::graph::tensor::{Graph, Home, Id, NONE, Op, Place};
use crate::gguf::{Tensor, TensorType};

pub(super) struct Encoder<'a> {
    pub(super) graph: Graph,
    pub(super) side: &'a Side,
    /// Pixels, or frames and bins.
    pub(super) size: [u64; 2],
    pub(super) flash_attention: bool,
    /// Gemma 4 limits what goes into a projection and what comes out.
    pub(super) clamps: bool,
    tensors: &'a HashMap<&'a str, &'a Tensor>,
    weights: HashMap<&'a str, Id>,
    place: Place,
}

/// What a vision transformer of the usual form leaves open.
pub(super) struct Form {
    pub(super) norm: Op,
    /// Learned positions, added to the patches.
    pub(super) positions: Id,
    pub(super) rope: Rope,
    /// Values are normed too.
    pub(super) norms_values: bool,
    /// Two rows become one after the last layer.
    pub(super) halves_rows: bool,
}

impl Form {
    pub(super) const PLAIN: Self =
        Self { norm: Op::Norm, positions: NONE, rope: Rope::None, norms_values: false, halves_rows: false };
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Rope {
    None,
    /// By four positions a patch at once.
    Whole(Id),
    /// Each half of a head by its own position.
    Halves(Id, Id),
}

impl<'a> Encoder<'a> {
    pub(super) fn new(side: &'a Side, tensors: &'a HashMap<&'a str, &'a Tensor>, place: Place) -> Self {
        Self {
            graph: Graph::default(),
            side,
            size: side.warm_up(),
            flash_attention: true,
            clamps: false,
            tensors,
            weights: HashMap::new(),
            place,
        }
    }

    pub(super) fn columns(&self) -> u64 {
        self.size[0] / self.side.patch
    }

    pub(super) fn rows(&self) -> u64 {
        self.size[1] / self.side.patch
    }

    pub(super) fn patches(&self) -> u64 {
        self.columns() * self.rows()
    }

    pub(super) fn weight(&mut self, name: &str) -> Option<Id> {
        let (name, tensor) = self.tensors.get_key_value(name)?;
        if let Some(id) = self.weights.get(name) {
            return Some(*id);
        }
        let id = self.graph.resident(tensor.tensor_type, tensor.dims, Home::Weight(self.place));
        self.weights.insert(name, id);
        Some(id)
    }

    pub(super) fn shape(&self, name: &str) -> Option<[u64; 4]> {
        self.tensors.get(name).map(|tensor| tensor.dims)
    }

    /// A weight of the encoder itself.
    fn own(&self, name: &str) -> String {
        format!("{}.{name}", self.side.modality.prefix())
    }

    pub(super) fn multiply(&mut self, name: &str, current: Id) -> Option<Id> {
        let weight = self.weight(&format!("{name}.weight"))?;
        if !self.clamps {
            return Some(self.graph.mul_mat(weight, current));
        }
        let clamped = self.graph.like(Op::Clamp, current, &[]);
        let product = self.graph.mul_mat(weight, clamped);
        Some(self.graph.like(Op::Clamp, product, &[]))
    }

    /// A projection and its bias, where the file has one.
    pub(super) fn linear(&mut self, name: &str, current: Id) -> Option<Id> {
        let product = self.multiply(name, current)?;
        Some(self.plus(&format!("{name}.bias"), product))
    }

    pub(super) fn plus(&mut self, name: &str, current: Id) -> Id {
        match self.weight(name) {
            Some(bias) => self.graph.add(current, bias),
            None => current,
        }
    }

    pub(super) fn times(&mut self, name: &str, current: Id) -> Id {
        match self.weight(name) {
            Some(factor) => self.graph.mul(current, factor),
            None => current,
        }
    }

    pub(super) fn norm(&mut self, op: Op, name: &str, current: Id) -> Id {
        let normed = self.graph.like(op, current, &[]);
        let scaled = self.times(&format!("{name}.weight"), normed);
        self.plus(&format!("{name}.bias"), scaled)
    }

    pub(super) fn norm_if(&mut self, op: Op, name: &str, current: Id) -> Id {
        if self.tensors.contains_key(format!("{name}.weight").as_str()) {
            self.norm(op, name, current)
        } else {
            current
        }
    }

    /// Up, perhaps a gate, and down; `names` in that order.
    pub(super) fn feed_forward(&mut self, names: [&str; 3], current: Id) -> Option<Id> {
        let [up, gate, down] = names;
        let up = self.linear(up, current)?;
        let hidden = match self.linear(gate, current) {
            Some(gate) => self.graph.glu_split(gate, up),
            None => self.graph.unary(up),
        };
        self.linear(down, hidden)
    }

    pub(super) fn input(&mut self, kind: TensorType, ne: [u64; 4]) -> Id {
        self.graph.input(kind, ne)
    }

    pub(super) fn positions(&mut self, count: u64) -> Id {
        self.input(TensorType::I32, [count, 1, 1, 1])
    }

    pub(super) fn image(&mut self, channels: u64) -> Id {
        self.input(TensorType::F32, [self.size[0], self.size[1], channels, 1])
    }

    /// A convolution without padding whose steps are as long as its kernel (`ggml_conv_2d`).
    pub(super) fn convolve(&mut self, kernel: Id, image: Id) -> Id {
        let [width, height, channels, out] = self.graph.get(kernel).ne;
        let of = self.graph.get(image).ne;
        let kind = if self.graph.get(kernel).kind == TensorType::BF16 { TensorType::F32 } else { TensorType::F16 };
        let (columns, rows) = (of[0] / width, of[1] / height);
        let flat = width * height * channels;
        let unrolled = self.graph.push(kind, Op::Unroll, [flat, columns, rows, of[3]], &[kernel, image]);
        let unrolled = self.graph.reshape(unrolled, [flat, columns * rows * of[3], 1, 1]);
        let kernel = self.graph.reshape(kernel, [flat, out, 1, 1]);
        let product = self.graph.mul_mat(unrolled, kernel);
        let product = self.graph.reshape(product, [columns, rows, of[3], out]);
        let product = self.graph.permute(product, [0, 1, 3, 2]);
        self.graph.cont(product)
    }

    /// A convolution over time, padded by half of its kernel (`ggml_conv_1d_ph`).
    pub(super) fn convolve_time(&mut self, kernel: Id, sound: Id, step: u64) -> Id {
        let [length, channels, out, _] = self.graph.get(kernel).ne;
        let of = self.graph.get(sound).ne;
        let kind = if self.graph.get(kernel).kind == TensorType::BF16 { TensorType::F32 } else { TensorType::F16 };
        let frames = (of[0] + 2 * (length / 2)).saturating_sub(length) / step + 1;
        let flat = length * channels;
        let unrolled = self.graph.push(kind, Op::Unroll, [flat, frames, of[2], 1], &[kernel, sound]);
        let unrolled = self.graph.reshape(unrolled, [flat, frames * of[2], 1, 1]);
        let kernel = self.graph.reshape(kernel, [flat, out, 1, 1]);
        let product = self.graph.mul_mat(unrolled, kernel);
        self.graph.reshape(product, [frames, out, of[2], 1])
    }

    /// The image's patches, a row each (`clip_graph::build_inp`).
    pub(super) fn patch_rows(&mut self) -> Option<Id> {
        let image = self.image(3);
        self.patch_rows_of(image)
    }

    pub(super) fn patch_rows_of(&mut self, image: Id) -> Option<Id> {
        let kernel = self.weight("v.patch_embd.weight")?;
        let patches = self.convolve(kernel, image);
        let patches = self.graph.reshape(patches, [self.patches(), self.side.width, 1, 1]);
        let patches = self.graph.transpose(patches);
        let patches = self.graph.cont(patches);
        Some(self.plus("v.patch_embd.bias", patches))
    }

    /// Learned positions, stretched to the image (`clip_graph::resize_position_embeddings`).
    pub(super) fn stretched_positions(&mut self) -> Option<Id> {
        let learned = self.weight("v.position_embd.weight")?;
        let side = (self.graph.ne(learned, 1) as f64).sqrt() as u64;
        let (columns, rows, width) = (self.columns(), self.rows(), self.side.width);
        if (columns, rows) == (side, side) {
            return Some(learned);
        }
        let square = self.graph.reshape(learned, [width, side, side, 1]);
        let square = self.graph.permute(square, [2, 0, 1, 3]);
        let stretched = self.graph.push(TensorType::F32, Op::Upscale, [columns, rows, width, 1], &[square]);
        let stretched = self.graph.permute(stretched, [1, 2, 0, 3]);
        Some(self.graph.cont_shaped(stretched, [width, columns * rows, 1, 1]))
    }

    pub(super) fn pool_2d(&mut self, current: Id, kernel: u64) -> Id {
        let [columns, rows, channels, images] = self.graph.get(current).ne;
        self.graph.push(TensorType::F32, Op::Pool, [columns / kernel, rows / kernel, channels, images], &[current])
    }

    /// Queries against keys and values (`clip_graph::build_attn`).
    pub(super) fn attend(&mut self, output: &str, [q, k, v]: [Id; 3], mask: Id) -> Option<Id> {
        for id in [q, k, v] {
            self.graph.expand_unselected(id);
        }
        let q = self.graph.permute(q, [0, 2, 1, 3]);
        let k = self.graph.permute(k, [0, 2, 1, 3]);
        let current = if self.flash_attention {
            let v = self.graph.permute(v, [0, 2, 1, 3]);
            let k = self.graph.cast(k, TensorType::F16);
            let v = self.graph.cast(v, TensorType::F16);
            let mask = if mask == NONE { NONE } else { self.graph.cast(mask, TensorType::F16) };
            let attended = self.graph.flash_attention(q, k, v, mask, NONE);
            let ne = self.graph.get(attended).ne;
            self.graph.reshape(attended, [ne[0] * ne[1], ne[2] * ne[3], 1, 1])
        } else {
            let v = self.graph.permute(v, [1, 2, 0, 3]);
            let v = self.graph.cont(v);
            let scores = self.graph.mul_mat(k, q);
            let scores = self.graph.like(Op::SoftMax, scores, &[mask]);
            let attended = self.graph.mul_mat(v, scores);
            let attended = self.graph.permute(attended, [0, 2, 1, 3]);
            let ne = self.graph.get(attended).ne;
            self.graph.cont_shaped(attended, [ne[0] * ne[1], ne[2] * ne[3], 1, 1])
        };
        self.linear(output, current)
    }

    fn rotate(&mut self, current: Id, rope: Rope) -> Id {
        match rope {
            Rope::None => current,
            Rope::Whole(positions) => self.graph.like(Op::Rope, current, &[positions]),
            Rope::Halves(first, second) => {
                let half = self.graph.like(Op::Rope, current, &[first]);
                self.graph.like(Op::Rope, half, &[second])
            }
        }
    }

    fn queries_keys_values(&mut self, block: &str, normed: Id, count: u64, norm: Op) -> Option<[Id; 3]> {
        let Side { head, heads, kv_heads, .. } = *self.side;
        let (q_norm, k_norm) = (format!("{block}.attn_q_norm"), format!("{block}.attn_k_norm"));
        if let Some(joined) = self.linear(&format!("{block}.attn_qkv"), normed) {
            let [q, k, v] = self.thirds(joined, count);
            return Some([self.norm_if(norm, &q_norm, q), self.norm_if(norm, &k_norm, k), v]);
        }
        let mut parts = [NONE; 3];
        for (part, name) in parts.iter_mut().zip(["attn_q", "attn_k", "attn_v"]) {
            *part = self.linear(&format!("{block}.{name}"), normed)?;
        }
        let by_head = self.shape(&format!("{q_norm}.weight")).is_some_and(|shape| shape[0] == head);
        let [mut q, mut k, v] = parts;
        if !by_head {
            (q, k) = (self.norm_if(norm, &q_norm, q), self.norm_if(norm, &k_norm, k));
        }
        q = self.graph.reshape(q, [head, heads, count, 1]);
        k = self.graph.reshape(k, [head, kv_heads, count, 1]);
        let v = self.graph.reshape(v, [head, kv_heads, count, 1]);
        if by_head {
            (q, k) = (self.norm_if(norm, &q_norm, q), self.norm_if(norm, &k_norm, k));
        }
        Some([q, k, v])
    }

    /// Views of the three parts of a joined projection.
    pub(super) fn thirds(&mut self, joined: Id, count: u64) -> [Id; 3] {
        let Side { head, heads, .. } = *self.side;
        let row = self.graph.nb(joined, 1);
        [0, 1, 2].map(|part| {
            self.graph.view(joined, [head, heads, count, 1], [head * 4, row, row * count], part * head * heads * 4)
        })
    }

    /// The transformer that most encoders are, over `count` rows (`clip_graph::build_vit`).
    pub(super) fn transformer(&mut self, input: Id, count: u64, form: &Form) -> Option<Id> {
        let width = self.side.width;
        let input = if form.positions == NONE { input } else { self.graph.add(input, form.positions) };
        let mut residual = self.graph.reshape(input, [width, count, 1, 1]);
        let pre = self.own("pre_ln");
        residual = self.norm_if(form.norm, &pre, residual);
        for layer in 0..self.side.layers {
            residual = self.block(layer, residual, count, form, NONE)?;
        }
        if form.halves_rows {
            residual = self.halve_rows(residual);
        }
        let post = self.own("post_ln");
        residual = self.norm_if(form.norm, &post, residual);
        let count = self.graph.ne(residual, 1);
        Some(self.graph.reshape(residual, [width, count, 1, 1]))
    }

    fn halve_rows(&mut self, current: Id) -> Id {
        let by_column = self.graph.transpose(current);
        let by_column = self.graph.cont(by_column);
        let [rows, width, ..] = self.graph.get(by_column).ne;
        let pooled = self.graph.push(TensorType::F32, Op::Pool, [rows / 2, width, 1, 1], &[by_column]);
        let pooled = self.graph.transpose(pooled);
        self.graph.cont(pooled)
    }

    /// One layer; `mask` limits what its patches see.
    pub(super) fn block(&mut self, layer: u64, residual: Id, count: u64, form: &Form, mask: Id) -> Option<Id> {
        let block = self.own(&format!("blk.{layer}"));
        let name = |part: &str| format!("{block}.{part}");
        let normed = self.norm(form.norm, &name("ln1"), residual);
        let [q, k, mut v] = self.queries_keys_values(&block, normed, count, form.norm)?;
        let (q, k) = (self.rotate(q, form.rope), self.rotate(k, form.rope));
        if form.norms_values {
            v = self.graph.rms_norm(v);
        }
        let mut current = self.attend(&name("attn_out"), [q, k, v], mask)?;
        current = self.times(&name("ls1.weight"), current);
        current = self.norm_if(form.norm, &name("attn_post_norm"), current);
        let residual = self.graph.add(current, residual);
        let normed = self.norm(form.norm, &name("ln2"), residual);
        // Old files have the two names the wrong way round (`clip.cpp:2334`).
        let swapped = self.shape(&name("ffn_down.weight")).is_some_and(|shape| shape[0] == self.side.width)
            && self.shape(&name("ffn_up.weight")).is_some_and(|shape| shape[0] != self.side.width);
        let (up, down) = if swapped { ("ffn_down", "ffn_up") } else { ("ffn_up", "ffn_down") };
        let mut current = self.feed_forward([&name(up), &name("ffn_gate"), &name(down)], normed)?;
        current = self.norm_if(form.norm, &name("ffn_post_norm"), current);
        current = self.times(&name("ls2.weight"), current);
        let current = self.graph.add(residual, current);
        Some(self.times(&name("out_scale.weight"), current))
    }
}
