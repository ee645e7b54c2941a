//! Which files of a release run on this machine, and why the others do not. Arithmetic over facts and manifests; no IO.

mod image;
mod judged;
mod machine;
mod reasons;

use std::cmp::Reverse;

use judged::{Judged, is_better, judged, preference};
use reasons::rejection;
use schemars::JsonSchema;
use serde::Serialize;
use thiserror::Error;

pub use image::choose_image;
pub use machine::Machine;
pub use reasons::{OTHER_MAKER, ways_out};

use crate::host::facts::OperatingSystem;
use crate::manifest::releases::{AssetName, Role};
use crate::source::github::{Artifact, Release};
use crate::units::CudaVersion;

/// The backend that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    Auto,
    Cuda,
    CudaMajor(u32),
    Vulkan,
    Cpu,
}

impl Wanted {
    fn takes(self, asset: &AssetName) -> bool {
        match self {
            Self::Auto => matches!(asset.backend.as_str(), "cuda" | "vulkan" | "cpu"),
            Self::Cuda => asset.backend == "cuda",
            Self::CudaMajor(major) => asset.cuda.is_some_and(|cuda| cuda.major == major),
            Self::Vulkan => asset.backend == "vulkan",
            Self::Cpu => asset.backend == "cpu",
        }
    }

    fn named(self) -> String {
        match self {
            Self::Auto => "auto".to_owned(),
            Self::Cuda => "cuda".to_owned(),
            Self::CudaMajor(major) => format!("cuda-{major}"),
            Self::Vulkan => "vulkan".to_owned(),
            Self::Cpu => "cpu".to_owned(),
        }
    }
}

/// A file that was not chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Rejected {
    pub name: String,
    pub why: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    pub tag: String,
    /// `cuda-12.8`, `vulkan`, `cpu`
    pub backend: String,
    pub cuda: Option<CudaVersion>,
    pub build: Artifact,
    /// CUDA's libraries, to lie beside the build.
    pub runtime: Option<Artifact>,
    pub reason: Vec<String>,
    pub warnings: Vec<String>,
    pub rejected: Vec<Rejected>,
}

#[derive(Debug, Error)]
pub enum ChooseError {
    #[error("release `{tag}` has no build for {system} on {arch}")]
    NoBuild { tag: String, system: &'static str, arch: String },
    #[error("release `{tag}` has no `{wanted}` build for {system} on {arch}")]
    NotWanted { tag: String, wanted: String, system: &'static str, arch: String },
    #[error("no build of release `{tag}` runs on this machine{}", listed(.rejected))]
    NothingRuns { tag: String, rejected: Vec<Rejected>, ways_out: Vec<String> },
    #[error("no container image runs on this machine{}", listed(.rejected))]
    NoImage { rejected: Vec<Rejected> },
}

/// One a line; what is for other hardware altogether need not be told here.
fn listed(rejected: &[Rejected]) -> String {
    let ours = rejected.iter().filter(|row| row.why != OTHER_MAKER);
    ours.flat_map(|row| ["\n  ", &row.name, "\n      ", &row.why]).collect()
}

pub const fn system_name(system: OperatingSystem) -> &'static str {
    match system {
        OperatingSystem::Linux => "Linux",
        OperatingSystem::Windows => "Windows",
    }
}

/// Chooses among the files of `release`.
pub fn choose(release: &Release, wanted: Wanted, machine: &Machine) -> Result<Choice, ChooseError> {
    let (tag, system, arch) = (release.tag.clone(), system_name(machine.system), machine.arch.clone());
    let mut builds: Vec<Judged<'_>> = release
        .artifacts
        .iter()
        .filter_map(|artifact| Some((AssetName::parse(&artifact.name)?, artifact)))
        .filter(|(name, _)| is_for(name, machine) && name.role == Role::Build)
        .map(|(name, artifact)| judged(name, artifact, machine))
        .collect();
    if builds.is_empty() {
        return Err(ChooseError::NoBuild { tag, system, arch });
    }
    builds.sort_by_key(|build| Reverse(preference(build, machine)));
    let is_auto = wanted == Wanted::Auto;
    let Some(first) = builds.iter().position(|build| wanted.takes(&build.name)) else {
        return Err(ChooseError::NotWanted { tag, wanted: wanted.named(), system, arch });
    };
    if is_auto && builds[first].obstacle.is_some() {
        let rejected = builds.iter().map(|build| rejection(build, None, machine)).collect();
        return Err(ChooseError::NothingRuns { tag, rejected, ways_out: ways_out(machine) });
    }
    let chosen = builds.remove(first);
    // What people ask about comes first: why not the other CUDA build.
    builds.sort_by_key(|build| match build.name.backend.as_str() {
        "cuda" => 0,
        "vulkan" => 1,
        "cpu" => 2,
        _ => 3,
    });
    let rejected = builds.iter().map(|build| rejection(build, Some(&chosen), machine)).collect();
    let (mut reason, mut warnings) = (chosen.reasons.clone(), Vec::new());
    if let Some(obstacle) = &chosen.obstacle {
        warnings.push(format!("`--backend {}` was asked for, and {} {obstacle}", wanted.named(), chosen.name.name));
    } else if !is_auto
        && let Some(better) = builds
            .iter()
            .filter(|build| build.obstacle.is_none() && is_better(build, &chosen, machine))
            .max_by_key(|build| preference(build, machine))
    {
        warnings.push(format!(
            "`--backend {}` was asked for; without it {} would be installed",
            wanted.named(),
            better.name.label()
        ));
    }
    let has_cuda_gpu = !machine.gpus.is_empty();
    if has_cuda_gpu && is_auto && chosen.name.backend != "cuda" {
        let no_cuda = builds.iter().all(|build| build.name.backend != "cuda");
        reason.push(if no_cuda {
            format!("release {tag} has no CUDA build for {system} on {arch}")
        } else {
            "no CUDA build of this release runs here".to_owned()
        });
        warnings.extend(ways_out(machine));
    }
    let missed: Vec<&str> =
        if chosen.name.backend == "cuda" && chosen.running < machine.gpus.len() && chosen.obstacle.is_none() {
            chosen.reasons.iter().filter(|reason| reason.contains(": no")).map(String::as_str).collect()
        } else {
            Vec::new()
        };
    warnings.extend(missed.into_iter().map(|reason| format!("one GPU stays unused: {reason}")));
    let runtime = runtime_for(release, &chosen.name, machine);
    if chosen.name.backend == "cuda" && runtime.is_none() {
        warnings.push(format!(
            "release {tag} has no archive of CUDA's libraries for this build: those of the system must serve"
        ));
    }
    Ok(Choice {
        tag,
        backend: chosen.name.label(),
        cuda: chosen.name.cuda,
        build: chosen.artifact.clone(),
        runtime,
        reason,
        warnings,
        rejected,
    })
}

/// Whether the release has what a machine like this would want: a channel steps back to an older one until it does.
pub fn is_complete(release: &Release, wanted: Wanted, machine: &Machine) -> bool {
    let wants_cuda =
        matches!(wanted, Wanted::Cuda | Wanted::CudaMajor(_)) || wanted == Wanted::Auto && !machine.gpus.is_empty();
    let names = release.artifacts.iter().filter_map(|artifact| AssetName::parse(&artifact.name));
    let builds: Vec<AssetName> = names.filter(|name| is_for(name, machine) && name.role == Role::Build).collect();
    let fits = |name: &&AssetName| wanted.takes(name) && (!wants_cuda || name.backend == "cuda");
    let mut fitting = builds.iter().filter(fits).peekable();
    fitting.peek().is_some() && fitting.all(|name| name.backend != "cuda" || runtime_for(release, name, machine).is_some())
        // A file of this very system that is still on its way may be the better one.
        && !release.unfinished.iter().filter_map(|name| AssetName::parse(name)).any(|name| is_for(&name, machine) && wanted.takes(&name))
}

fn is_for(name: &AssetName, machine: &Machine) -> bool {
    name.system == Some(machine.system) && name.arch == machine.arch
}

/// CUDA's libraries in a release, for one of its builds.
pub fn runtime_for(release: &Release, build: &AssetName, machine: &Machine) -> Option<Artifact> {
    build.cuda?;
    let fits = |artifact: &&Artifact| {
        AssetName::parse(&artifact.name)
            .is_some_and(|name| name.role == Role::Runtime && is_for(&name, machine) && name.cuda == build.cuda)
    };
    release.artifacts.iter().find(fits).cloned()
}

#[cfg(test)]
mod tests;
