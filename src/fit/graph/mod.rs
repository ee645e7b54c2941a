//! llama.cpp's compute graphs as lists of tensors with sizes, views and lifetimes, and the rules that turn such a list into
//! buffer sizes: the backend scheduler's splits and ggml's graph allocator, replayed. No number is computed, no weight is read.

pub(crate) mod allocator;
pub(crate) mod altup;
pub(crate) mod attention;
mod block_sparse;
pub(crate) mod builder;
pub(crate) mod cuda;
mod deepseek4;
pub(crate) mod delta_net;
pub(crate) mod draft_head;
pub(crate) mod encoder;
pub(crate) mod experts;
pub(crate) mod fusion;
pub(crate) mod gemma4;
pub(crate) mod glm5_next;
pub(crate) mod hybrid;
pub(crate) mod indexer;
pub(crate) mod kernels;
mod kimi_k3;
pub(crate) mod kimi_linear;
pub(crate) mod latent;
pub(crate) mod per_layer;
pub(crate) mod recurrent;
pub(crate) mod repeats;
pub(crate) mod rwkv;
pub(crate) mod scheduler;
pub(crate) mod self_attention;
mod streams;
pub(crate) mod tensor;
pub(crate) mod transformer;
