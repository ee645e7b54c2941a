//! What `pull` takes.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Clone, Args)]
pub struct PullArguments {
    /// `org/repo[:QUANT]`, `org/repo/file.gguf`, `ms:org/repo`, an https:// address, or a name of the catalogue
    #[arg(value_name = "MODEL", required = true)]
    pub models: Vec<String>,
    /// Put plain files into this folder instead of the shared Hugging Face cache
    #[arg(long, value_name = "DIR")]
    pub to: Option<PathBuf>,
    /// Leave out the projector of a model that sees or hears
    #[arg(long)]
    pub no_mmproj: bool,
    /// Also bring the draft heads that lie beside the model, for `--spec-type draft-mtp`
    #[arg(long)]
    pub draft: bool,
}
