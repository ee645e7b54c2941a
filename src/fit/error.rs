//! Why no figure can be given: never a guess dressed as a number.

use thiserror::Error;

use crate::units::BuildTag;

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FitError {
    #[error("the architecture `{name}` is not modelled")]
    UnknownArchitecture { name: String },
    #[error("`{name}` {why}")]
    Refused { name: String, why: String, instead: String },
    #[error("{build} does not know the architecture `{name}`: {known_to} does")]
    BuildLacks { build: BuildTag, name: String, known_to: BuildTag },
    #[error("the model file has no usable `{key}`")]
    MissingKey { key: String },
    #[error("the model file has no tensor `{tensor}`")]
    MissingTensor { tensor: String },
    #[error("a batch size, or the number of slots, is zero")]
    Zero,
    #[error("{0} GPUs are given, llama.cpp knows 16 at most")]
    TooManyDevices(usize),
    #[error("no device is named `{name}`")]
    NoSuchDevice { name: String },
    #[error("--tensor-split names {given} shares for {devices} devices")]
    TensorSplit { given: usize, devices: usize },
    #[error("the pattern `{pattern}` of --override-tensor is not a regular expression: {error}")]
    Pattern { pattern: String, error: String },
    #[error("a quantized V cache needs flash attention, which is off or not available for this model")]
    QuantizedVNeedsFlashAttention,
    #[error("the cache type {cache} has blocks of {block} elements, which do not divide heads of {head}")]
    HeadNotInBlocks { cache: &'static str, block: u64, head: u64 },
    #[error("models with a compressed cache need equal types for K and V")]
    UnequalTypes,
    #[error("the size of {what} overflows")]
    Overflow { what: &'static str },
}
