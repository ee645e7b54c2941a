//! What people and programs read. Prints, and never decides.

pub mod printer;
pub mod progress;
