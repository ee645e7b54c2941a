//! What `install` takes.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

#[derive(Debug, Clone, PartialEq, Eq, Args)]
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
    /// Check who built the files by GitHub's attestations: `auto` refuses a false one, `require` also a missing one
    #[arg(long, value_name = "POLICY", default_value = "auto")]
    pub attestation: AttestationPolicy,
    /// Accept a file for which no sha256 is published
    #[arg(long)]
    pub allow_missing_digest: bool,
}

/// What `llama-doctor install` means without arguments.
impl Default for InstallArguments {
    fn default() -> Self {
        Self {
            version: "stable".to_owned(),
            backend: BackendName::Auto,
            from: Vec::new(),
            dry_run: false,
            cudart: CudartSource::Release,
            container: false,
            attestation: AttestationPolicy::Auto,
            allow_missing_digest: false,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AttestationPolicy {
    Auto,
    Require,
    Skip,
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

#[cfg(test)]
mod tests {
    use clap::FromArgMatches as _;

    use super::*;

    #[test]
    fn the_default_is_the_empty_command_line() {
        let command = InstallArguments::augment_args(clap::Command::new("install"));
        let parsed = InstallArguments::from_arg_matches(&command.get_matches_from(["install"])).unwrap();
        assert_eq!(parsed, InstallArguments::default());
    }
}
