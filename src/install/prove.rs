//! The same proof that `check` gives, before a build is put to use.

use std::path::Path;
use std::time::Duration;

use crate::build::examine::{self, BuildError, Machinery};
use crate::build::{self, BackendState, Build};
use crate::probe::{self, Outcome, Wanted};

/// What was learned of a build, and what speaks against using it.
#[derive(Debug, Clone)]
pub struct Proof {
    pub build: Build,
    pub obstacles: Vec<String>,
    /// What could not be proven here, and why that is all right.
    pub notes: Vec<String>,
}

/// Libraries that come with the driver, never with a build.
const DRIVER_LIBRARIES: &[&str] = &["libcuda.so.1", "nvcuda.dll", "libnvidia-ml.so.1", "nvml.dll"];

/// The first CUDA call on Windows may take a minute, while every DLL is scanned.
const DEADLINE: Duration = Duration::from_secs(90);

/// `backend` is the label of the build: `cuda-12.8`. With `planned`, the GPUs are of another machine than this one, which
/// then need not have a driver.
pub fn prove(folder: &Path, backend: &str, machinery: &Machinery<'_>, planned: bool) -> Result<Proof, BuildError> {
    let mut build = examine::examine(folder, machinery)?;
    let (mut obstacles, mut notes) = (build.problems.clone(), Vec::new());
    if planned {
        notes.push("not run: the plan is for another machine".to_owned());
    } else {
        let report = probe::run(&build, &Wanted { deadline: DEADLINE, model: None });
        build::prove::prove(&mut build, &report, machinery);
        match &report.outcome {
            Outcome::Finished => {}
            Outcome::NotProbed { why } => notes.push(format!("not run: {why}")),
            Outcome::Crashed { .. } | Outcome::TimedOut { .. } | Outcome::NotStarted { .. } => {
                obstacles.extend(build.probe.clone());
            }
        }
    }
    if build.server.is_none() {
        obstacles.push("it has no llama-server".to_owned());
    }
    let family = match backend.split('-').next().unwrap_or_default() {
        "cuda" => "CUDA",
        "vulkan" => "Vulkan",
        _ => "CPU",
    };
    let only_driver_missing = |missing: &[String]| {
        !missing.is_empty() && missing.iter().all(|name| DRIVER_LIBRARIES.contains(&name.to_ascii_lowercase().as_str()))
    };
    match build.backend(family) {
        None => obstacles.push(format!("it has no {family} backend")),
        Some(found) => match found.state {
            BackendState::Works | BackendState::Loads => notes.push(format!("{family}: {}", found.reason)),
            BackendState::Blocked if planned && only_driver_missing(&found.missing) => notes.push(format!(
                "{family}: everything but the driver is found; this machine has none, and the plan is for another"
            )),
            BackendState::Blocked | BackendState::Absent => obstacles.push(format!("{family}: {}", found.reason)),
        },
    }
    Ok(Proof { build, obstacles, notes })
}
