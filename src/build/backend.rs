//! The backends of a build as its files tell: what each is compiled for, what it needs, and whether it could be loaded.

use std::collections::BTreeSet;

use super::examine::Machinery;
use super::member::{Member, backends_in, file_name, module_name};
use super::needs::{dependencies, foreign};
use super::{Backend, BackendState, Runs, verdict};
use crate::binary::Image;
use crate::loader::{Dependency, DependencyState};
use crate::manifest::cuda::cuda;

/// The backends of all files, CUDA first and always named: a build without it says so.
pub(super) fn backends(members: &[Member], machinery: &Machinery<'_>) -> Vec<Backend> {
    let mut found: Vec<(String, Vec<&Member>)> = Vec::new();
    for member in members {
        for name in backends_in(member) {
            match found.iter_mut().find(|(known, _)| *known == name) {
                Some((_, holders)) => holders.push(member),
                None => found.push((name, vec![member])),
            }
        }
    }
    let mut list: Vec<Backend> =
        found.into_iter().map(|(name, holders)| backend(name, &holders, members, machinery)).collect();
    if !list.iter().any(|backend| backend.name == "CUDA") {
        let has: Vec<&str> = list.iter().map(|backend| backend.name.as_str()).collect();
        let reason = if has.is_empty() {
            "no ggml backend is in it".to_owned()
        } else {
            format!("the build has no CUDA backend; it has {}", has.join(", "))
        };
        list.push(Backend::absent("CUDA", reason));
    }
    list.sort_by_key(|backend| (backend.name != "CUDA", backend.name.clone()));
    list
}

fn backend(name: String, holders: &[&Member], members: &[Member], machinery: &Machinery<'_>) -> Backend {
    // With GPU code first; a library of its own before one that merely holds it.
    let holder = holders
        .iter()
        .max_by_key(|member| (member.image.cuda.is_some(), module_name(&file_name(&member.path)).is_some()))
        .unwrap_or(&holders[0]);
    let image = &holder.image;
    let dependencies = dependencies(holder, members, machinery.host);
    let missing: Vec<String> = dependencies
        .iter()
        .filter(|dependency| dependency.state == DependencyState::Missing)
        .map(|dependency| dependency.name.clone())
        .collect();
    let code = (name == "CUDA").then(|| image.cuda.clone().unwrap_or_default());
    let runtime_major = code.as_ref().and_then(|code| runtime_major(image, code.ptx_version));
    let per_gpu = code.as_ref().map_or_else(Vec::new, |code| {
        machinery.gpus.iter().map(|gpu| verdict::judge(code, runtime_major, gpu, &machinery.driver)).collect()
    });
    // Wheels hold copies where a folder has links: one name, one variant.
    let variants: BTreeSet<String> = holders.iter().map(|member| variant(&file_name(&member.path))).collect();
    let (state, reason) = static_state(image, &dependencies, &missing, &per_gpu, variants.len());
    Backend {
        file: Some(holder.path.clone()),
        state,
        reason,
        missing,
        runtime_major,
        sass: code.as_ref().map_or_else(Vec::new, |code| code.sass.clone()),
        ptx: code.as_ref().map_or_else(Vec::new, |code| code.ptx.clone()),
        ptx_version: code.as_ref().and_then(|code| code.ptx_version),
        compressed: code.as_ref().filter(|code| code.containers > 0).map(|code| code.compressed),
        per_gpu,
        fa_quants: image.texts.fa_quants.clone(),
        // Of other processors' code, and of backends that are registered otherwise, only the loaded backend tells.
        api_version: image.constants.get(&registration(&name)).and_then(|number| number.parse().ok()),
        dependencies,
        name,
    }
}

/// The function that registers a backend (`ggml/src/ggml-backend-reg.cpp`).
fn registration(backend: &str) -> String {
    let name = match backend {
        "Vulkan" => "vk".to_owned(),
        "ROCm" => "cuda".to_owned(),
        other => other.to_ascii_lowercase(),
    };
    format!("ggml_backend_{name}_reg")
}

fn static_state(
    image: &Image,
    dependencies: &[Dependency],
    missing: &[String],
    per_gpu: &[super::PerGpu],
    variants: usize,
) -> (BackendState, String) {
    if let Some(problem) = foreign(image) {
        let lacks = if missing.is_empty() { String::new() } else { format!("; not beside it: {}", missing.join(", ")) };
        return (BackendState::Blocked, format!("{problem}{lacks}"));
    }
    if !missing.is_empty() {
        let is = if missing.len() == 1 { "is" } else { "are" };
        return (BackendState::Blocked, format!("{} {is} missing", missing.join(", ")));
    }
    if let Some(unusable) = dependencies.iter().find(|dependency| dependency.state == DependencyState::Unusable) {
        return (BackendState::Blocked, unusable.detail.clone());
    }
    if let Some(first) = per_gpu.first()
        && per_gpu.iter().all(|verdict| verdict.runs == Runs::No)
    {
        return (BackendState::Blocked, format!("{}: {}", first.gpu, first.reason));
    }
    let variants = if variants > 1 { format!(" ({variants} variants)") } else { String::new() };
    (BackendState::Loads, format!("everything it needs is found{variants}; not run"))
}

/// `libggml-cpu-haswell.so.0.20.0` → `libggml-cpu-haswell`
fn variant(file: &str) -> String {
    let end = file.find(".so").or_else(|| file.find(".dll")).unwrap_or(file.len());
    file[..end].to_owned()
}

/// The CUDA major version that a file is linked with; of a file that links CUDA in, the one that wrote its code.
pub(super) fn runtime_major(image: &Image, ptx: Option<crate::units::CudaVersion>) -> Option<u32> {
    let of_name = |name: &String| {
        let name = name.to_ascii_lowercase();
        ["libcudart.so.", "libcublas.so."]
            .iter()
            .find_map(|prefix| name.strip_prefix(prefix)?.split('.').next()?.parse().ok())
            .or_else(|| {
                ["cudart64_", "cublas64_"].iter().find_map(|prefix| {
                    let digits = name.strip_prefix(prefix)?.strip_suffix(".dll")?;
                    // Before CUDA 12 the DLL's name held the minor version too: `cudart64_110.dll`.
                    if digits.len() == 3 { digits.get(..2)?.parse().ok() } else { digits.parse().ok() }
                })
            })
    };
    let linked = image.needed.iter().chain(&image.delayed).find_map(of_name);
    linked.or_else(|| Some(cuda().toolkit_of_ptx(ptx?)?.version.major))
}
