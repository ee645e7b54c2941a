//! What `builds` takes.

use clap::{Args, Subcommand};

#[derive(Debug, Clone, Args)]
pub struct BuildsArguments {
    #[command(subcommand)]
    pub action: Option<BuildsAction>,
}

#[derive(Debug, Clone, Subcommand)]
pub enum BuildsAction {
    /// List the installed builds (the default)
    List,
    /// Put a build to use, after the proof
    Use {
        #[arg(value_name = "ID")]
        id: String,
        /// Even when the proof fails
        #[arg(long)]
        force: bool,
    },
    /// Go back to the build that was in use before
    Rollback,
    /// Take a build off the disk
    Remove {
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Compare every file of a build with its receipt
    Verify {
        #[arg(value_name = "ID")]
        id: String,
    },
}
