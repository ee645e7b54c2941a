//! Where bits come from: hubs and their caches. What is asked of a server, in which words, and what its answers mean.

pub mod container;
pub mod github;
pub mod hub_cache;
pub mod huggingface;
pub mod modelscope;
pub mod pypi;
pub mod quantization;
pub mod remote_header;
pub mod repository;
