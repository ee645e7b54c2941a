//! Which files of a release run on this machine, and why the others do not. Arithmetic over facts and manifests; no IO.

use std::cmp::Reverse;

use schemars::JsonSchema;
use serde::Serialize;
use thiserror::Error;

use crate::build::Runs;
use crate::build::verdict::{self, Driver};
use crate::host::facts::{Facts, Gpu, OperatingSystem};
use crate::manifest::cuda::cuda;
use crate::manifest::releases::{AssetName, Image, Role, releases};
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

/// What counts of a machine here.
#[derive(Debug, Clone)]
pub struct Machine {
    pub system: OperatingSystem,
    /// As release files name it: `x64`, `arm64`; others as they are.
    pub arch: String,
    pub gpus: Vec<Gpu>,
    pub driver: Driver,
    /// `glibc 2.36`, where known.
    pub libc: Option<String>,
}

impl Machine {
    pub fn new(facts: &Facts, gpus: Vec<Gpu>) -> Self {
        let system = facts.host.operating_system;
        // Under WSL the driver is Windows' own.
        let driver_system = if facts.wsl.is_some() { OperatingSystem::Windows } else { system };
        let arch = match facts.host.architecture.as_str() {
            "x86_64" | "amd64" | "AMD64" => "x64",
            "aarch64" | "ARM64" => "arm64",
            other => other,
        };
        Self {
            system,
            arch: arch.to_owned(),
            gpus: gpus.into_iter().filter(|gpu| gpu.visible).collect(),
            driver: Driver::from_facts(&facts.driver, driver_system),
            libc: facts.host.libc.value().cloned(),
        }
    }

    /// Why this system's C library is too old, or another one than official builds need; none when it is fine or unknown.
    pub fn libc_obstacle(&self, least: &str) -> Option<String> {
        let libc = self.libc.as_deref().filter(|_| self.system == OperatingSystem::Linux)?;
        let Some(version) = libc.strip_prefix("glibc ") else {
            return Some(format!("needs glibc {least}, and this system has {libc}"));
        };
        let (have, need) = (version.parse::<CudaVersion>().ok()?, least.parse::<CudaVersion>().ok()?);
        (have < need).then(|| format!("needs glibc {least}, and this system has {libc}"))
    }

    pub fn first_capability(&self) -> Option<String> {
        self.gpus.iter().find_map(|gpu| gpu.compute_capability).map(|capability| capability.to_string())
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
    #[error("no build of release `{tag}` runs on this machine: {}", .rejected.iter().map(|row| format!("{} {}", row.name, row.why)).collect::<Vec<_>>().join("; "))]
    NothingRuns { tag: String, rejected: Vec<Rejected>, ways_out: Vec<String> },
    #[error("no container image runs on this machine: {}", .rejected.iter().map(|row| format!("{} {}", row.name, row.why)).collect::<Vec<_>>().join("; "))]
    NoImage { rejected: Vec<Rejected> },
}

/// One build of the release, judged.
struct Judged<'a> {
    name: AssetName,
    artifact: &'a Artifact,
    /// Why it does not run.
    obstacle: Option<String>,
    /// One sentence for each GPU.
    reasons: Vec<String>,
    running: usize,
    native: usize,
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

/// The container image whose build runs best here, with the reasons.
pub fn choose_image(wanted: Wanted, machine: &Machine) -> Result<(&'static Image, Vec<String>), ChooseError> {
    let mut rejected = Vec::new();
    let mut best: Option<(Preference, &Image, Vec<String>)> = None;
    for image in &releases().images {
        let name = AssetName {
            name: image.tag.clone(),
            role: Role::Layer,
            tag: None,
            system: Some(OperatingSystem::Linux),
            backend: "cuda".to_owned(),
            cuda: Some(image.cuda),
            arch: machine.arch.clone(),
        };
        let nothing = Artifact { name: String::new(), url: String::new(), size: None, sha256: None };
        let mut judged = judged(name, &nothing, machine);
        if machine.system != OperatingSystem::Linux || !image.arch.contains(&machine.arch) {
            judged.obstacle = Some(format!("is not for {} on {}", system_name(machine.system), machine.arch));
        } else if let Some(obstacle) = machine.libc_obstacle(&image.glibc) {
            judged.obstacle = Some(obstacle);
        } else if !wanted.takes(&judged.name) {
            judged.obstacle = Some(format!("is not `--backend {}`", wanted.named()));
        }
        let preference = preference(&judged, machine);
        if let Some(why) = judged.obstacle {
            rejected.push(Rejected { name: image.tag.clone(), why });
        } else if best.as_ref().is_none_or(|(known, ..)| preference > *known) {
            best = Some((preference, image, judged.reasons));
        }
    }
    match best {
        Some((_, image, reasons)) => Ok((image, reasons)),
        None => Err(ChooseError::NoImage { rejected }),
    }
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

fn runtime_for(release: &Release, build: &AssetName, machine: &Machine) -> Option<Artifact> {
    build.cuda?;
    let fits = |artifact: &&Artifact| {
        AssetName::parse(&artifact.name)
            .is_some_and(|name| name.role == Role::Runtime && is_for(&name, machine) && name.cuda == build.cuda)
    };
    release.artifacts.iter().find(fits).cloned()
}

fn judged<'a>(name: AssetName, artifact: &'a Artifact, machine: &Machine) -> Judged<'a> {
    let mut judged = Judged { name, artifact, obstacle: None, reasons: Vec::new(), running: 0, native: 0 };
    if let Some(version) = judged.name.cuda {
        judge_cuda(&mut judged, version, machine);
    } else {
        judged.reasons.push(match judged.name.backend.as_str() {
            "cpu" if machine.gpus.is_empty() => "no NVIDIA GPU was found: the CPU computes".to_owned(),
            "cpu" => "the CPU computes".to_owned(),
            "vulkan" => "Vulkan drives the GPU".to_owned(),
            other => format!("{other} drives a GPU of another maker"),
        });
    }
    if machine.system == OperatingSystem::Linux
        && let Some(floor) = releases().floor(&judged.name.backend, &judged.name.arch)
        && let Some(obstacle) = machine.libc_obstacle(&floor.glibc)
    {
        judged.obstacle = Some(obstacle);
    }
    judged
}

fn judge_cuda(judged: &mut Judged<'_>, version: CudaVersion, machine: &Machine) {
    if machine.gpus.is_empty() {
        judged.obstacle = Some("has no NVIDIA GPU to run on here".to_owned());
        return;
    }
    let code = releases().cuda_code(version);
    for gpu in &machine.gpus {
        let mut verdict = verdict::judge(&code, Some(version.major), gpu, &machine.driver);
        // Of a toolkit that is newer than our table, the PTX version is not known: it is as new as the toolkit.
        if verdict.runs == Runs::Jit
            && cuda().toolkit(version).is_none()
            && let Some(runs) = machine.driver.cuda.filter(|runs| *runs < version)
        {
            verdict.runs = Runs::No;
            verdict.reason = format!(
                "{}; a driver for CUDA {version} is needed, and this one runs CUDA up to {runs}",
                verdict.reason
            );
        }
        match verdict.runs {
            Runs::Native => {
                judged.running += 1;
                judged.native += 1;
            }
            Runs::Jit => judged.running += 1,
            Runs::No => {}
        }
        let runs = if verdict.runs == Runs::No { "no: " } else { "" };
        judged.reasons.push(format!("{} {}: {runs}{}", gpu.id, gpu.name, verdict.reason));
    }
    if judged.running == 0 {
        judged.obstacle = Some(format!("does not run: {}", judged.reasons.join("; ").replace(": no: ", ": ")));
    }
}

/// What is compared, the greatest first: whether it runs, its kind, how many GPUs it runs on and natively, its CUDA.
type Preference = (bool, u8, usize, usize, Option<CudaVersion>, Option<Reverse<CudaVersion>>);

fn preference(build: &Judged<'_>, machine: &Machine) -> Preference {
    let kind = match build.name.backend.as_str() {
        "cuda" => 3,
        "vulkan" if !machine.gpus.is_empty() => 2,
        "cpu" => 1,
        _ => 0,
    };
    // With the driver known, the newest toolkit that it runs. Without, the one that most drivers run.
    let known = machine.driver.cuda.is_some();
    let newest = build.name.cuda.filter(|_| known);
    let oldest = build.name.cuda.filter(|_| !known).map(Reverse);
    (build.obstacle.is_none(), kind, build.running, build.native, newest, oldest)
}

fn is_better(one: &Judged<'_>, other: &Judged<'_>, machine: &Machine) -> bool {
    preference(one, machine) > preference(other, machine)
}

fn rejection(build: &Judged<'_>, chosen: Option<&Judged<'_>>, machine: &Machine) -> Rejected {
    let why = match (&build.obstacle, chosen) {
        _ if !matches!(build.name.backend.as_str(), "cuda" | "vulkan" | "cpu") => {
            "is for hardware of another maker".to_owned()
        }
        (Some(obstacle), _) => obstacle.clone(),
        (None, None) => "was not looked at".to_owned(),
        (None, Some(chosen)) => weaker(build, chosen, machine),
    };
    Rejected { name: build.name.name.clone(), why }
}

/// Why a build that runs is not the one.
fn weaker(build: &Judged<'_>, chosen: &Judged<'_>, machine: &Machine) -> String {
    let label = chosen.name.label();
    match (build.name.backend.as_str(), chosen.name.backend.as_str()) {
        ("cuda", "cuda") if build.running < chosen.running => format!("runs on fewer of the GPUs than {label}"),
        ("cuda", "cuda") if build.native < chosen.native => {
            let compiled = build.reasons.first().cloned().unwrap_or_default();
            format!("would be compiled by the driver at first use, and {label} is native ({compiled})")
        }
        ("cuda", "cuda") if machine.driver.cuda.is_none() => format!("runs too, and {label} runs with older drivers"),
        ("cuda", "cuda") => format!("runs too, and {label} is of a newer toolkit"),
        ("cuda", _) => format!("runs, and {label} was asked for"),
        ("vulkan", "cuda") => format!("runs too, and {label} is faster on NVIDIA cards"),
        ("cpu", "cuda" | "vulkan") => "would leave the GPU unused".to_owned(),
        ("vulkan" | "cpu", _) if machine.gpus.is_empty() => "has no advantage without a GPU".to_owned(),
        ("vulkan" | "cpu", _) => format!("runs too, and {label} was asked for"),
        _ => format!("is not what was asked for: {label} is"),
    }
}

/// What else brings CUDA to a machine that no archive fits.
pub fn ways_out(machine: &Machine) -> Vec<String> {
    let mut ways = Vec::new();
    let images = releases().images.iter().filter(|image| image.arch.contains(&machine.arch));
    if machine.system == OperatingSystem::Linux {
        let runs = |cuda: CudaVersion| {
            machine.gpus.iter().any(|gpu| {
                verdict::judge(&releases().cuda_code(cuda), Some(cuda.major), gpu, &machine.driver).runs != Runs::No
            })
        };
        match images.clone().find(|image| runs(image.cuda)) {
            Some(image) => ways.push(match machine.libc_obstacle(&image.glibc) {
                None => format!(
                    "CUDA without an archive: `--container` takes the build out of the project's image {}",
                    image.tag
                ),
                Some(obstacle) => {
                    format!("the files of the project's container images do not help: an image {obstacle}")
                }
            }),
            None => ways.push("no container image of the project runs on this GPU and driver either".to_owned()),
        }
    }
    ways.push(
        "CUDA from conda-forge, which brings its own libraries: `conda install -c conda-forge llama.cpp`".to_owned(),
    );
    if let Some(capability) = machine.first_capability() {
        let number = capability.replace('.', "");
        ways.push(format!(
            "CUDA from source, with a toolkit for this card: `cmake -B build -DGGML_CUDA=ON \
             -DCMAKE_CUDA_ARCHITECTURES={number} && cmake --build build --config Release -j`"
        ));
    }
    ways
}

#[cfg(test)]
mod tests;
