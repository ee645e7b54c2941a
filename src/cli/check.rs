//! What `check` takes.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Clone, Default, Args)]
pub struct CheckArguments {
    /// Look at this llama.cpp build only, instead of searching for builds; repeatable
    #[arg(long, value_name = "PATH")]
    pub build: Vec<PathBuf>,
    /// Record the machine in this file, without names of users and hosts, for `--facts`
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
    /// Run only these checks or groups; repeatable, or separated by commas
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    pub only: Vec<String>,
    /// Leave these checks or groups out
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    pub skip: Vec<String>,
    /// List every check and end
    #[arg(long)]
    pub list_checks: bool,
    /// Count warnings as failures
    #[arg(long)]
    pub strict: bool,
    /// Mend what llama-doctor itself installed: show each repair and ask
    #[arg(long)]
    pub fix: bool,
    /// Take back what `--fix` has done
    #[arg(long, conflicts_with = "fix")]
    pub undo: bool,
    /// With `--fix`: do not ask
    #[arg(long, requires = "fix")]
    pub yes: bool,
    /// Write a report for a bug tracker, without names, paths of homes, and tokens: `.md` or `.html`
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
}
