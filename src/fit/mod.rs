//! What llama.cpp will allocate for a model, a context and a set of flags, and the largest that fits. Arithmetic only: no IO.

pub mod architecture;
pub mod build;
mod context;
mod error;
mod graph;
mod memory;
pub mod model;
mod placement;
pub mod plan;
mod predict;
pub mod settings;

pub use build::Build;
pub use error::FitError;
pub use model::Model;
pub use predict::{DeviceMemory, HostMemory, LayerPlace, Memory, Prediction, predict};
