//! Where the field tests' artifacts are: `.ci/fetch-*.sh` bring them, and a test without its own says so and passes.
#![allow(clippy::unwrap_used, reason = "a test helper may stop the test")]
#![allow(clippy::print_stderr, reason = "a skipped test says why")]

use std::path::PathBuf;

use llama_doctor::host::Host;

pub fn variable(name: &str) -> Option<PathBuf> {
    Host::Live.variable(name).map(PathBuf::from)
}

/// The one path below the cache that matches, or none with a word why.
pub fn artifact(pattern: &str) -> Option<PathBuf> {
    let home = variable("HOME").or_else(|| variable("USERPROFILE"))?;
    let cache = variable("LLAMA_DOCTOR_FIELD_CACHE").unwrap_or_else(|| home.join(".cache/llama-doctor-field"));
    let (folder, prefix) = pattern.rsplit_once('/').unwrap();
    let prefix_and_suffix = prefix.split_once('*').unwrap_or((prefix, ""));
    let found = fs_err::read_dir(cache.join(folder)).ok().and_then(|entries| {
        entries.flatten().map(|entry| entry.path()).find(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            name.starts_with(prefix_and_suffix.0) && name.ends_with(prefix_and_suffix.1)
        })
    });
    if found.is_none() {
        eprintln!("skipped: {pattern} is not in {}; .ci/run fetch brings it", cache.display());
    }
    found
}

/// The libraries of the simulated CUDA machine: a driver without a card.
pub fn fake_driver() -> Option<PathBuf> {
    let found = variable("HOME").map(|home| home.join(".cache/llama-rig/lib")).filter(|path| path.exists());
    if found.is_none() {
        eprintln!("skipped: no simulated CUDA machine in ~/.cache/llama-rig");
    }
    found
}

/// What this machine has of CUDA would change the answers.
pub fn machine_has_cuda() -> bool {
    let cache = fs_err::read("/etc/ld.so.cache").unwrap_or_default();
    let has = cache.windows(9).any(|name| name == b"libcuda.s" || name == b"libcudart" || name == b"libcublas");
    if has {
        eprintln!("skipped: this machine has CUDA libraries of its own");
    }
    has
}
