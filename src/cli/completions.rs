//! `completions SHELL`: what can be typed.

use clap::Args;
use clap_complete::Shell;

#[derive(Debug, Clone, Args)]
pub struct Completions {
    pub shell: Shell,
}
