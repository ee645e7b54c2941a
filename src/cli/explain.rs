//! What `explain` takes.

use clap::Args;

#[derive(Debug, Clone, Args)]
pub struct ExplainArguments {
    /// The check, as `check` names it
    #[arg(value_name = "ID")]
    pub id: String,
}
