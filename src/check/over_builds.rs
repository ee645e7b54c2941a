//! What the checks of builds share: which builds are judged, and what their CUDA code covers.

use std::path::Path;

use super::{Check, Context, Finding, Remedy};
use crate::binary::fatbin::Target;
use crate::build::{Backend, Build, BuildKind};
use crate::units::ComputeCapability;

/// Asks about the build that would run, or about each that was named with `--build`.
pub(super) fn over_builds<C: Check>(
    check: &C,
    context: Context<'_>,
    judge: impl Fn(&Build) -> Vec<Finding>,
) -> Vec<Finding> {
    let builds: Vec<&Build> = if context.facts.builds_named {
        context.facts.builds.iter().collect()
    } else {
        context.build_to_run().into_iter().collect()
    };
    if builds.is_empty() {
        return vec![check.skip("no build was found")];
    }
    let findings: Vec<Finding> = builds.into_iter().flat_map(judge).collect();
    if findings.is_empty() { vec![check.pass(check.title())] } else { findings }
}

pub(super) fn shown(file: Option<&Path>) -> String {
    file.map_or_else(|| "the build".to_owned(), |file| file.display().to_string())
}

/// Whether a library belongs to the CUDA runtime that official builds have in a companion archive.
pub(super) fn is_runtime(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["libcudart.", "libcublas.", "libcublaslt.", "cudart64_", "cublas64_", "cublaslt64_"]
        .iter()
        .any(|start| name.starts_with(start))
}

/// The library that shares the processor's work among threads, under the names of its makers.
pub(super) fn is_openmp(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["libgomp", "libomp", "vcomp"].iter().any(|start| name.starts_with(start))
}

pub(super) fn runtime_missing(backend: &Backend) -> Vec<&str> {
    backend.missing.iter().map(String::as_str).filter(|name| is_runtime(name)).collect()
}

/// How to bring the CUDA libraries that a backend lacks.
pub(super) fn bring_runtime(build: &Build, backend: &Backend) -> Vec<Remedy> {
    let major = backend.runtime_major.unwrap_or(12);
    let mut remedies = Vec::new();
    if build.kind == BuildKind::Official {
        remedies
            .push(Remedy::automatic("Put the official companion libraries beside the build, if it is in our store"));
    }
    remedies.push(Remedy::command(
        "Install an official build with its libraries",
        format!("llama-doctor install --backend cuda-{major}"),
    ));
    if build.kind == BuildKind::PythonWheel {
        remedies.push(Remedy::command(
            "Or bring them into the Python environment",
            format!("pip install nvidia-cublas-cu{major} nvidia-cuda-runtime-cu{major}"),
        ));
    }
    remedies
}

/// Finished code runs on the same major version, from its own minor version up; exact targets on their own only.
pub(super) fn native(backend: &Backend, capability: ComputeCapability) -> bool {
    backend.sass.iter().any(|target| {
        let own = target.capability;
        own == capability || (!target.exact && own.major == capability.major && own.minor <= capability.minor)
    })
}

/// Whether finished code or PTX serves the GPU. A backend whose code could not be read is not doubted.
pub(super) fn covers(backend: &Backend, capability: ComputeCapability) -> bool {
    let unread = backend.sass.is_empty() && backend.ptx.is_empty();
    let by_ptx = backend
        .ptx
        .iter()
        .any(|target| if target.exact { target.capability == capability } else { target.capability <= capability });
    unread || native(backend, capability) || by_ptx
}

pub(super) fn listed(targets: &[Target]) -> String {
    if targets.is_empty() {
        return "none".to_owned();
    }
    targets.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_fits_by_the_rules_of_cuda() {
        let target = |text: &str, exact| Target { capability: text.parse().unwrap(), exact };
        let mut backend = Backend::absent("CUDA", String::new());
        let ask = |backend: &Backend, text: &str| {
            (native(backend, text.parse().unwrap()), covers(backend, text.parse().unwrap()))
        };
        assert_eq!(ask(&backend, "8.6"), (false, true), "code that was not read is not doubted");
        backend.sass = vec![target("8.6", false), target("12.0", true)];
        assert_eq!(ask(&backend, "8.9"), (true, true));
        assert_eq!(ask(&backend, "8.0"), (false, false));
        assert_eq!(ask(&backend, "12.1"), (false, false), "an exact target serves no neighbour");
        backend.ptx = vec![target("7.5", false)];
        assert_eq!(ask(&backend, "9.0"), (false, true));
        assert_eq!(ask(&backend, "6.1"), (false, false));
    }
}
