//! What tests share. Each test file uses a part of it.
#![allow(dead_code, unreachable_pub, reason = "every test file is a program of its own and uses a part of this")]

pub mod archives;
pub mod binaries;
#[cfg(unix)]
pub mod fake_server;
pub mod field;
pub mod gguf;
pub mod github;
pub mod hub;
pub mod llama;
pub mod server;
#[cfg(target_os = "linux")]
pub mod user;
