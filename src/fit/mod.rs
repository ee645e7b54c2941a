//! What llama.cpp will allocate for a model, a context and a set of flags, and the largest that fits. Arithmetic only: no IO.

pub mod plan;
pub mod settings;
