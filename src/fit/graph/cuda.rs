//! What llama.cpp's CUDA backend can compute, and how many bytes it reserves for a result.

use super::tensor::{Home, NONE, Op, Place, Tensor};
use crate::gguf::TensorType;
use crate::units::ComputeCapability;

/// `MATRIX_ROW_PADDING`, elements (llama.cpp b11434 `ggml/src/ggml-cuda/common.cuh:186`).
const ROW_PADDING: u64 = 512;
/// `FATTN_KQ_STRIDE`, cells: flash attention over other lengths uses slower kernels.
const ATTENTION_STRIDE: u64 = 256;
const TURING: ComputeCapability = ComputeCapability::new(7, 5);
const VOLTA: ComputeCapability = ComputeCapability::new(7, 0);
const ADA: ComputeCapability = ComputeCapability::new(8, 9);

#[derive(Debug, Clone, Copy)]
pub(crate) struct CudaDevice {
    pub(crate) index: u8,
    pub(crate) compute_capability: ComputeCapability,
}

/// Padding after a quantized tensor whose rows are not whole multiples of [`ROW_PADDING`], bytes (`ggml-cuda.cu:912`).
pub(crate) fn row_padding(kind: TensorType, row: u64) -> u64 {
    if !kind.is_quantized() || row.is_multiple_of(ROW_PADDING) {
        0
    } else {
        kind.row_bytes(ROW_PADDING - row % ROW_PADDING)
    }
}

/// The bytes that a CUDA buffer reserves for a tensor.
pub(crate) fn allocation_bytes(tensors: &[Tensor], id: u32, device: &CudaDevice) -> u64 {
    let tensor = &tensors[id as usize];
    let bytes = tensor.bytes();
    if tensor.op == Op::FlashAttention {
        return bytes_with_f16_copies(tensors, tensor, bytes, device);
    }
    bytes + row_padding(tensor.kind, tensor.ne[0])
}

/// Flash attention keeps f16 copies of K and V behind its result where its kernel wants f16 (`fattn-common.cuh:47`).
fn bytes_with_f16_copies(tensors: &[Tensor], attention: &Tensor, bytes: u64, device: &CudaDevice) -> u64 {
    let [q, k, v] = [0, 1, 2].map(|at| &tensors[attention.sources[at] as usize]);
    let (copies_k, copies_v) = match kernel(tensors, attention, device) {
        Kernel::None => (false, false),
        Kernel::MatrixOrTile => (true, true),
        Kernel::Vector => {
            let fallback = !has_vector_kernel(q.ne[0], k.kind, v.kind);
            (k.kind == TensorType::F32 || fallback, v.kind == TensorType::F32 || fallback)
        }
    };
    let mut end = bytes;
    let copied_k = copies_k && k.kind != TensorType::F16;
    if copied_k {
        end = end.next_multiple_of(128) + k.elements() * 2;
    }
    let k_id = attention.sources[1];
    let v_is_view_of_k =
        v.view_of != NONE && (v.view_of == k_id || (v.view_of == k.view_of && v.view_offset == k.view_offset));
    if copies_v && v.kind != TensorType::F16 && !v_is_view_of_k {
        end = end.next_multiple_of(128) + v.elements() * 2;
    }
    end
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kernel {
    None,
    Vector,
    MatrixOrTile,
}

/// The pairs that official builds compile (`GGML_CUDA_FA_QUANTS`, `ggml/CMakeLists.txt:206`).
fn has_vector_kernel(head: u64, k: TensorType, v: TensorType) -> bool {
    const PAIRS: [TensorType; 4] = [TensorType::F16, TensorType::BF16, TensorType::Q4_0, TensorType::Q8_0];
    k == v && PAIRS.contains(&k) && matches!(head, 64 | 128 | 256)
}

fn is_attention_type(kind: TensorType) -> bool {
    matches!(
        kind,
        TensorType::F32
            | TensorType::F16
            | TensorType::BF16
            | TensorType::Q4_0
            | TensorType::Q4_1
            | TensorType::Q5_0
            | TensorType::Q5_1
            | TensorType::Q8_0
    )
}

/// The kernel that a device uses, as far as it decides memory (`fattn.cu:543`).
fn kernel(tensors: &[Tensor], attention: &Tensor, device: &CudaDevice) -> Kernel {
    let [q, k, v] = [0, 1, 2].map(|at| &tensors[attention.sources[at] as usize]);
    let mask = (attention.sources[3] != NONE).then(|| &tensors[attention.sources[3] as usize]);
    let ratio = q.ne[2] / k.ne[2].max(1);
    let aligned = [Some(q), Some(k), Some(v), mask]
        .into_iter()
        .flatten()
        .all(|tensor| tensor.kind.is_quantized() || tensor.nb[1..].iter().all(|stride| stride % 16 == 0));
    let grouped = ratio >= 2 && mask.is_some() && k.ne[1] % ATTENTION_STRIDE == 0 && aligned;
    let supported = match (k.ne[0], v.ne[0]) {
        (40 | 64 | 72 | 80 | 96 | 112 | 128 | 256, value) => value == k.ne[0],
        (192, 128) => grouped && ratio % 8 == 0,
        (320, 256) => grouped && ratio % 32 == 0,
        (512 | 576, 512) => grouped,
        _ => false,
    };
    if !supported
        || !is_attention_type(k.kind)
        || !is_attention_type(v.kind)
        || mask.is_some_and(|mask| mask.ne[2] != 1)
    {
        return Kernel::None;
    }
    let vector_possible = q.ne[0] <= 256 && q.ne[0] % 64 == 0 && q.ne[0] != 192 && k.ne[1] % ATTENTION_STRIDE == 0;
    if !vector_possible {
        return Kernel::MatrixOrTile;
    }
    let quantized = k.kind.is_quantized() || v.kind.is_quantized();
    let capability = device.compute_capability;
    let vector = if capability >= TURING {
        if quantized {
            q.ne[1] <= if capability >= ADA { 2 } else { 1 } || (!grouped && q.ne[1] == 1)
        } else {
            let one_token = capability >= ADA
                && q.ne[1] == 1
                && q.ne[3] == 1
                && !(ratio > 4 && (q.ne[0] >= 256 || k.ne[1] >= 8192));
            one_token || (!grouped && q.ne[1] == 1)
        }
    } else if capability >= VOLTA {
        let mut effective = 1;
        while ratio % (2 * effective) == 0 && effective < 8 {
            effective *= 2;
        }
        q.ne[1] * effective <= 2
    } else if quantized {
        q.ne[1] <= 2
    } else {
        q.ne[1] == 1 && !grouped
    };
    if vector { Kernel::Vector } else { Kernel::MatrixOrTile }
}

/// Whether the device can compute this node (`ggml-cuda.cu:5252`), as far as language models' graphs ask.
pub(crate) fn supports(tensors: &[Tensor], id: u32, device: &CudaDevice) -> bool {
    let tensor = &tensors[id as usize];
    let source = |at: usize| &tensors[tensor.sources[at] as usize];
    // The sources themselves, not what they view, must not be resident on another GPU.
    let elsewhere = tensor.host_only || tensor.sources().any(|source| {
        matches!(home_of(tensors, source), Home::Weight(Place::Device(other)) | Home::Cache(Place::Device(other)) if other != device.index)
    });
    if elsewhere {
        return false;
    }
    match tensor.op {
        Op::Unary | Op::Sigmoid | Op::Softplus => source(0).is_contiguous(),
        Op::Glu => source(0).is_contiguous_from(1),
        Op::MulMat | Op::MulMatId => {
            let (a, b) = (source(0), source(1));
            a.nb[0] == a.kind.block_bytes()
                && b.nb[0] == b.kind.block_bytes()
                && !(b.kind == TensorType::F16 && a.kind != TensorType::F16)
                && !matches!(a.kind, TensorType::TQ1_0 | TensorType::TQ2_0)
        }
        Op::GetRows => {
            let rows = source(0);
            match rows.kind {
                TensorType::IQ4_NL | TensorType::MXFP4 => rows.ne[0] % 256 == 0,
                kind => !matches!(kind, TensorType::NVFP4 | TensorType::TQ1_0 | TensorType::TQ2_0),
            }
        }
        Op::RmsNorm | Op::Norm | Op::L2Norm | Op::SumRows | Op::Mean => {
            let row = source(0);
            row.nb[0] == row.kind.block_bytes()
        }
        Op::Rope => source(0).nb[0] == source(0).kind.block_bytes() && source(0).is_contiguous_from(2),
        Op::SsmConv => source(0).ne[1] % 128 == 0,
        Op::SsmScan => {
            let state = source(0);
            if source(3).ne[0] == 1 {
                matches!(state.ne[0], 96 | 128 | 256) && state.ne[1] % 16 == 0
            } else {
                state.ne[0] == 16 && state.ne[1] == 1 && state.ne[2] % 128 == 0 && source(4).ne[1] == 1
            }
        }
        Op::Unroll => source(0).is_contiguous() && source(1).is_contiguous(),
        Op::FlashAttention => kernel(tensors, tensor, device) != Kernel::None,
        _ => true,
    }
}

fn home_of(tensors: &[Tensor], id: u32) -> Home {
    tensors[id as usize].home
}
