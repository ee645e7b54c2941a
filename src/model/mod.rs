//! Models: what a name means, and which are on this machine.

pub mod name;
