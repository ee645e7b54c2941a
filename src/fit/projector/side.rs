//! What a projector's file says of one of its encoders, and the image or sound that llama.cpp reserves memory for
//! (b11434 `tools/mtmd/clip.cpp:1215`).

use crate::gguf::{self, Value};

/// Frames of sound that an encoder is warmed up with: 30 seconds (`clip-model.h:104`).
const WARM_UP_FRAMES: u64 = 3000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Modality {
    Vision,
    Audio,
}

impl Modality {
    /// As keys of the metadata name it.
    pub(super) const fn key(self) -> &'static str {
        match self {
            Self::Vision => "vision",
            Self::Audio => "audio",
        }
    }

    /// What tensors' names begin with.
    pub(super) const fn prefix(self) -> &'static str {
        match self {
            Self::Vision => "v",
            Self::Audio => "a",
        }
    }
}

/// One encoder of the file.
#[derive(Debug, Clone)]
pub(super) struct Side {
    pub(super) modality: Modality,
    /// `clip.projector_type`
    pub(super) kind: String,
    pub(super) width: u64,
    pub(super) layers: u64,
    pub(super) heads: u64,
    pub(super) kv_heads: u64,
    pub(super) head: u64,
    pub(super) image: u64,
    pub(super) patch: u64,
    /// Patches that become one token, along each side of the image.
    pub(super) merge: u64,
    pub(super) mel_bins: u64,
    pub(super) stacked_frames: u64,
    /// Every n-th layer sees the whole image; 0 = all do.
    pub(super) window_pattern: u64,
    pub(super) queries: u64,
    pub(super) feature_layers: Vec<u64>,
}

impl Side {
    /// `None` where the file has no such encoder.
    pub(super) fn read(model: &gguf::Model, modality: Modality) -> Option<Self> {
        let value = |key: &str| model.metadata.get(key);
        let has = |key: &str| matches!(value(key), Some(Value::Bool(true)));
        if !has(&format!("clip.has_{}_encoder", modality.key())) {
            return None;
        }
        let text = |key: &str| value(key).and_then(Value::as_text).filter(|text| !text.is_empty()).map(str::to_owned);
        let own = |key: &str| format!("clip.{}.{key}", modality.key());
        let whole = |key: &str| value(&own(key)).and_then(Value::as_u64);
        let kind = text("clip.projector_type").or_else(|| text(&own("projector_type")))?;
        // One old file holds both encoders under one name (`clip.cpp:1291`).
        let kind = match (kind.as_str(), modality) {
            ("qwen2.5o", Modality::Vision) => "qwen2.5vl_merger".to_owned(),
            ("qwen2.5o", Modality::Audio) => "qwen2a".to_owned(),
            _ => kind,
        };
        let (width, heads) = (whole("embedding_length")?, whole("attention.head_count")?);
        let default_merge = match kind.as_str() {
            "gemma3" => 4,
            "gemma4v" => 3,
            "qwen2vl_merger" | "qwen2.5vl_merger" | "qwen3vl_merger" | "glm4v" => 2,
            _ => 1,
        };
        let merge = whole("projector.scale_factor").or_else(|| whole("spatial_merge_size"));
        let layers = value(&own("feature_layer")).and_then(Value::as_array);
        Some(Self {
            modality,
            width,
            layers: whole("block_count")?,
            heads,
            kv_heads: whole("attention.head_count_kv").unwrap_or(heads),
            head: whole("attention.head_dim").filter(|head| *head > 0).or_else(|| width.checked_div(heads))?,
            image: whole("image_size").unwrap_or(0),
            patch: if modality == Modality::Vision { whole("patch_size").filter(|patch| *patch > 0)? } else { 1 },
            merge: merge.unwrap_or(default_merge).max(1),
            mel_bins: whole("num_mel_bins").unwrap_or(0),
            stacked_frames: whole("projector.stack_factor").unwrap_or(0),
            window_pattern: whole("n_wa_pattern").filter(|_| kind == "qwen2.5vl_merger").unwrap_or(0),
            queries: minicpm_queries(model),
            feature_layers: layers.map_or_else(Vec::new, |list| list.numbers.iter().map(|one| *one as u64).collect()),
            kind,
        })
    }

    /// Pixels along each side of the image that memory is reserved for, or frames and bins of the sound.
    pub(super) fn warm_up(&self) -> [u64; 2] {
        if self.modality == Modality::Audio {
            return [WARM_UP_FRAMES, self.mel_bins];
        }
        let tokens = |side: u64| side * self.patch * self.merge;
        let side = match self.kind.as_str() {
            "pixtral" | "lightonocr" | "kimivl" | "gemma4v" | "lfm2" | "phi4" => tokens(16),
            "qwen2vl_merger" | "qwen2.5vl_merger" | "qwen3vl_merger" | "glm4v" => tokens(46),
            _ => self.image,
        };
        [side, side]
    }

    /// Tokens of the largest image that the projector takes, where it takes images of many sizes.
    pub(super) fn most_tokens(&self) -> Option<u64> {
        match self.kind.as_str() {
            "pixtral" | "kimivl" => Some(1024),
            "gemma4v" => Some(1120),
            "qwen2vl_merger" | "qwen2.5vl_merger" | "qwen3vl_merger" | "glm4v" => Some(4096),
            _ => None,
        }
    }
}

/// Queries of a `MiniCPM` resampler (`clip.cpp:1325`).
fn minicpm_queries(model: &gguf::Model) -> u64 {
    let whole = |key: &str| model.metadata.get(key).and_then(Value::as_u64);
    match whole("clip.minicpmv_query_num") {
        Some(count) if count > 0 => count,
        _ if matches!(whole("clip.minicpmv_version"), Some(3..=6 | 100_045)) => 64,
        _ => 96,
    }
}
