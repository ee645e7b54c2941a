//! What `install` takes.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

#[derive(Debug, Clone, Args)]
pub struct InstallArguments {
    /// `stable`, `nightly`, a build (`b11434`) or a release (`v0.6.0`)
    #[arg(value_name = "VERSION", default_value = "stable")]
    pub version: String,
    /// The backend, instead of the one that this machine suggests
    #[arg(long, value_name = "BACKEND", default_value = "auto")]
    pub backend: BackendName,
    /// Install from these official archives on the disk; repeatable
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub from: Vec<PathBuf>,
    /// Show what would be installed, and why, and end
    #[arg(long)]
    pub dry_run: bool,
    /// Where CUDA's libraries come from: the release, or NVIDIA's wheels on the Python package index
    #[arg(long, value_name = "SOURCE", default_value = "release")]
    pub cudart: CudartSource,
    /// Take the build out of the project's container image, without Docker
    #[arg(long, conflicts_with = "from")]
    pub container: bool,
    /// Accept a file for which no sha256 is published
    #[arg(long)]
    pub allow_missing_digest: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CudartSource {
    Release,
    Pypi,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BackendName {
    Auto,
    Cuda,
    #[value(name = "cuda-12")]
    Cuda12,
    #[value(name = "cuda-13")]
    Cuda13,
    Vulkan,
    Cpu,
}
