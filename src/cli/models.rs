//! What `models` takes.

use clap::{Args, Subcommand};

#[derive(Debug, Clone, Args)]
pub struct ModelsArguments {
    #[command(subcommand)]
    pub action: Option<ModelsAction>,
}

#[derive(Debug, Clone, Subcommand)]
pub enum ModelsAction {
    /// List every GGUF model on this machine (the default)
    List,
    /// Hash models again and compare with what their hub promised
    Verify {
        /// Which; without any, all
        #[arg(value_name = "MODEL")]
        models: Vec<String>,
    },
    /// Remove models that `pull` brought; what other programs brought stays
    Remove {
        #[arg(value_name = "MODEL", required = true)]
        models: Vec<String>,
        /// Only say what would be removed
        #[arg(long)]
        dry_run: bool,
    },
}
