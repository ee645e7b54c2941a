//! `inspect PATH|MODEL`

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Clone, Args)]
pub struct Inspect {
    /// A library, a program, a folder, an archive or wheel, a GGUF file; or a model on a hub: `org/repo[:QUANT]`, an
    /// https:// address, a name of the catalogue
    #[arg(value_name = "PATH|MODEL")]
    pub what: String,
    /// Also load it, in a process of its own that may crash or hang
    #[arg(long)]
    pub run: bool,
    /// With --run: the model to compute a token of, on each GPU that the build lists [the smallest on this machine, up to 1 GiB]
    #[arg(long, value_name = "FILE", requires = "run")]
    pub model: Option<PathBuf>,
}
