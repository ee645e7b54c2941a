//! What is asked of llama-server: its flags, parsed, with its own meanings and defaults.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::{Bytes, ComputeCapability, ParseUnitError};

/// The element types that `-ctk` and `-ctv` accept (llama.cpp b11434 `common/arg.cpp:304`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CacheType {
    F32,
    F16,
    Bf16,
    #[serde(rename = "q8_0")]
    Q8_0,
    #[serde(rename = "q5_1")]
    Q5_1,
    #[serde(rename = "q5_0")]
    Q5_0,
    #[serde(rename = "q4_1")]
    Q4_1,
    #[serde(rename = "q4_0")]
    Q4_0,
    #[serde(rename = "iq4_nl")]
    Iq4Nl,
}

impl CacheType {
    pub const ALL: [Self; 9] =
        [Self::F32, Self::F16, Self::Bf16, Self::Q8_0, Self::Q5_1, Self::Q5_0, Self::Q4_1, Self::Q4_0, Self::Iq4Nl];

    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::Q8_0 => "q8_0",
            Self::Q5_1 => "q5_1",
            Self::Q5_0 => "q5_0",
            Self::Q4_1 => "q4_1",
            Self::Q4_0 => "q4_0",
            Self::Iq4Nl => "iq4_nl",
        }
    }

    /// Elements in a block, and the block's bytes (llama.cpp b11434 `ggml/src/ggml-common.h`).
    pub const fn block(self) -> (u64, u64) {
        match self {
            Self::F32 => (1, 4),
            Self::F16 | Self::Bf16 => (1, 2),
            Self::Q8_0 => (32, 34),
            Self::Q5_1 => (32, 24),
            Self::Q5_0 => (32, 22),
            Self::Q4_1 => (32, 20),
            Self::Q4_0 | Self::Iq4Nl => (32, 18),
        }
    }

    pub const fn is_quantized(self) -> bool {
        self.block().0 > 1
    }
}

impl std::fmt::Display for CacheType {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.pad(self.name())
    }
}

impl std::str::FromStr for CacheType {
    type Err = ParseUnitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|one| one.name() == text).ok_or_else(|| ParseUnitError {
            text: text.to_owned(),
            what: "KV cache type",
            hint: "llama-server knows f32, f16, bf16, q8_0, q5_1, q5_0, q4_1, q4_0 and iq4_nl",
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FlashAttention {
    On,
    Off,
    /// On where the backend has a kernel for the head sizes and types.
    #[default]
    Auto,
}

/// `-ngl`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GpuLayers {
    /// As many as fit; a prediction treats it as all.
    #[default]
    Auto,
    All,
    /// The last N of the repeating layers plus the output layer, counted as llama.cpp counts.
    Count(u32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SplitMode {
    None,
    #[default]
    Layer,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LoadMode {
    /// mmap on discrete GPUs.
    #[default]
    Auto,
    Mmap,
    None,
    Mlock,
    MmapMlock,
    DirectIo,
}

/// One `-ot REGEX=BUFFER`: tensors whose name holds a match go to that buffer type (`CPU`, `CUDA0`, …).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorOverride {
    pub pattern: String,
    pub buffer: String,
}

/// One exact configuration of one server.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Tokens, as `-c` says them (all slots together).
    pub context: u32,
    pub batch: u32,
    pub ubatch: u32,
    /// Slots (`n_seq_max`).
    pub parallel: u32,
    pub kv_unified: bool,
    pub cache_type_k: CacheType,
    pub cache_type_v: CacheType,
    pub flash_attention: FlashAttention,
    pub gpu_layers: GpuLayers,
    /// Experts of the first N layers stay in host memory (`-ncmoe`).
    pub cpu_moe_layers: u32,
    pub tensor_overrides: Vec<TensorOverride>,
    pub split_mode: SplitMode,
    /// `-ts`; empty = by free memory.
    pub tensor_split: Vec<f32>,
    pub main_gpu: u32,
    pub swa_full: bool,
    pub kv_offload: bool,
    pub op_offload: bool,
    pub load_mode: LoadMode,
    /// Rows of logits that are reserved. `None` = as llama-server does: min(batch, parallel · (1 + draft tokens)).
    pub outputs_max: Option<u32>,
    /// Tokens drafted a step, by whatever means: each needs a row of logits.
    pub drafted_tokens: u32,
    /// Layers for multi-token prediction draft them: such layers are loaded, and states are kept to be undone.
    pub mtp: bool,
    /// `--embeddings`: embeddings in place of text.
    pub embeddings: bool,
    /// `--reranking`: scores, made from embeddings.
    pub reranks: bool,
    /// A batch holds the longest input: `-b` and `-ub` follow from the context.
    pub whole_inputs: bool,
}

impl Default for Settings {
    /// llama-server's defaults at b11434, with the largest sizes left to the caller: four slots over one shared cache.
    fn default() -> Self {
        Self {
            context: 4096,
            batch: 2048,
            ubatch: 512,
            parallel: 4,
            kv_unified: true,
            cache_type_k: CacheType::F16,
            cache_type_v: CacheType::F16,
            flash_attention: FlashAttention::Auto,
            gpu_layers: GpuLayers::Auto,
            cpu_moe_layers: 0,
            tensor_overrides: Vec::new(),
            split_mode: SplitMode::Layer,
            tensor_split: Vec::new(),
            main_gpu: 0,
            swa_full: false,
            kv_offload: true,
            op_offload: true,
            load_mode: LoadMode::Auto,
            outputs_max: None,
            drafted_tokens: 0,
            mtp: false,
            embeddings: false,
            reranks: false,
            whole_inputs: false,
        }
    }
}

/// A GPU as the planner sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Device {
    /// `CUDA0`
    pub id: String,
    pub compute_capability: ComputeCapability,
    pub total: Bytes,
    /// What llama.cpp may use: decides the split between unequal cards.
    pub free: Bytes,
    /// VRAM beside the buffers that `bench` measured on this card, instead of the estimate.
    pub measured_overhead: Option<Bytes>,
}
