//! `setup`: everything from a bare machine to scripts that start a server.

use clap::Args;

use super::fit::FitArguments;
use super::launch::LaunchArguments;
use crate::script::Format;

#[derive(Debug, Clone, Args)]
#[command(after_help = super::words::help())]
pub struct SetupCommand {
    /// A `.gguf` file, `org/repo[:QUANT]`, a URL or a catalogue name; several share the GPUs [default: the best of a
    /// short list that fits]
    #[arg(value_name = "MODEL")]
    pub models: Vec<String>,
    #[command(flatten)]
    pub fit: FitArguments,
    #[command(flatten)]
    pub place: LaunchArguments,
    /// What to write [default: sh; on Windows ps1,cmd]
    #[arg(long, value_name = "FORMAT", value_enum, value_delimiter = ',')]
    pub format: Vec<Format>,
    /// Also start the servers once and compare their memory and speed with the plan
    #[arg(long)]
    pub start: bool,
    /// Overwrite scripts that were edited by hand
    #[arg(long)]
    pub force: bool,
}
