//! Official builds on this machine: which one runs here, and the store that holds them side by side.

pub mod choose;
