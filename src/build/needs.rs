//! What the loader would find for the files of a build.

use std::collections::BTreeSet;

use super::member::{Member, file_name};
use crate::binary::{Format, Image, Machine};
use crate::host::Host;
use crate::loader::linux::{Loaded, Loader};
use crate::loader::windows::{self, Opening, Question};
use crate::loader::{Dependency, DependencyState};

/// Why this machine cannot load the file at all.
pub(super) fn foreign(image: &Image) -> Option<String> {
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
pub(super) fn dependencies(holder: &Member, members: &[Member], host: &Host) -> Vec<Dependency> {
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
pub(super) fn program_lacks(program: &Member, members: &[Member], host: &Host) -> Vec<String> {
    if foreign(&program.image).is_some() {
        return Vec::new();
    }
    let missing = resolve(program, members, &[], host)
        .into_iter()
        .filter(|dependency| dependency.state == DependencyState::Missing);
    missing.map(|dependency| dependency.name).collect()
}
