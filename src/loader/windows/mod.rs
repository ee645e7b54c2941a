//! The search of the Windows loader for the DLLs that a library needs.
//!
//! In its order: API sets, `.local` redirection, side-by-side assemblies, what is loaded already, known DLLs, then the
//! folders that the way of opening names. A Windows library seen from Linux: what lies beside it is found, what is Windows'
//! own is taken for granted, and the rest is missing.

pub mod api_sets;
mod opening;
mod places;
mod system;

use std::collections::{BTreeSet, VecDeque};
use std::path::{Path, PathBuf};

pub use opening::Opening;

use super::linux::Loaded;
use super::{Dependency, DependencyState};
use crate::binary::{self, Depth, Image};
use crate::host::Host;
use crate::manifest::libraries::libraries;
use system::System;

const MOST_LIBRARIES: usize = 1024;

/// This machine's loader, with its configuration read once.
#[derive(Debug)]
pub struct Loader<'a> {
    host: &'a Host,
    /// None: the machine runs no Windows, and the library is looked at from afar.
    system: Option<System>,
}

/// What is asked for: a file, how it gets opened, and the lower-case names of the files of its build.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    pub file: &'a Loaded,
    pub opening: &'a Opening,
    pub beside: &'a BTreeSet<String>,
}

/// What became of one name.
struct Answer {
    state: DependencyState,
    path: Option<PathBuf>,
    detail: String,
    /// To be followed: it needs libraries too.
    found: Option<Loaded>,
}

impl Answer {
    fn new(state: DependencyState, path: Option<PathBuf>, detail: impl Into<String>) -> Self {
        Self { state, path, detail: detail.into(), found: None }
    }
}

impl<'a> Loader<'a> {
    pub fn new(host: &'a Host) -> Self {
        Self { host, system: System::of(host) }
    }

    /// Everything that the file needs, and what those need, in the order of loading.
    pub fn resolve(&self, question: &Question<'_>) -> Vec<Dependency> {
        let mut answers: Vec<Dependency> = Vec::new();
        let mut waiting = VecDeque::from([question.file.clone()]);
        while let Some(asking) = waiting.pop_front() {
            let needed_by = file_name(&asking.path);
            let context = self.assemblies(&asking, question, &mut answers);
            for name in &asking.image.needed {
                let is_known = answers.iter().any(|answer| answer.name.eq_ignore_ascii_case(name));
                if is_known || answers.len() >= MOST_LIBRARIES {
                    continue;
                }
                let Answer { state, path, detail, found } = self.find(name, &asking, question, &context);
                answers.push(Dependency { name: name.clone(), needed_by: needed_by.clone(), state, path, detail });
                waiting.extend(found);
            }
        }
        answers
    }

    fn find(&self, name: &str, asking: &Loaded, question: &Question<'_>, context: &[places::Place]) -> Answer {
        let lower = name.to_ascii_lowercase();
        if api_sets::is_api_set(&lower)
            && let Some(answer) = self.api_set(&lower)
        {
            return answer;
        }
        let known = self.system.as_ref().filter(|system| system.known.contains(&lower));
        let mut skipped = Vec::new();
        let redirected = if known.is_some() { None } else { self.dot_local(question) };
        let own = question.beside.contains(&lower).then(|| asking.path.parent()).flatten();
        let own = own.map(|folder| places::Place::new(folder, "part of the same build"));
        for place in redirected.iter().chain(context).chain(own.iter()) {
            match self.look(place, name, asking) {
                Some(Ok(answer)) => return answer,
                Some(Err(why)) => skipped.push(why),
                None => {}
            }
        }
        if question.beside.contains(&lower) && skipped.is_empty() {
            return Answer::new(DependencyState::Found, None, "part of the same build");
        }
        if let Some(system) = known {
            let place = places::Place::new(&system.system_folder(asking.image.machine), "a known DLL: System32");
            if let Some(Ok(answer)) = self.look(&place, name, asking) {
                return Answer { found: None, ..answer };
            }
        }
        let places = self.places(asking, question);
        for place in &places {
            match self.look(place, name, asking) {
                Some(Ok(answer)) => return answer,
                Some(Err(why)) => skipped.push(why),
                None => {}
            }
        }
        // The program that opens an addon exports to it: `node.exe`, `python312.dll`.
        if lower == "node.exe" || lower.starts_with("python3") {
            return Answer::new(DependencyState::System, None, "of the program that loads it");
        }
        if self.system.is_none()
            && let Some(owner) = libraries().owner_on_windows(&lower)
        {
            return Answer::new(DependencyState::System, None, format!("{owner}; not looked for from here"));
        }
        skipped.extend(self.elsewhere(name, asking, question, &places));
        let mut searched: Vec<&str> = Vec::new();
        for place in &places {
            if !searched.contains(&place.group) {
                searched.push(place.group);
            }
        }
        // From afar nobody knows where the program is that Windows would look beside.
        let mut detail = if searched.is_empty() {
            "not a file of the build itself".to_owned()
        } else {
            format!("not in {}", searched.join(", "))
        };
        if let Some(first) = skipped.first() {
            detail = format!("{detail}; {first}");
        }
        Answer::new(DependencyState::Missing, None, detail)
    }

    /// None: this Windows has no such set, so that the name is of a file like any other.
    fn api_set(&self, lower: &str) -> Option<Answer> {
        let taken_for_granted = || Some(Answer::new(DependencyState::System, None, "an API set of Windows"));
        let Some(system) = &self.system else { return taken_for_granted() };
        let Some(sets) = &system.api_sets else { return taken_for_granted() };
        let host = sets.host(lower)?;
        let path = system.folder.join("System32").join(host);
        Some(Answer::new(DependencyState::Found, Some(path), format!("an API set of Windows, served by {host}")))
    }

    /// The folder `PROGRAM.exe.local`. Windows heeds it for programs without a manifest only.
    fn dot_local(&self, question: &Question<'_>) -> Option<places::Place> {
        let Opening::Program { folder } = question.opening else { return None };
        let entries = fs_err::read_dir(self.host.path(folder)).ok()?;
        entries.flatten().find_map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            let program = name.strip_suffix(".local").filter(|name| name.to_ascii_lowercase().ends_with(".exe"))?;
            let image = binary::read_file(&self.host.path(folder.join(program)), Depth::Links).ok()?;
            let is_heeded = image.assemblies.is_none() && entry.path().is_dir();
            is_heeded.then(|| places::Place::new(&folder.join(&name), "the program's `.local` folder"))
        })
    }

    /// None: no such file. An error: a file that cannot serve, which Windows passes over.
    fn look(&self, place: &places::Place, name: &str, asking: &Loaded) -> Option<Result<Answer, String>> {
        let path = self.file(&place.folder, name)?;
        let real = self.host.path(&path);
        let image = match binary::read_file(&real, Depth::Links) {
            Ok(image) if image.machine == asking.image.machine => image,
            Ok(image) => {
                let (is, wanted) = (image.machine.name(), asking.image.machine.name());
                return Some(Err(format!("{} is for {is}, not {wanted}", path.display())));
            }
            Err(error) => return Some(Err(format!("{} is {error}", path.display()))),
        };
        let is_of_windows = libraries().owner_on_windows(&name.to_ascii_lowercase()) == Some("part of Windows");
        if is_of_windows {
            return Some(Ok(Answer::new(DependencyState::Found, Some(path), place.rule.clone())));
        }
        if let Some(problem) = self.lacks(&real, &path, name, asking) {
            return Some(Ok(Answer::new(DependencyState::Unusable, Some(path), problem)));
        }
        let version = version(&image).map_or_else(String::new, |version| format!(", version {version}"));
        Some(Ok(Answer {
            found: Some(Loaded { path: path.clone(), image }),
            ..Answer::new(DependencyState::Found, Some(path), format!("{}{version}", place.rule))
        }))
    }

    /// The functions that are wanted of a library and not in it: it is of another version, and Windows ends with 0xC0000139.
    fn lacks(&self, real: &Path, path: &Path, name: &str, asking: &Loaded) -> Option<String> {
        let wanted = binary::imported_functions(&self.host.path(&asking.path), name).ok()?;
        let exported = binary::exported_names(real).ok()?;
        let lacking: Vec<&str> = wanted.iter().filter(|name| !exported.contains(*name)).map(String::as_str).collect();
        let first = lacking.first()?;
        let more = if lacking.len() > 1 { format!(" and {} more functions", lacking.len() - 1) } else { String::new() };
        Some(format!("{} is of another version: it lacks `{first}`{more}", path.display()))
    }

    /// The file of that name in the folder, whatever its case: Windows does not tell cases apart.
    fn file(&self, folder: &Path, name: &str) -> Option<PathBuf> {
        let path = folder.join(name);
        if self.host.path(&path).is_file() {
            return Some(path);
        }
        if cfg!(windows) {
            return None;
        }
        let entries = fs_err::read_dir(self.host.path(folder)).ok()?;
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        names.into_iter().find(|known| known.eq_ignore_ascii_case(name)).map(|known| folder.join(known))
    }
}

fn version(image: &Image) -> Option<&str> {
    image.file_version.as_deref().filter(|version| *version != "0.0.0.0")
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
