//! How many kernels a graph starts: what decoding small models takes most of its time for.

use super::tensor::{Graph, Id, NONE, Op};

/// Nodes that a GPU starts a kernel for. A norm multiplies by its weight itself, a router's steps are one kernel
/// (llama.cpp b11434 `ggml-cuda.cu`: `ggml_cuda_op_rms_norm_fused`, `ggml_cuda_op_topk_moe`).
pub(crate) fn of(graph: &Graph) -> u64 {
    let starts = |id: &&Id| {
        let tensor = graph.get(**id);
        let first = tensor.sources[0];
        let is_fused = tensor.op == Op::Mul && first != NONE && graph.get(first).op == Op::RmsNorm;
        tensor.is_computed && !tensor.op.is_view() && !is_fused
    };
    graph.nodes.iter().filter(starts).count() as u64
}
