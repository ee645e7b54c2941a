//! Launch scripts from one plan, for every place a server starts.

pub mod arguments;
