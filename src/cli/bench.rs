//! `bench`: the promise measured.

use std::path::PathBuf;

use clap::Args;

use super::fit::FitArguments;
use super::launch::LaunchArguments;

#[derive(Debug, Clone, Args)]
#[command(after_help = super::words::help())]
pub struct BenchCommand {
    /// A `.gguf` file, `org/repo[:QUANT]`, a URL or a catalogue name; two or more run together
    #[arg(value_name = "MODEL", required_unless_present = "plan")]
    pub models: Vec<String>,
    #[command(flatten)]
    pub place: LaunchArguments,
    #[command(flatten)]
    pub protocol: ProtocolArguments,
    /// Use a plan that `fit --json` wrote instead of making one
    #[arg(long, value_name = "FILE", conflicts_with = "models")]
    pub plan: Option<PathBuf>,
    #[command(flatten)]
    pub fit: FitArguments,
}

/// How much is measured.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Measurement")]
pub struct ProtocolArguments {
    /// Compare configurations: `32K f16`, `32K q8_0`, `64K q8_0` and `128K q4_0` as far as they fit, or the plan's options
    #[arg(long)]
    pub sweep: bool,
    /// The short variant: 64 tokens, one run, two fills, a few questions
    #[arg(long)]
    pub quick: bool,
    /// Tokens that each timed run generates
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub tokens: u32,
    /// Timed runs at each fill; their median counts
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub runs: u32,
    /// Do not compare the cache type's answers with f16's
    #[arg(long)]
    pub no_quality: bool,
    /// Begin no new step after this many minutes
    #[arg(long, value_name = "MINUTES", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
    pub time_limit: u64,
    /// Folder for the report and the servers' logs
    #[arg(long, value_name = "DIR", default_value = "bench")]
    pub report: PathBuf,
}

impl ProtocolArguments {
    /// What `setup --start` measures: memory and a short answer, no comparison with f16.
    pub fn short(report: PathBuf) -> Self {
        Self { sweep: false, quick: true, tokens: 64, runs: 1, no_quality: true, time_limit: 10, report }
    }
}
