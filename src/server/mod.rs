//! llama-server as a process of ours: started, watched, measured, and stopped so that nothing stays behind.

pub mod diagnose;
pub mod fleet;
pub mod http;
pub mod log;
pub mod promise;
pub mod start;
pub mod supervise;
