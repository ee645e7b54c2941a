//! `launch`, and the flags that `setup` and `bench` share with it.

use std::path::PathBuf;

use clap::Args;

use super::fit::FitArguments;
use crate::script::Format;

#[derive(Debug, Clone, Args)]
#[command(after_help = super::words::help())]
pub struct LaunchCommand {
    /// A `.gguf` file, `org/repo[:QUANT]`, a URL or a catalogue name; two or more start together
    #[arg(value_name = "MODEL", required_unless_present = "plan")]
    pub models: Vec<String>,
    #[command(flatten)]
    pub place: LaunchArguments,
    /// What to write [default: sh; on Windows ps1,cmd]
    #[arg(long, value_name = "FORMAT", value_enum, value_delimiter = ',')]
    pub format: Vec<Format>,
    /// Overwrite scripts that were edited by hand
    #[arg(long)]
    pub force: bool,
    /// Say why each flag has its value
    #[arg(long)]
    pub explain: bool,
    /// Also start the servers here, watch them, and stop them with Ctrl-C
    #[arg(long)]
    pub run: bool,
    /// Use a plan that `fit --json` wrote instead of making one
    #[arg(long, value_name = "FILE", conflicts_with = "models")]
    pub plan: Option<PathBuf>,
    #[command(flatten)]
    pub fit: FitArguments,
}

/// Where the scripts go and what they start.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Launch")]
pub struct LaunchArguments {
    /// Folder for the scripts
    #[arg(long, value_name = "DIR", default_value = "launch")]
    pub out: PathBuf,
    /// A `llama-server`, or its folder, to use instead of the current build
    #[arg(long, value_name = "PATH")]
    pub server: Option<PathBuf>,
    /// Address to listen on [default: 127.0.0.1]
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
    /// Port of the first server; the next ones count up [default: 8080]
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,
    /// File with the API keys, one a line; needed with a public `--host`
    #[arg(long, value_name = "FILE")]
    pub api_key_file: Option<PathBuf>,
}
