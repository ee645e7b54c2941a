//! What llama.cpp will allocate for a model, a context and a set of flags, and the largest that fits. Arithmetic only: no IO.

pub mod architecture;
pub mod build;
pub mod checkpoint;
pub mod choice;
mod context;
mod error;
pub mod explain;
mod graph;
mod ladder;
mod memory;
pub mod model;
pub mod need;
pub mod overhead;
mod placement;
pub mod plan;
pub mod planner;
mod predict;
pub mod projector;
pub mod refusal;
mod remedy;
pub mod search;
pub mod settings;
pub mod speed;

pub use build::Build;
pub use error::FitError;
pub use model::Model;
pub use predict::{DeviceMemory, HostMemory, LayerPlace, Memory, Prediction, Predictor, predict};
