//! `bench`: the promise measured.

use std::path::PathBuf;

use clap::Args;

use super::launch::LaunchArguments;
use crate::units::BuildTag;

#[derive(Debug, Clone, Args)]
pub struct BenchCommand {
    #[command(flatten)]
    pub place: LaunchArguments,
    #[command(flatten)]
    pub protocol: ProtocolArguments,
    /// A plan that `fit --json` wrote
    #[arg(long, value_name = "FILE")]
    pub plan: PathBuf,
    /// The llama.cpp build that is measured: `bN` or `vX.Y.Z`
    #[arg(long, value_name = "TAG")]
    pub for_build: Option<BuildTag>,
}

/// How much is measured.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Measurement")]
pub struct ProtocolArguments {
    /// Measure every option of the plan and compare them
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
    /// Neither use nor keep what was measured on this machine
    #[arg(long)]
    pub no_calibration: bool,
    /// Folder for the report and the servers' logs
    #[arg(long, value_name = "DIR", default_value = "bench")]
    pub report: PathBuf,
}
