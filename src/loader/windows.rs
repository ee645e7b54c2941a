//! The search of the Windows loader for the DLLs that a library needs.
//!
//! A Windows library seen from Linux: what lies beside it is found, what is Windows' own is taken for granted, and
//! the rest is missing. On Windows itself System32 and `PATH` are looked into.

use std::collections::{BTreeSet, VecDeque};
use std::path::{Path, PathBuf};

use super::linux::Loaded;
use super::{Dependency, DependencyState};
use crate::binary::{self, Depth, Image};
use crate::host::Host;
use crate::host::environment::PATH;
use crate::manifest::libraries::libraries;

const MOST_LIBRARIES: usize = 1024;

/// Everything that `file` needs. `beside` are the lower-case names of the files of its build.
pub fn resolve(file: &Loaded, beside: &BTreeSet<String>, host: &Host) -> Vec<Dependency> {
    let mut answers: Vec<Dependency> = Vec::new();
    let mut waiting = VecDeque::from([file.clone()]);
    while let Some(asking) = waiting.pop_front() {
        let needed_by = asking.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for name in &asking.image.needed {
            if answers.iter().any(|answer| answer.name.eq_ignore_ascii_case(name)) || answers.len() >= MOST_LIBRARIES {
                continue;
            }
            let (state, path, detail, found) = find(name, &asking, beside, host);
            answers.push(Dependency { name: name.clone(), needed_by: needed_by.clone(), state, path, detail });
            waiting.extend(found);
        }
    }
    answers
}

type Answer = (DependencyState, Option<PathBuf>, String, Option<Loaded>);

fn find(name: &str, asking: &Loaded, beside: &BTreeSet<String>, host: &Host) -> Answer {
    let lower = name.to_ascii_lowercase();
    if lower.starts_with("api-ms-win-") || lower.starts_with("ext-ms-") {
        return (DependencyState::System, None, "an API set of Windows".to_owned(), None);
    }
    let mut skipped = Vec::new();
    for (folder, rule) in folders(asking, host) {
        let path = folder.join(name);
        match look(&path, asking) {
            Some(Ok(image)) => {
                let found = Loaded { path: path.clone(), image };
                return (DependencyState::Found, Some(path), rule, Some(found));
            }
            Some(Err(why)) => skipped.push(why),
            None => {}
        }
    }
    if beside.contains(&lower) {
        return (DependencyState::Found, None, "in the same build".to_owned(), None);
    }
    let belongs_to_host = lower == "node.exe" || lower.starts_with("python3");
    if belongs_to_host {
        return (DependencyState::System, None, "of the program that loads it".to_owned(), None);
    }
    if !cfg!(windows)
        && let Some(owner) = libraries().owner_on_windows(&lower)
    {
        return (DependencyState::System, None, format!("{owner}; not looked for from here"), None);
    }
    let place = if cfg!(windows) { "the build's folder, System32 and PATH" } else { "the build's folder" };
    let mut detail = format!("not in {place}");
    if let Some(first) = skipped.first() {
        detail = format!("{detail}; {first}");
    }
    (DependencyState::Missing, None, detail, None)
}

/// Application folder, System32, Windows, `PATH`: the standard order with safe search on.
fn folders(asking: &Loaded, host: &Host) -> Vec<(PathBuf, String)> {
    let mut folders = Vec::new();
    if let Some(folder) = asking.path.parent() {
        folders.push((folder.to_owned(), "beside it".to_owned()));
    }
    if cfg!(windows) {
        let windows = host
            .variable(crate::host::environment::SYSTEM_ROOT.name)
            .map_or_else(|| PathBuf::from(r"C:\Windows"), PathBuf::from);
        folders.push((windows.join("System32"), "System32".to_owned()));
        folders.push((windows, "the Windows folder".to_owned()));
        let path = host.variable(PATH.name).unwrap_or_default();
        folders.extend(std::env::split_paths(&path).map(|folder| {
            let rule = format!("PATH ({})", folder.display());
            (folder, rule)
        }));
    }
    folders
}

/// None: no such file. An error: a file that cannot serve.
fn look(path: &Path, asking: &Loaded) -> Option<Result<Image, String>> {
    if !path.is_file() {
        return None;
    }
    Some(match binary::read_file(path, Depth::Links) {
        Ok(image) if image.machine != asking.image.machine => {
            Err(format!("{} is for {}, not {}", path.display(), image.machine.name(), asking.image.machine.name()))
        }
        Ok(image) => Ok(image),
        Err(error) => Err(format!("{} is {error}", path.display())),
    })
}
