//! How the operating system finds a library: the same search as the loader's own, with the rule that decided.

pub mod ld_cache;
pub mod linux;
pub mod windows;

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What became of one needed library.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DependencyState {
    Found,
    /// Part of the operating system, which was not at hand to look into (a Windows library seen from Linux).
    System,
    Missing,
    /// A file of that name is where the loader looks, and it cannot serve.
    Unusable,
}

/// One needed library, and what the loader does about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Dependency {
    pub name: String,
    /// File name of the library or program that wants it.
    pub needed_by: String,
    pub state: DependencyState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// The rule that found it (`RUNPATH of libggml-cuda.so`), or where it was looked for in vain, or what is wrong with it.
    pub detail: String,
}

impl Dependency {
    pub fn is_satisfied(&self) -> bool {
        matches!(self.state, DependencyState::Found | DependencyState::System)
    }
}
