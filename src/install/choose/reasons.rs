//! Why a build was not chosen, and what else brings CUDA.

use super::Rejected;
use super::judged::Judged;
use super::machine::Machine;
use crate::build::Runs;
use crate::build::verdict;
use crate::host::facts::OperatingSystem;
use crate::manifest::releases::releases;
use crate::units::CudaVersion;

/// Said of builds that no NVIDIA machine wants.
pub const OTHER_MAKER: &str = "is for hardware of another maker";

pub(super) fn rejection(build: &Judged<'_>, chosen: Option<&Judged<'_>>, machine: &Machine) -> Rejected {
    let why = match (&build.obstacle, chosen) {
        _ if !matches!(build.name.backend.as_str(), "cuda" | "vulkan" | "cpu") => OTHER_MAKER.to_owned(),
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
            Some(image) => ways.push(match machine.library_obstacle(&image.glibc, &image.glibcxx) {
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
