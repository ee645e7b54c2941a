//! A build examined without running it: its files, their backends, and what the loader would find for each.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::verdict::{self, Driver};
use super::{Backend, BackendState, Build, BuildKind, Runs, classify, official, version};
use crate::binary::{self, BinaryError, Depth, Format, Image, Machine};
use crate::host::Host;
use crate::host::facts::{Facts, Gpu};
use crate::host::real_path::real_path;
use crate::install::receipt::FILE_NAME as RECEIPT;
use crate::loader::linux::{Loaded, Loader};
use crate::loader::windows::{self, Opening, Question};
use crate::loader::{Dependency, DependencyState};
use crate::manifest::cuda::cuda;

const DEEPEST_FOLDER: usize = 6;
const MOST_ENTRIES: usize = 20_000;

#[derive(Debug, Error)]
pub enum BuildError {
    #[error("{0}")]
    Unreadable(std::io::Error),
    #[error("`{path}` is {error}")]
    Binary { path: PathBuf, error: BinaryError },
    #[error("`{path}` holds no llama.cpp: no file of ggml or llama is in it")]
    NotABuild { path: PathBuf },
}

/// What the verdicts of a machine need.
#[derive(Debug, Clone, Copy)]
pub struct Machinery<'a> {
    pub host: &'a Host,
    pub gpus: &'a [Gpu],
    pub driver: Driver,
    /// Features of this machine's processor, as Linux names them; empty where they are not known.
    pub processor: &'a [String],
}

impl<'a> Machinery<'a> {
    /// The machine of these facts.
    pub fn of(facts: &'a Facts, host: &'a Host) -> Self {
        Self {
            host,
            gpus: &facts.gpus,
            driver: Driver::of_machine(facts),
            processor: facts.host.cpu_features.value().map_or(&[], Vec::as_slice),
        }
    }
}

/// One file of a build.
#[derive(Debug, Clone)]
pub struct Member {
    pub path: PathBuf,
    pub image: Image,
}

/// Examines the build at `path`: a folder, or one library or program of it.
pub fn examine(path: &Path, machinery: &Machinery<'_>) -> Result<Build, BuildError> {
    let metadata = fs_err::metadata(path).map_err(BuildError::Unreadable)?;
    let path = real_path(path).map_err(BuildError::Unreadable)?;
    let path = path.as_path();
    if metadata.is_dir() {
        return examine_folder(path, path, machinery);
    }
    let image = binary::read_file(path, Depth::Everything)
        .map_err(|error| BuildError::Binary { path: path.to_owned(), error })?;
    let name = file_name(path);
    if is_program(&name)
        && let Some(folder) = path.parent()
    {
        return Ok(examine_program(path, folder, image, machinery));
    }
    let member = Member { path: path.to_owned(), image };
    if backends_in(&member).is_empty() && !is_of_llama(&name) {
        return Err(BuildError::NotABuild { path: path.to_owned() });
    }
    Ok(assemble(path, path.parent().unwrap_or(path), &[member], Vec::new(), machinery))
}

fn examine_folder(folder: &Path, shown: &Path, machinery: &Machinery<'_>) -> Result<Build, BuildError> {
    let (mut members, mut problems) = (Vec::new(), Vec::new());
    read_members(candidates(folder, DEEPEST_FOLDER), &mut members, &mut problems);
    if members.is_empty() && problems.is_empty() {
        return Err(BuildError::NotABuild { path: folder.to_owned() });
    }
    // Where the libraries are is the build: `package/bins/linux-x64-cuda`, `build/bin`.
    let home = main_folder(&members).unwrap_or_else(|| folder.to_owned());
    Ok(assemble(shown, &home, &members, problems, machinery))
}

/// A program and what it is linked with, wherever that lies: `bin` beside `lib` is one build too.
fn examine_program(path: &Path, folder: &Path, image: Image, machinery: &Machinery<'_>) -> Build {
    let program = Loaded { path: path.to_owned(), image };
    let mut folders = BTreeSet::from([folder.to_owned()]);
    if program.image.format == Format::Elf {
        let linked = Loader::new(machinery.host).resolve(&program, &[]);
        let linked = linked.into_iter().filter(|dependency| is_of_llama(&dependency.name));
        let real = linked.filter_map(|dependency| real_path(&dependency.path?).ok());
        folders.extend(real.filter_map(|path| Some(path.parent()?.to_owned())));
    }
    let (mut members, mut problems) = (Vec::new(), Vec::new());
    for folder in &folders {
        read_members(candidates(folder, 0), &mut members, &mut problems);
    }
    let home = main_folder(&members).unwrap_or_else(|| folder.to_owned());
    assemble(path, &home, &members, problems, machinery)
}

fn read_members(paths: BTreeSet<PathBuf>, members: &mut Vec<Member>, problems: &mut Vec<String>) {
    for path in paths {
        match binary::read_file(&path, Depth::Everything) {
            Ok(image) => members.push(Member { path, image }),
            Err(BinaryError::NotABinary) if !is_library_name(&file_name(&path)) => {}
            Err(error) => problems.push(format!("{} is {error}", path.display())),
        }
    }
}

/// Puts a build together from its files. `shown` is what was asked for, `home` the folder of its libraries.
pub fn assemble(
    shown: &Path,
    home: &Path,
    members: &[Member],
    mut problems: Vec<String>,
    machinery: &Machinery<'_>,
) -> Build {
    let names: Vec<String> = members.iter().map(|member| file_name(&member.path)).collect();
    let versions = version::read(home, members);
    problems.extend(version::mixed(members));
    let single = members.len() == 1 && shown == members[0].path;
    let kind = match classify::kind(home, &names) {
        BuildKind::Unknown if single => BuildKind::Library,
        kind => kind,
    };
    // What we installed is compared with its receipt, file by file.
    if kind == BuildKind::Official && !home.join(RECEIPT).exists() {
        problems.extend(official::missing(members, home, versions.tag));
    }
    let mut backends = backends(members, machinery);
    if says_cuda(shown)
        && let Some(cuda) = backends.iter_mut().find(|backend| backend.state == BackendState::Absent)
    {
        cuda.reason = format!("its name says CUDA, but {}", cuda.reason);
    }
    let server =
        members.iter().find(|member| matches!(file_name(&member.path).as_str(), "llama-server" | "llama-server.exe"));
    let server_missing = server.map_or_else(Vec::new, |server| program_lacks(server, members, machinery.host));
    Build {
        path: shown.to_owned(),
        kind,
        version: versions.shown(),
        tag: versions.tag,
        commit: versions.commit,
        ggml_version: versions.ggml,
        server: server.map(|member| member.path.clone()),
        server_missing,
        unknown_architectures: Vec::new(),
        backends,
        system_info: None,
        devices: Vec::new(),
        mapped: Vec::new(),
        tokens: Vec::new(),
        problems,
        probe: None,
    }
}

/// Whether the label promises CUDA: `…-cuda`, `cu124`.
fn says_cuda(path: &Path) -> bool {
    let name = file_name(path).to_ascii_lowercase();
    let is_wheel_tag = |word: &str| {
        word.strip_prefix("cu")
            .is_some_and(|rest| (2..=3).contains(&rest.len()) && rest.bytes().all(|c| c.is_ascii_digit()))
    };
    name.contains("cuda") || name.split(|c: char| !c.is_ascii_alphanumeric()).any(is_wheel_tag)
}

/// The backends of all files, CUDA first and always named: a build without it says so.
fn backends(members: &[Member], machinery: &Machinery<'_>) -> Vec<Backend> {
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

/// Why this machine cannot load the file at all.
fn foreign(image: &Image) -> Option<String> {
    let here = if cfg!(windows) { Format::Pe } else { Format::Elf };
    if image.format != here {
        let system = if image.format == Format::Pe { "Windows" } else { "Linux" };
        return Some(format!("it is for {system}, and this is {}", std::env::consts::OS));
    }
    let machine = match std::env::consts::ARCH {
        "x86_64" => Machine::X86_64,
        "aarch64" => Machine::Aarch64,
        _ => Machine::Other,
    };
    (image.machine != machine)
        .then(|| format!("it is for {}, and this machine is {}", image.machine.name(), machine.name()))
}

/// What the loader finds for a backend.
fn dependencies(holder: &Member, members: &[Member], host: &Host) -> Vec<Dependency> {
    // What the process has loaded before it loads a backend: the libraries that the backend links back to.
    let needed = |member: &&Member| {
        let name = member.image.name.clone().unwrap_or_else(|| file_name(&member.path));
        member.path != holder.path && holder.image.needed.contains(&name)
    };
    let base: Vec<Loaded> = members.iter().filter(needed).map(loaded).collect();
    resolve(holder, members, &base, host)
}

fn resolve(file: &Member, members: &[Member], base: &[Loaded], host: &Host) -> Vec<Dependency> {
    match file.image.format {
        Format::Pe => {
            let beside: BTreeSet<String> =
                members.iter().map(|member| file_name(&member.path).to_ascii_lowercase()).collect();
            let opening = Opening::of(&file.path, &members.iter().map(|member| member.path.as_path()));
            let file = loaded(file);
            windows::Loader::new(host).resolve(&Question { file: &file, opening: &opening, beside: &beside })
        }
        Format::Elf => Loader::new(host).resolve(&loaded(file), base),
    }
}

fn loaded(member: &Member) -> Loaded {
    Loaded { path: member.path.clone(), image: member.image.clone() }
}

/// The libraries without which a program does not start. One for another system has greater worries.
fn program_lacks(program: &Member, members: &[Member], host: &Host) -> Vec<String> {
    if foreign(&program.image).is_some() {
        return Vec::new();
    }
    let missing = resolve(program, members, &[], host)
        .into_iter()
        .filter(|dependency| dependency.state == DependencyState::Missing);
    missing.map(|dependency| dependency.name).collect()
}

/// `libggml-cpu-haswell.so.0.20.0` → `libggml-cpu-haswell`
fn variant(file: &str) -> String {
    let end = file.find(".so").or_else(|| file.find(".dll")).unwrap_or(file.len());
    file[..end].to_owned()
}

/// The CUDA major version that a file is linked with; of a file that links CUDA in, the one that wrote its code.
fn runtime_major(image: &Image, ptx: Option<crate::units::CudaVersion>) -> Option<u32> {
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

/// The backends that a file is, or holds.
pub fn backends_in(member: &Member) -> Vec<String> {
    let name = file_name(&member.path);
    match module_name(&name) {
        Some(Module::Backend(backend)) => return vec![backend],
        Some(Module::Plain) => return Vec::new(),
        None => {}
    }
    let exported = member.image.exports.iter().filter_map(|export| {
        let backend = export.strip_prefix("ggml_backend_")?.strip_suffix("_reg")?;
        Some(pretty(backend))
    });
    let mut names: BTreeSet<String> = exported.collect();
    names.extend(member.image.texts.backends.iter().cloned());
    if member.image.cuda.is_some() && (is_of_llama(&name) || !member.image.texts.backends.is_empty()) {
        names.insert("CUDA".to_owned());
    }
    names.into_iter().collect()
}

/// What the name of one of ggml's own libraries promises.
enum Module {
    Backend(String),
    /// `libggml-base.so`, `libggml.so`
    Plain,
}

/// `libggml-cuda.so` → CUDA; none for a name that is not ggml's.
fn module_name(file: &str) -> Option<Module> {
    let file = file.to_ascii_lowercase();
    let rest = file.strip_prefix("lib").unwrap_or(&file).strip_prefix("ggml")?;
    let end = rest.find(".so").or_else(|| rest.find(".dll"))?;
    let Some(backend) = rest[..end].strip_prefix('-') else { return Some(Module::Plain) };
    let backend = backend.split(['-', '.']).next().unwrap_or_default();
    Some(if backend == "base" { Module::Plain } else { Module::Backend(pretty(backend)) })
}

fn pretty(backend: &str) -> String {
    match backend {
        "cuda" => "CUDA",
        "cpu" => "CPU",
        "vk" | "vulkan" => "Vulkan",
        "hip" => "ROCm",
        "metal" => "Metal",
        "opencl" => "OpenCL",
        "openvino" => "OpenVINO",
        other => return other.to_ascii_uppercase(),
    }
    .to_owned()
}

/// The files in `folder` that may belong to a llama.cpp build: real files, each once, sorted.
fn candidates(folder: &Path, deepest: usize) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let (mut waiting, mut seen) = (vec![(folder.to_owned(), 0)], 0);
    while let Some((folder, depth)) = waiting.pop() {
        // A folder that cannot be read holds nothing for us.
        let Ok(entries) = fs_err::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            seen += 1;
            if seen > MOST_ENTRIES {
                return found;
            }
            let Ok(kind) = entry.file_type() else { continue };
            let name = entry.file_name().to_string_lossy().into_owned();
            if kind.is_dir() {
                if depth < deepest && !name.starts_with('.') {
                    waiting.push((entry.path(), depth + 1));
                }
            } else if is_candidate(&name)
                && let Ok(real) = real_path(&entry.path())
            {
                found.insert(real);
            }
        }
    }
    found
}

/// Whether a file of this name may be part of a llama.cpp build.
pub fn is_candidate(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let is_extension = [".node", ".pyd"].iter().any(|suffix| lower.ends_with(suffix));
    is_extension || (is_library_name(&lower) && is_of_llama(&lower)) || is_program(&lower)
}

pub(super) fn is_library_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.contains(".so.") || [".so", ".dll", ".pyd"].iter().any(|suffix| name.ends_with(suffix))
}

fn is_of_llama(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["llama", "ggml", "mtmd"].iter().any(|word| name.contains(word))
}

/// Programs of llama.cpp, under their names of now and before.
fn is_program(name: &str) -> bool {
    let stem = name.strip_suffix(".exe").unwrap_or(name);
    !stem.contains('.') && (stem == "llama" || stem.starts_with("llama-"))
}

pub fn main_folder(members: &[Member]) -> Option<PathBuf> {
    let folders: BTreeSet<&Path> = members.iter().filter_map(|member| member.path.parent()).collect();
    let count = |folder: &Path| members.iter().filter(|member| member.path.parent() == Some(folder)).count();
    folders.into_iter().max_by_key(|folder| count(folder)).map(Path::to_owned)
}

pub(super) fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
