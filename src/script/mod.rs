//! Launch scripts from one plan, for every place a server starts.
//!
//! [`Launch`] is everything a script must know; each dialect is one file that writes it down. A script checks at its start
//! what the plan assumed (files, their sizes, free VRAM) and steps down a ladder of smaller contexts where VRAM is short.

pub mod arguments;
pub mod cmd;
pub mod compose;
pub mod file;
pub mod format;
pub mod ladder;
pub mod launch;
pub mod llama_swap;
pub mod powershell;
pub mod preset;
pub mod quote;
pub mod sh;
pub mod systemd;
pub mod why;

pub use file::ScriptFile;
pub use format::Format;
pub use launch::{Launch, LaunchGpu, LaunchServer, ModelFile, Rung};

/// The head of every script: what it is, and the rules of the house it lives in. Without comment signs.
pub(crate) fn head(launch: &Launch) -> Vec<String> {
    let build = launch.build.map_or_else(|| "llama.cpp".to_owned(), |build| format!("llama.cpp {build}"));
    let mut lines = vec![launch.title.clone()];
    lines.extend(launch.notes.iter().map(|note| format!("Note: {note}")));
    lines.push(format!("Written by llama-doctor {} for {build}. Edit it freely:", env!("CARGO_PKG_VERSION")));
    lines.push("an edited script is not overwritten without --force.".to_owned());
    lines
}
