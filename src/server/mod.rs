//! llama-server as a process of ours: started, watched, measured, and stopped so that nothing stays behind.

pub mod bench;
pub mod budget;
pub mod calibration;
pub mod diagnose;
pub mod fleet;
pub mod http;
pub mod log;
pub mod memory;
pub mod promise;
pub mod quality;
pub mod start;
pub mod supervise;
