//! What a multimodal projector (`--mmproj`) takes: its weights, and the buffer that llama.cpp reserves when it loads one, by
//! replaying the graph that it warms up with (b11434 `tools/mtmd/clip.cpp:3732`). Always on the first GPU.

mod encoder;
mod kinds;
mod resampler;
mod rotary;
mod side;
mod siglip;
mod squares;
mod whisper;
mod with_class;

use std::collections::HashMap;

use self::encoder::Encoder;
use self::side::{Modality, Side};
use super::Memory;
use super::build::Variant;
use super::graph::allocator;
use super::graph::cuda::{self, CudaDevice};
use super::graph::scheduler::{self, Backend};
use super::graph::tensor::{Op, Place};
use crate::gguf::{self, Tensor};
use crate::units::ComputeCapability;

/// A projector's memory, bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectorMemory {
    /// On the first GPU.
    pub device: Memory,
    /// In host memory.
    pub host: Memory,
    pub notes: Vec<String>,
}

/// Weights that both encoders of a file load (`clip.cpp:2267`).
const LOADED_BY_BOTH: [&str; 6] = [
    "v.class_embd",
    "v.patch_embd.weight",
    "v.patch_embd.weight.1",
    "v.patch_embd.bias",
    "v.norm_embd.weight",
    "v.norm_embd.bias",
];
/// Numbers beside Gemma 4's weights, which stay on the host (`clip.cpp:2582`).
const KEPT_ON_HOST: [&str; 4] = [".input_min", ".input_max", ".output_min", ".output_max"];
const CUDA_ALIGNMENT: u64 = 128;

/// What loading this projector takes, with flash attention as llama-server resolves it unless `flash_attention` says otherwise.
pub fn memory(model: &gguf::Model, capability: ComputeCapability, flash_attention: bool) -> ProjectorMemory {
    let tensors: HashMap<&str, &Tensor> = model.tensors.iter().map(|tensor| (&*tensor.name, tensor)).collect();
    let sides: Vec<Side> =
        [Modality::Vision, Modality::Audio].into_iter().filter_map(|modality| Side::read(model, modality)).collect();
    let mut memory = ProjectorMemory {
        device: Memory { model: weights(model, sides.len()), ..Memory::default() },
        host: Memory::default(),
        notes: Vec::new(),
    };
    let device = CudaDevice { index: 0, compute_capability: capability };
    for side in &sides {
        let warm_up = side.warm_up();
        let (on_device, on_host) = reserve(side, &tensors, device, flash_attention, warm_up).unwrap_or_else(|| {
            memory
                .notes
                .push(format!("the projector's kind `{}` is not modelled: its buffer is an upper bound", side.kind));
            (bound(side), warm_up[0] * warm_up[1] * 16)
        });
        memory.device.compute += on_device;
        memory.host.compute += on_host;
        memory.notes.extend(larger_images(side, &tensors, device, flash_attention, on_device));
    }
    if sides.is_empty() {
        memory.device.compute = memory.device.model;
        memory.notes.push("the projector's file names no encoder: its buffer is a guess".to_owned());
    }
    memory
}

/// Device memory of the weights, each padded as CUDA pads it.
fn weights(model: &gguf::Model, encoders: usize) -> u64 {
    let padded = |tensor: &Tensor| {
        let padding = cuda::row_padding(tensor.tensor_type, tensor.dims[0]);
        (tensor.bytes + padding).next_multiple_of(CUDA_ALIGNMENT)
    };
    let loaded = model.tensors.iter().filter(|tensor| !KEPT_ON_HOST.iter().any(|end| tensor.name.ends_with(end)));
    loaded
        .map(|tensor| {
            let times = if LOADED_BY_BOTH.contains(&&*tensor.name) { encoders.max(1) } else { 1 };
            padded(tensor) * times as u64
        })
        .sum()
}

/// Bytes on the device and on the host that an image or sound of this size needs; `None` for a kind that is not modelled.
fn reserve(
    side: &Side,
    tensors: &HashMap<&str, &Tensor>,
    device: CudaDevice,
    flash_attention: bool,
    size: [u64; 2],
) -> Option<(u64, u64)> {
    let first = replay(side, tensors, device, flash_attention, size)?;
    if first.attention_stays {
        return Some((first.device, first.host));
    }
    // Reserved once more without flash attention: a buffer never shrinks.
    let second = replay(side, tensors, device, false, size)?;
    Some((first.device.max(second.device), first.host.max(second.host)))
}

struct Replayed {
    device: u64,
    host: u64,
    attention_stays: bool,
}

fn replay(
    side: &Side,
    tensors: &HashMap<&str, &Tensor>,
    device: CudaDevice,
    flash_attention: bool,
    size: [u64; 2],
) -> Option<Replayed> {
    let mut encoder = Encoder::new(side, tensors, Place::Device(0));
    encoder.flash_attention = flash_attention;
    encoder.size = size;
    let end = kinds::build(&mut encoder)?;
    encoder.graph.expand(end);
    let backends = [Backend::Cuda(device), Backend::Host];
    let options = scheduler::Options {
        op_offload: true,
        copies: 1,
        copies_unread_inputs: false,
        fusions: Variant::B11434.rules().fusions,
    };
    let plan = scheduler::plan(encoder.graph, &backends, options);
    let attention_stays = plan
        .tensors
        .iter()
        .zip(&plan.assigned)
        .all(|(tensor, backend)| tensor.op != Op::FlashAttention || *backend == 0);
    let peaks = allocator::peaks(&plan, &backends, &[])?;
    Some(Replayed { device: peaks[0], host: peaks[1], attention_stays })
}

/// More than any encoder of these dimensions was seen to need: all scores twice, and every row of a layer at once.
fn bound(side: &Side) -> u64 {
    let [columns, rows] = side.warm_up();
    let count =
        if side.modality == Modality::Audio { columns / 2 } else { (columns / side.patch) * (rows / side.patch) };
    let count = count.max(1024);
    8 * side.heads * count * count + 64 * count * side.width + 16 * columns * rows * 16
}

/// What the largest image that the projector takes needs beyond what is reserved at the start.
fn larger_images(
    side: &Side,
    tensors: &HashMap<&str, &Tensor>,
    device: CudaDevice,
    flash_attention: bool,
    reserved: u64,
) -> Option<String> {
    let tokens = side.most_tokens()?;
    let along = (tokens as f64).sqrt() as u64 * side.patch * side.merge;
    let (most, _) = reserve(side, tensors, device, flash_attention, [along, along])?;
    let more = most.checked_sub(reserved).filter(|more| *more > 0)?;
    Some(format!(
        "the projector grows with the image: one of {tokens} tokens, the largest that it takes, needs {} more than at the start",
        crate::units::Bytes(more)
    ))
}
