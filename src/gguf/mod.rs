//! GGUF files: what a header says, read through [`Bytes`] so that a file and a ranged download look alike. Reads headers only, never weights.

mod bytes;
mod error;
mod extent;
mod file_type;
mod header;
mod model;
mod tensor_type;
mod value;

pub use bytes::{Bytes, FileBytes};
pub use error::{GgufError, OpenError};
pub use extent::{Extent, Reach};
pub use header::{Header, Tensor};
pub use model::{Model, Shard, ShardName};
pub use tensor_type::TensorType;
pub use value::{Array, Value};
