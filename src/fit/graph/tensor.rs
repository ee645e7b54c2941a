//! A graph under construction: tensors by number, and the order in which they will be computed.
//! Shapes, views and source order follow ggml's own constructors (llama.cpp b11434 `ggml/src/ggml.c`): both decide lifetimes.

use crate::gguf::TensorType;

/// A tensor's number in its [`Graph`].
pub(crate) type Id = u32;
pub(crate) const NONE: Id = u32::MAX;
/// `GGML_MAX_SRC` (`ggml/include/ggml.h:224`).
pub(crate) const MAX_SOURCES: usize = 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    None,
    View,
    Reshape,
    Permute,
    Transpose,
    Dup,
    Add,
    Sub,
    AddId,
    Mul,
    Div,
    Sqr,
    Sqrt,
    Unary,
    Sigmoid,
    Softplus,
    RmsNorm,
    Norm,
    L2Norm,
    Rope,
    Scale,
    SoftMax,
    Clamp,
    Fill,
    Glu,
    MulMat,
    MulMatId,
    FlashAttention,
    GetRows,
    SetRows,
    Copy,
    Set,
    Cont,
    Concat,
    Repeat,
    SumRows,
    Mean,
    Argsort,
    Arange,
    /// Several residual streams, weighted and summed.
    MixStreams,
    TopK,
    LightningIndexer,
    Pad,
    SsmConv,
    SsmScan,
    GatedDeltaNet,
    /// Sine or cosine.
    Sine,
    /// Patches of an image as rows (`im2col`).
    Unroll,
    Pool,
    Upscale,
    /// The recurrence of RWKV 6 and 7, and of gated linear attention.
    Wkv,
}

impl Op {
    /// Ops that only say how another tensor's bytes are seen.
    pub(crate) const fn is_view(self) -> bool {
        matches!(self, Self::View | Self::Reshape | Self::Permute | Self::Transpose)
    }

    /// `ggml_op_can_inplace` (`ggml/src/ggml-alloc.c:21`)
    pub(crate) const fn can_be_in_place(self) -> bool {
        matches!(
            self,
            Self::Fill
                | Self::Scale
                | Self::Add
                | Self::Sub
                | Self::AddId
                | Self::Mul
                | Self::Div
                | Self::Sqr
                | Self::Sqrt
                | Self::Unary
                | Self::Sigmoid
                | Self::Softplus
                | Self::Rope
                | Self::RmsNorm
                | Self::Clamp
                | Self::SoftMax
        )
    }
}

/// Where a tensor that is not computed lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Home {
    /// The allocator finds it a place.
    Computed,
    /// A weight, on a device or in host memory.
    Weight(Place),
    /// KV cache or recurrent state.
    Cache(Place),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Place {
    Device(u8),
    Host,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Tensor {
    pub(crate) kind: TensorType,
    pub(crate) op: Op,
    /// Elements and strides in bytes, by dimension.
    pub(crate) ne: [u64; 4],
    pub(crate) nb: [u64; 4],
    /// The tensor whose bytes these are, always one that owns bytes; and where in it.
    pub(crate) view_of: Id,
    pub(crate) view_offset: u64,
    pub(crate) sources: [Id; MAX_SOURCES],
    pub(crate) home: Home,
    pub(crate) is_input: bool,
    pub(crate) is_output: bool,
    /// Part of the branch that is computed: fusions skip the others.
    pub(crate) is_computed: bool,
    /// CUDA has no kernel as precise as the architecture asks for.
    pub(crate) host_only: bool,
    /// The backend that llama.cpp insists on, or -1.
    pub(crate) pinned_backend: i8,
    /// How many sources name this tensor.
    pub(crate) uses: u32,
    visited: bool,
}

impl Tensor {
    pub(crate) fn sources(&self) -> impl Iterator<Item = Id> + '_ {
        self.sources.iter().copied().filter(|id| *id != NONE)
    }

    pub(crate) const fn is_view(&self) -> bool {
        self.view_of != NONE
    }

    pub(crate) fn elements(&self) -> u64 {
        self.ne.iter().product()
    }

    pub(crate) fn rows(&self) -> u64 {
        self.ne[1] * self.ne[2] * self.ne[3]
    }

    /// Bytes from the first element to the last.
    pub(crate) fn bytes(&self) -> u64 {
        if self.ne.contains(&0) {
            return 0;
        }
        let tail: u64 = (1..4).map(|dim| (self.ne[dim] - 1) * self.nb[dim]).sum();
        if self.kind.is_quantized() {
            self.ne[0] * self.nb[0] / self.kind.block() + tail
        } else {
            self.kind.block_bytes() + (self.ne[0] - 1) * self.nb[0] + tail
        }
    }

    pub(crate) fn is_contiguous(&self) -> bool {
        self.is_contiguous_from(0)
    }

    /// Dimensions above `dim` are packed (`ggml_is_contiguous_n`).
    pub(crate) fn is_contiguous_from(&self, dim: usize) -> bool {
        let mut next = self.kind.block_bytes();
        if self.ne[0] != self.kind.block() && self.nb[0] != next {
            return false;
        }
        next *= self.ne[0] / self.kind.block();
        for i in 1..4 {
            if i > dim {
                if self.ne[i] != 1 && self.nb[i] != next {
                    return false;
                }
                next *= self.ne[i];
            } else {
                next = self.ne[i] * self.nb[i];
            }
        }
        true
    }

    pub(crate) fn same_layout(&self, other: &Self) -> bool {
        self.kind == other.kind && self.ne == other.ne && self.nb == other.nb
    }
}

/// Packed strides of a shape, bytes.
fn packed(kind: TensorType, ne: [u64; 4]) -> [u64; 4] {
    let row = kind.row_bytes(ne[0]);
    [kind.block_bytes(), row, row * ne[1], row * ne[1] * ne[2]]
}

/// Tensors, and the order of the computed ones and of the leaves.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    pub(crate) tensors: Vec<Tensor>,
    pub(crate) nodes: Vec<Id>,
    pub(crate) leaves: Vec<Id>,
}

impl Graph {
    pub(crate) fn get(&self, id: Id) -> &Tensor {
        &self.tensors[id as usize]
    }

    pub(crate) fn get_mut(&mut self, id: Id) -> &mut Tensor {
        &mut self.tensors[id as usize]
    }

    pub(crate) fn ne(&self, id: Id, dim: usize) -> u64 {
        self.get(id).ne[dim]
    }

    pub(crate) fn nb(&self, id: Id, dim: usize) -> u64 {
        self.get(id).nb[dim]
    }

    pub(crate) fn push(&mut self, kind: TensorType, op: Op, ne: [u64; 4], sources: &[Id]) -> Id {
        let mut all = [NONE; MAX_SOURCES];
        all[..sources.len()].copy_from_slice(sources);
        self.tensors.push(Tensor {
            kind,
            op,
            ne,
            nb: packed(kind, ne),
            view_of: NONE,
            view_offset: 0,
            sources: all,
            home: Home::Computed,
            is_input: false,
            is_output: false,
            is_computed: false,
            host_only: false,
            pinned_backend: -1,
            uses: 0,
            visited: false,
        });
        (self.tensors.len() - 1) as Id
    }

    fn push_f32(&mut self, op: Op, ne: [u64; 4], sources: &[Id]) -> Id {
        self.push(TensorType::F32, op, ne, sources)
    }

    /// A view: the bytes of `of`, seen with another shape.
    fn push_view(&mut self, op: Op, of: Id, ne: [u64; 4], nb: [u64; 4], offset: u64, sources: &[Id]) -> Id {
        let root = self.get(of);
        let (view_of, base) = if root.is_view() { (root.view_of, root.view_offset) } else { (of, 0) };
        let kind = root.kind;
        let id = self.push(kind, op, ne, sources);
        let view = self.get_mut(id);
        view.nb = nb;
        view.view_of = view_of;
        view.view_offset = base + offset;
        id
    }

    /// An op over `a` with a result of its shape.
    pub(crate) fn like(&mut self, op: Op, a: Id, more: &[Id]) -> Id {
        let (kind, ne) = (self.get(a).kind, self.get(a).ne);
        let mut sources = [NONE; MAX_SOURCES];
        sources[0] = a;
        sources[1..=more.len()].copy_from_slice(more);
        self.push(kind, op, ne, &sources[..=more.len()])
    }

    pub(crate) fn input(&mut self, kind: TensorType, ne: [u64; 4]) -> Id {
        let id = self.push(kind, Op::None, ne, &[]);
        self.get_mut(id).is_input = true;
        id
    }

    /// A leaf that nobody fills.
    pub(crate) fn plain(&mut self, kind: TensorType, ne: [u64; 4]) -> Id {
        self.push(kind, Op::None, ne, &[])
    }

    pub(crate) fn resident(&mut self, kind: TensorType, ne: [u64; 4], home: Home) -> Id {
        let id = self.push(kind, Op::None, ne, &[]);
        self.get_mut(id).home = home;
        id
    }

    /// Sees a weight in another shape than the file's.
    pub(crate) fn reshape_resident(&mut self, id: Id, ne: [u64; 4]) {
        let nb = packed(self.get(id).kind, ne);
        let tensor = self.get_mut(id);
        (tensor.ne, tensor.nb) = (ne, nb);
    }

    pub(crate) fn add(&mut self, a: Id, b: Id) -> Id {
        self.like(Op::Add, a, &[b])
    }

    pub(crate) fn sub(&mut self, a: Id, b: Id) -> Id {
        self.like(Op::Sub, a, &[b])
    }

    pub(crate) fn mul(&mut self, a: Id, b: Id) -> Id {
        self.like(Op::Mul, a, &[b])
    }

    pub(crate) fn unary(&mut self, a: Id) -> Id {
        self.like(Op::Unary, a, &[])
    }

    pub(crate) fn scale(&mut self, a: Id) -> Id {
        self.like(Op::Scale, a, &[])
    }

    /// Scaled where it stands: a view of itself.
    pub(crate) fn scale_in_place(&mut self, a: Id) -> Id {
        self.in_place(Op::Scale, a, &[])
    }

    /// An op over `a` whose result overwrites it: a view of itself.
    pub(crate) fn in_place(&mut self, op: Op, a: Id, more: &[Id]) -> Id {
        let (ne, nb) = (self.get(a).ne, self.get(a).nb);
        let mut sources = [NONE; MAX_SOURCES];
        sources[0] = a;
        sources[1..=more.len()].copy_from_slice(more);
        self.push_view(op, a, ne, nb, 0, &sources[..=more.len()])
    }

    pub(crate) fn rms_norm(&mut self, a: Id) -> Id {
        self.like(Op::RmsNorm, a, &[])
    }

    pub(crate) fn mul_mat(&mut self, a: Id, b: Id) -> Id {
        let ne = [self.ne(a, 1), self.ne(b, 1), self.ne(b, 2), self.ne(b, 3)];
        self.push_f32(Op::MulMat, ne, &[a, b])
    }

    pub(crate) fn mul_mat_id(&mut self, a: Id, b: Id, ids: Id) -> Id {
        let ne = [self.ne(a, 1), self.ne(ids, 0), self.ne(b, 2), 1];
        self.push_f32(Op::MulMatId, ne, &[a, b, ids])
    }

    pub(crate) fn glu_split(&mut self, a: Id, b: Id) -> Id {
        self.like(Op::Glu, a, &[b])
    }

    /// A gated unit over both halves of each row.
    pub(crate) fn glu(&mut self, a: Id) -> Id {
        let mut ne = self.get(a).ne;
        ne[0] /= 2;
        let kind = self.get(a).kind;
        self.push(kind, Op::Glu, ne, &[a])
    }

    pub(crate) fn get_rows(&mut self, a: Id, rows: Id) -> Id {
        let ne = [self.ne(a, 0), self.ne(rows, 0), self.ne(rows, 1), self.ne(rows, 2)];
        let kind = if self.get(a).kind == TensorType::I32 { TensorType::I32 } else { TensorType::F32 };
        self.push(kind, Op::GetRows, ne, &[a, rows])
    }

    /// Writes `rows` into `into` at `indices`: a view of `into`.
    pub(crate) fn set_rows(&mut self, into: Id, rows: Id, indices: Id) -> Id {
        let (ne, nb) = (self.get(into).ne, self.get(into).nb);
        self.push_view(Op::SetRows, into, ne, nb, 0, &[rows, indices, into])
    }

    pub(crate) fn copy_into(&mut self, from: Id, into: Id) -> Id {
        let (ne, nb) = (self.get(into).ne, self.get(into).nb);
        self.push_view(Op::Copy, into, ne, nb, 0, &[from, into])
    }

    pub(crate) fn cast(&mut self, a: Id, kind: TensorType) -> Id {
        let ne = self.get(a).ne;
        let id = self.push(kind, Op::Copy, ne, &[a]);
        // The result is its own second source: so it is in ggml.
        self.get_mut(id).sources[1] = id;
        id
    }

    pub(crate) fn cont(&mut self, a: Id) -> Id {
        self.like(Op::Cont, a, &[])
    }

    pub(crate) fn cont_shaped(&mut self, a: Id, ne: [u64; 4]) -> Id {
        let kind = self.get(a).kind;
        self.push(kind, Op::Cont, ne, &[a])
    }

    pub(crate) fn view(&mut self, a: Id, ne: [u64; 4], nb: [u64; 3], offset: u64) -> Id {
        let element = self.get(a).kind.block_bytes();
        self.push_view(Op::View, a, ne, [element, nb[0], nb[1], nb[2]], offset, &[a])
    }

    /// `ggml_view_2d`: higher strides follow from the second.
    pub(crate) fn view_2d(&mut self, a: Id, ne0: u64, ne1: u64, nb1: u64, offset: u64) -> Id {
        self.view(a, [ne0, ne1, 1, 1], [nb1, nb1 * ne1, nb1 * ne1], offset)
    }

    /// `ggml_view_3d`
    pub(crate) fn view_3d(&mut self, a: Id, ne: [u64; 3], nb: [u64; 2], offset: u64) -> Id {
        self.view(a, [ne[0], ne[1], ne[2], 1], [nb[0], nb[1], nb[1] * ne[2]], offset)
    }

    pub(crate) fn view_1d(&mut self, a: Id, ne0: u64, offset: u64) -> Id {
        let kind = self.get(a).kind;
        let nb = packed(kind, [ne0, 1, 1, 1]);
        self.push_view(Op::View, a, [ne0, 1, 1, 1], nb, offset, &[a])
    }

    pub(crate) fn reshape(&mut self, a: Id, ne: [u64; 4]) -> Id {
        let nb = packed(self.get(a).kind, ne);
        self.push_view(Op::Reshape, a, ne, nb, 0, &[a])
    }

    pub(crate) fn permute(&mut self, a: Id, axes: [usize; 4]) -> Id {
        let (old_ne, old_nb) = (self.get(a).ne, self.get(a).nb);
        let (mut ne, mut nb) = ([0; 4], [0; 4]);
        for (from, to) in axes.into_iter().enumerate() {
            ne[to] = old_ne[from];
            nb[to] = old_nb[from];
        }
        self.push_view(Op::Permute, a, ne, nb, 0, &[a])
    }

    pub(crate) fn transpose(&mut self, a: Id) -> Id {
        let (mut ne, mut nb) = (self.get(a).ne, self.get(a).nb);
        ne.swap(0, 1);
        nb.swap(0, 1);
        self.push_view(Op::Transpose, a, ne, nb, 0, &[a])
    }

    pub(crate) fn concat(&mut self, a: Id, b: Id, dim: usize) -> Id {
        let mut ne = self.get(a).ne;
        ne[dim] += self.ne(b, dim);
        let kind = self.get(a).kind;
        self.push(kind, Op::Concat, ne, &[a, b])
    }

    pub(crate) fn repeat(&mut self, a: Id, ne: [u64; 4]) -> Id {
        let kind = self.get(a).kind;
        self.push(kind, Op::Repeat, ne, &[a])
    }

    pub(crate) fn sum_rows(&mut self, a: Id) -> Id {
        let mut ne = self.get(a).ne;
        ne[0] = 1;
        let kind = self.get(a).kind;
        self.push(kind, Op::SumRows, ne, &[a])
    }

    pub(crate) fn mean(&mut self, a: Id) -> Id {
        let mut ne = self.get(a).ne;
        ne[0] = 1;
        self.push_f32(Op::Mean, ne, &[a])
    }

    /// Indices of the `count` largest of each row: a sort of the whole row, and a view of its start.
    pub(crate) fn argsort_top_k(&mut self, a: Id, count: u64) -> Id {
        let ne = self.get(a).ne;
        let sorted = self.push(TensorType::I32, Op::Argsort, ne, &[a]);
        let nb = self.get(sorted).nb;
        self.view(sorted, [count, ne[1], ne[2], ne[3]], [nb[1], nb[2], nb[3]], 0)
    }

    /// Indices of the `count` largest of each row, by an op of its own.
    pub(crate) fn top_k(&mut self, a: Id, count: u64) -> Id {
        let ne = self.get(a).ne;
        self.push(TensorType::I32, Op::TopK, [count, ne[1], ne[2], ne[3]], &[a])
    }

    /// How much each token's indexer wants each cell.
    pub(crate) fn lightning_indexer(&mut self, q: Id, keys: Id, weights: Id, mask: Id) -> Id {
        let ne = [self.ne(keys, 2), self.ne(q, 2), 1, self.ne(q, 3)];
        self.push_f32(Op::LightningIndexer, ne, &[q, keys, weights, mask])
    }

    pub(crate) fn pad_first(&mut self, a: Id, by: u64) -> Id {
        let mut ne = self.get(a).ne;
        ne[0] += by;
        let kind = self.get(a).kind;
        self.push(kind, Op::Pad, ne, &[a])
    }

    pub(crate) fn flash_attention(&mut self, q: Id, k: Id, v: Id, mask: Id, sinks: Id) -> Id {
        let ne = [self.ne(v, 0), self.ne(q, 2), self.ne(q, 1), self.ne(q, 3)];
        self.push_f32(Op::FlashAttention, ne, &[q, k, v, mask, sinks])
    }

    /// Appends `id` and what it needs to the graph, sources first (`ggml_build_forward_expand`).
    pub(crate) fn expand(&mut self, id: Id) {
        self.visit(id, true);
    }

    /// Appends a branch that is not computed but still allocated (`ggml_build_forward_select`).
    pub(crate) fn expand_unselected(&mut self, id: Id) {
        self.visit(id, false);
    }

    fn visit(&mut self, id: Id, computed: bool) {
        if computed && self.get(id).op != Op::None {
            self.get_mut(id).is_computed = true;
        }
        if self.get(id).visited {
            if computed {
                for at in 0..MAX_SOURCES {
                    let source = self.get(id).sources[at];
                    if source != NONE
                        && source != id
                        && self.get(source).op != Op::None
                        && !self.get(source).is_computed
                    {
                        self.visit(source, true);
                    }
                }
            }
            return;
        }
        self.get_mut(id).visited = true;
        for at in 0..MAX_SOURCES {
            let source = self.get(id).sources[at];
            if source != NONE {
                self.visit(source, computed);
                self.get_mut(source).uses += 1;
            }
        }
        if self.get(id).op == Op::None {
            self.leaves.push(id);
        } else {
            self.nodes.push(id);
        }
    }
}
