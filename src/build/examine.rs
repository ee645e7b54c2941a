//! A build examined without running it: its files, their backends, and what the loader would find for each.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::backend::backends;
use super::member::{candidates, file_name, is_library_name, is_of_llama, is_program};
use super::needs::program_lacks;
use super::verdict::Driver;
use super::{BackendState, Build, BuildKind, classify, official, version};
use crate::binary::{self, BinaryError, Depth, Format, Image};
use crate::host::Host;
use crate::host::facts::{Facts, Gpu};
use crate::host::real_path::real_path;
use crate::install::receipt::FILE_NAME as RECEIPT;
use crate::loader::linux::{Loaded, Loader};

pub use super::member::{Member, backends_in, main_folder};

const DEEPEST_FOLDER: usize = 6;

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
        processor_lacks: Vec::new(),
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
