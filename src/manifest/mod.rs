//! The typed view of `manifests/`: facts of the field as data, each row with its source, embedded and parsed once.

pub mod archives;
pub mod cuda;
pub mod estimates;
pub mod generations;
pub mod gpus;
pub mod libraries;
pub mod models;
pub mod releases;
pub mod server_flags;
pub mod shapes;
