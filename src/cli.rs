//! What can be typed: clap types only. Each subcommand's own arguments lie in `cli/`, one file per subcommand.

pub mod after_help;
pub mod bench;
pub mod builds;
pub mod check;
pub mod completions;
pub mod explain;
pub mod fit;
pub mod inspect;
pub mod install;
pub mod launch;
pub mod models;
pub mod pull;
pub mod setup;
pub mod words;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

#[derive(Debug, Parser)]
#[command(name = "llama-doctor", version, about, max_term_width = 100, args_override_self = true)]
#[command(after_long_help = after_help::after_help())]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Flags that every command takes.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Print one JSON document on stdout and nothing else there
    #[arg(long, global = true)]
    pub json: bool,
    /// Plan for this GPU instead of those found: a card's name, or `NAME:TOTAL:CAPABILITY[:FREE]`; repeatable
    #[arg(long, global = true, value_name = "SPEC")]
    pub gpu: Vec<String>,
    /// Use a machine recorded by `check --save FILE` instead of this one
    #[arg(long, global = true, value_name = "FILE")]
    pub facts: Option<PathBuf>,
    /// Never use the network
    #[arg(long, global = true)]
    pub offline: bool,
    /// Folder of installed builds and downloads
    #[arg(long, global = true, value_name = "DIR")]
    pub home: Option<PathBuf>,
    /// Say more (twice: also what was tried)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Say only what is wrong
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// When to use colours
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: Color,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    Auto,
    Always,
    Never,
}

impl Color {
    /// What `--color` says, wherever it stands; what it cannot mean is for the parser to refuse.
    pub fn asked_for(words: &[std::ffi::OsString]) -> Self {
        let words = || words.iter().filter_map(|word| word.to_str());
        let joined = words().filter_map(|word| word.strip_prefix("--color="));
        let apart = words().zip(words().skip(1)).filter(|(word, _)| *word == "--color").map(|(_, value)| value);
        match joined.chain(apart).last() {
            Some("always") => Self::Always,
            Some("never") => Self::Never,
            _ => Self::Auto,
        }
    }
}

/// The name of the hidden subcommand that the prober starts itself with.
pub const PROBE_CHILD: &str = "probe-child";
/// The name of the hidden subcommand that asks the CUDA driver.
pub const DRIVER_CHILD: &str = "driver-child";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// The main job: check, install, pull, fit, write launch scripts
    Setup(Box<setup::SetupCommand>),
    /// Diagnose this machine (the default)
    Check(check::CheckArguments),
    /// Explain one check: what, why, how to mend it
    Explain(explain::ExplainArguments),
    /// Find the largest context and the KV cache types that fit
    Fit(fit::FitCommand),
    /// Write the scripts that start a plan, and with --run start it
    Launch(launch::LaunchCommand),
    /// List, verify and remove the models on this machine
    Models(models::ModelsArguments),
    /// Download a model, safely, into the cache that other tools share
    Pull(pull::PullArguments),
    /// Install the official llama.cpp build that runs here
    Install(install::InstallArguments),
    /// The installed builds: list, use, rollback, remove, verify
    Builds(builds::BuildsArguments),
    /// Start the servers of a plan and measure what was promised
    Bench(bench::BenchCommand),
    /// Print a script that completes our commands and flags in a shell
    #[command(hide = true)]
    Completions(completions::Completions),
    /// Print the manual page
    #[command(hide = true)]
    Man,
    /// Say what a file or folder is: library, llama.cpp build, archive, model
    Inspect(inspect::Inspect),
    /// Load a build and tell what happens; started by this program itself
    #[command(name = PROBE_CHILD, hide = true)]
    ProbeChild,
    /// Ask the CUDA driver and tell what happens; started by this program itself
    #[command(name = DRIVER_CHILD, hide = true)]
    DriverChild,
}
