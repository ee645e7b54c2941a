//! Which graph a kind of projector has (b11434 `tools/mtmd/clip.cpp:934`).

use super::encoder::Encoder;
use crate::fit::graph::tensor::Id;

/// What the encoder's graph ends in; `None` for a kind that is not modelled, or a file that lacks a tensor.
pub(super) fn build(encoder: &mut Encoder<'_>) -> Option<Id> {
    let kind = encoder.side.kind.clone();
    match kind.as_str() {
        "gemma3" | "idefics3" | "lfm2" | "janus_pro" | "phi4" => encoder.siglip(&kind),
        "mlp" => encoder.llava(),
        "pixtral" | "lightonocr" => encoder.pixtral(),
        "qwen2vl_merger" | "qwen2.5vl_merger" => encoder.qwen2vl(kind == "qwen2.5vl_merger"),
        "qwen3vl_merger" => encoder.qwen3vl(),
        "internvl" => encoder.internvl(),
        "llama4" => encoder.llama4(),
        "gemma4v" => encoder.gemma4(),
        "glm4v" => encoder.glm4v(),
        "kimivl" => encoder.kimivl(),
        "resampler" => encoder.minicpm(),
        "ultravox" | "voxtral" | "qwen2a" | "musicflamingo" | "glma" => encoder.whisper(&kind),
        _ => None,
    }
}
