//! The search of the Linux loaders, glibc's and musl's, for everything a library needs.
//!
//! Order of glibc (`man 8 ld.so`): RPATH of the library and of what loaded it (unless there is a RUNPATH),
//! `LD_LIBRARY_PATH`, RUNPATH, `ld.so.cache`, the default folders.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use super::{Dependency, DependencyState, ld_cache};
use crate::binary::{self, BinaryError, Depth, Image, Machine};
use crate::host::Host;
use crate::host::environment::LD_LIBRARY_PATH;

/// No real program loads as many.
const MOST_LIBRARIES: usize = 1024;
/// musl serves these itself, whatever the version (musl, `ldso/dynlink.c`).
const PART_OF_MUSL: [&str; 7] = ["libc.", "libpthread.", "librt.", "libm.", "libdl.", "libutil.", "libxnet."];

/// This machine's loader, with its configuration read once.
#[derive(Debug)]
pub struct Loader<'a> {
    host: &'a Host,
    cache: Vec<ld_cache::Entry>,
    /// Why there is no cache to look into, if there is none.
    cache_problem: Option<String>,
    library_path: Vec<String>,
    is_musl: bool,
    /// x86-64 level of this CPU; 1 is the baseline.
    hardware_level: u32,
}

/// A file that is loaded, with what it says of itself.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub path: PathBuf,
    pub image: Image,
}

impl Loaded {
    fn file_name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    fn is_called(&self, name: &str) -> bool {
        self.image.name.as_deref() == Some(name) || self.path.file_name().is_some_and(|file| file == name)
    }
}

/// A library being resolved, and the chain of those that asked for it (nearest last).
struct Pending {
    loaded: Loaded,
    chain: Vec<usize>,
}

enum Candidate {
    Good(Box<Loaded>),
    /// Is there and does not fit; the loader goes on.
    Skipped(String),
    /// Is there and ends the search.
    Bad(PathBuf, String),
    Absent,
}

impl<'a> Loader<'a> {
    pub fn new(host: &'a Host) -> Self {
        let cache = fs_err::read(host.path("/etc/ld.so.cache"))
            .map_err(|error| error.to_string())
            .and_then(|bytes| ld_cache::read(&bytes).map_err(|error| error.to_string()));
        let (cache, cache_problem) = match cache {
            Ok(entries) => (entries, None),
            Err(problem) => (Vec::new(), Some(problem)),
        };
        let library_path = host.text_variable(LD_LIBRARY_PATH.name).unwrap_or_default();
        let is_musl = cache.is_empty()
            && ["x86_64", "aarch64"].iter().any(|name| host.path(format!("/lib/ld-musl-{name}.so.1")).exists());
        Self {
            host,
            cache,
            cache_problem,
            // An empty word is the current folder.
            library_path: if library_path.is_empty() {
                Vec::new()
            } else {
                library_path
                    .split([':', ';'])
                    .map(|folder| if folder.is_empty() { "." } else { folder }.to_owned())
                    .collect()
            },
            is_musl,
            hardware_level: if matches!(host, Host::Live) { hardware_level() } else { 1 },
        }
    }

    /// Why `ld.so.cache` could not be used, if so.
    pub fn cache_problem(&self) -> Option<&str> {
        self.cache_problem.as_deref()
    }

    /// Everything that `file` needs, and what those need, in the order of loading. `before` is loaded already
    /// (the program, libllama): the loader takes a library by its name if it has it.
    pub fn resolve(&self, file: &Loaded, before: &[Loaded]) -> Vec<Dependency> {
        let mut answers = Vec::new();
        let mut pending: Vec<Pending> = Vec::new();
        let mut queue = VecDeque::new();
        for loaded in before {
            pending.push(Pending { loaded: loaded.clone(), chain: Vec::new() });
            queue.push_back(pending.len() - 1);
        }
        // What the program brings is loaded first, and its faults are its own.
        self.walk(&mut pending, &mut queue, &mut Vec::new());
        pending.push(Pending { loaded: file.clone(), chain: (0..before.len().min(1)).collect() });
        queue.push_back(pending.len() - 1);
        self.walk(&mut pending, &mut queue, &mut answers);
        answers
    }

    /// The library of this name that `asking` would be given.
    pub fn locate(&self, name: &str, asking: &Loaded) -> Option<Loaded> {
        let pending = [Pending { loaded: asking.clone(), chain: Vec::new() }];
        self.find(name, 0, &pending).1
    }

    fn walk(&self, pending: &mut Vec<Pending>, queue: &mut VecDeque<usize>, answers: &mut Vec<Dependency>) {
        while let Some(index) = queue.pop_front() {
            let needed = pending[index].loaded.image.needed.clone();
            let needed_by = pending[index].loaded.file_name();
            for name in needed {
                if answers.iter().any(|answer| answer.name == name) {
                    continue;
                }
                if let Some(known) = pending.iter().find(|known| known.loaded.is_called(&name)) {
                    let detail = versions_problem(&pending[index].loaded.image, &name, &known.loaded.image)
                        .map_or((DependencyState::Found, "part of the same build".to_owned()), |problem| {
                            (DependencyState::Unusable, problem)
                        });
                    answers.push(Dependency {
                        name,
                        needed_by: needed_by.clone(),
                        state: detail.0,
                        path: Some(known.loaded.path.clone()),
                        detail: detail.1,
                    });
                    continue;
                }
                let (answer, found) = self.find(&name, index, pending);
                answers.push(answer);
                if let Some(found) = found
                    && pending.len() < MOST_LIBRARIES
                {
                    let mut chain = pending[index].chain.clone();
                    chain.push(index);
                    pending.push(Pending { loaded: found, chain });
                    queue.push_back(pending.len() - 1);
                }
            }
        }
    }

    fn find(&self, name: &str, index: usize, pending: &[Pending]) -> (Dependency, Option<Loaded>) {
        let asking = &pending[index].loaded;
        let answer = |state, path, detail| Dependency {
            name: name.to_owned(),
            needed_by: asking.file_name(),
            state,
            path,
            detail,
        };
        if self.is_musl && PART_OF_MUSL.iter().any(|prefix| name.starts_with(prefix)) {
            return (answer(DependencyState::System, None, "part of musl".to_owned()), None);
        }
        let (mut searched, mut skipped) = (Vec::new(), Vec::new());
        for (folder, rule) in self.folders(index, pending) {
            for subfolder in self.with_hardware_levels(&folder) {
                match self.look(&subfolder.join(name), asking.image.machine) {
                    Candidate::Good(found) => return accept(name, asking, *found, rule),
                    Candidate::Bad(path, why) => return (answer(DependencyState::Unusable, Some(path), why), None),
                    Candidate::Skipped(why) => skipped.push(why),
                    Candidate::Absent => {}
                }
            }
            if !searched.contains(&rule) {
                searched.push(rule);
            }
        }
        for entry in self.cached(name, asking.image.machine) {
            match self.look(Path::new(&entry.path), asking.image.machine) {
                Candidate::Good(found) => return accept(name, asking, *found, "ld.so.cache".to_owned()),
                Candidate::Bad(path, why) => return (answer(DependencyState::Unusable, Some(path), why), None),
                Candidate::Skipped(why) => skipped.push(why),
                Candidate::Absent => skipped.push(format!("{} is in ld.so.cache and not on disk", entry.path)),
            }
        }
        if !self.is_musl {
            searched.push("ld.so.cache".to_owned());
            for folder in default_folders(asking.image.machine) {
                for subfolder in self.with_hardware_levels(&folder) {
                    match self.look(&subfolder.join(name), asking.image.machine) {
                        Candidate::Good(found) => {
                            return accept(name, asking, *found, format!("default folder {folder}"));
                        }
                        Candidate::Bad(path, why) => return (answer(DependencyState::Unusable, Some(path), why), None),
                        Candidate::Skipped(why) => skipped.push(why),
                        Candidate::Absent => {}
                    }
                }
            }
        }
        searched.push("the default folders".to_owned());
        let mut detail = format!("not in {}", searched.join(", "));
        skipped.extend(self.other_major(name, asking.image.machine));
        if !skipped.is_empty() {
            detail = format!("{detail}; {}", skipped.join("; "));
        }
        (answer(DependencyState::Missing, None, detail), None)
    }

    /// The folders before the cache, each with the rule that puts it there.
    fn folders(&self, index: usize, pending: &[Pending]) -> Vec<(String, String)> {
        let asking = &pending[index];
        let origin = |loaded: &Loaded, folder: &String| expand(folder, &loaded.path);
        let own = |loaded: &Loaded, folders: &[String], what: &str| -> Vec<(String, String)> {
            let rule = format!("{what} of {}", loaded.file_name());
            folders.iter().map(|folder| (origin(loaded, folder), rule.clone())).collect()
        };
        let library_path =
            self.library_path.iter().map(|folder| (folder.clone(), "LD_LIBRARY_PATH".to_owned())).collect::<Vec<_>>();
        let chain = asking.chain.iter().rev().map(|index| &pending[*index].loaded);
        let mut folders = Vec::new();
        if self.is_musl {
            folders.extend(library_path);
            for loaded in [&asking.loaded].into_iter().chain(chain) {
                folders.extend(own(loaded, &loaded.image.rpath, "RPATH"));
                folders.extend(own(loaded, &loaded.image.runpath, "RUNPATH"));
            }
            folders.extend(self.musl_folders().into_iter().map(|folder| (folder, "musl's path".to_owned())));
            return folders;
        }
        if asking.loaded.image.runpath.is_empty() {
            for loaded in [&asking.loaded].into_iter().chain(chain) {
                if loaded.image.runpath.is_empty() {
                    folders.extend(own(loaded, &loaded.image.rpath, "RPATH"));
                }
            }
        }
        folders.extend(library_path);
        folders.extend(own(&asking.loaded, &asking.loaded.image.runpath, "RUNPATH"));
        folders
    }

    fn musl_folders(&self) -> Vec<String> {
        let configured = ["x86_64", "aarch64"]
            .iter()
            .find_map(|name| self.host.read_to_string(format!("/etc/ld-musl-{name}.path")).ok());
        let text = configured.unwrap_or_else(|| "/lib:/usr/local/lib:/usr/lib".to_owned());
        text.split([':', '\n']).filter(|folder| !folder.is_empty()).map(str::to_owned).collect()
    }

    /// A folder and its parts for better CPUs, best first.
    fn with_hardware_levels(&self, folder: &str) -> Vec<PathBuf> {
        let folder = Path::new(folder);
        let levels = (2..=self.hardware_level).rev();
        let mut folders: Vec<PathBuf> =
            levels.map(|level| folder.join(format!("glibc-hwcaps/x86-64-v{level}"))).collect();
        folders.push(folder.to_owned());
        folders
    }

    fn cached(&self, name: &str, machine: Machine) -> Vec<&ld_cache::Entry> {
        let mut entries: Vec<_> = self
            .cache
            .iter()
            .filter(|entry| entry.name == name && entry.machine == machine)
            .filter(|entry| entry.hardware_level().is_none_or(|level| level <= self.hardware_level))
            .collect();
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.hardware_level()));
        entries
    }

    fn look(&self, path: &Path, machine: Machine) -> Candidate {
        let real = self.host.path(path);
        match binary::read_file(&real, Depth::Links) {
            Ok(image) if image.machine != machine => Candidate::Skipped(format!(
                "{} is for {}, not {}",
                path.display(),
                image.machine.name(),
                machine.name()
            )),
            Ok(image) => Candidate::Good(Box::new(Loaded { path: path.to_owned(), image })),
            Err(BinaryError::Unreadable(error)) if error.kind() == std::io::ErrorKind::NotFound => {
                if fs_err::symlink_metadata(&real).is_ok() {
                    Candidate::Skipped(format!("{} is a link to a file that is not there", path.display()))
                } else {
                    Candidate::Absent
                }
            }
            Err(BinaryError::Unreadable(error)) if error.kind() == std::io::ErrorKind::NotADirectory => {
                Candidate::Absent
            }
            Err(BinaryError::Unreadable(error)) => Candidate::Skipped(format!("{}: {error}", path.display())),
            Err(error) => Candidate::Bad(path.to_owned(), format!("{} is {error}", path.display())),
        }
    }

    /// The same library with another major version, which cannot serve but explains.
    fn other_major(&self, name: &str, machine: Machine) -> Option<String> {
        let (stem, _) = name.split_once(".so.")?;
        let is_twin = |entry: &&ld_cache::Entry| {
            entry.machine == machine
                && entry.name != name
                && entry.name.strip_prefix(stem).is_some_and(|rest| rest.starts_with(".so."))
        };
        let twin = self.cache.iter().find(is_twin)?;
        Some(format!("{} is another major version and cannot serve", twin.path))
    }
}

fn accept(name: &str, asking: &Loaded, found: Loaded, rule: String) -> (Dependency, Option<Loaded>) {
    let problem = stub_problem(&found.path, name).or_else(|| versions_problem(&asking.image, name, &found.image));
    let state = if problem.is_some() { DependencyState::Unusable } else { DependencyState::Found };
    let answer = Dependency {
        name: name.to_owned(),
        needed_by: asking.file_name(),
        state,
        path: Some(found.path.clone()),
        detail: problem.unwrap_or(rule),
    };
    (answer, Some(found))
}

fn default_folders(machine: Machine) -> Vec<String> {
    let multiarch = match machine {
        Machine::X86_64 => "x86_64-linux-gnu",
        Machine::Aarch64 => "aarch64-linux-gnu",
        Machine::X86 => "i386-linux-gnu",
        Machine::Other => return vec!["/lib".to_owned(), "/usr/lib".to_owned()],
    };
    let wide = if machine == Machine::X86 { "" } else { "64" };
    vec![
        format!("/lib/{multiarch}"),
        format!("/usr/lib/{multiarch}"),
        format!("/lib{wide}"),
        format!("/usr/lib{wide}"),
        "/lib".to_owned(),
        "/usr/lib".to_owned(),
    ]
}

/// `$ORIGIN` is the folder of the file that carries the path.
fn expand(folder: &str, file: &Path) -> String {
    let origin = file.parent().unwrap_or_else(|| Path::new(".")).to_string_lossy().into_owned();
    folder.replace("${ORIGIN}", &origin).replace("$ORIGIN", &origin)
}

/// The toolkit's stand-in for the driver: good for linking, useless for running.
fn stub_problem(path: &Path, name: &str) -> Option<String> {
    let in_stubs = path.parent().and_then(Path::file_name).is_some_and(|folder| folder == "stubs");
    in_stubs.then(|| {
        format!("{} is the toolkit's stub for linking, not the driver: `{name}` from it runs nothing", path.display())
    })
}

/// A wanted symbol version that the found library does not define. A library without any versions is let pass, as by glibc.
fn versions_problem(asking: &Image, name: &str, found: &Image) -> Option<String> {
    if found.provided_versions.is_empty() {
        return None;
    }
    let wanted = asking.required_versions.iter().find(|required| required.library == name)?;
    let lacking: Vec<&str> = wanted
        .versions
        .iter()
        .filter(|version| !found.provided_versions.contains(version))
        .map(String::as_str)
        .collect();
    (!lacking.is_empty()).then(|| format!("{name} of this system is too old: it has no {}", lacking.join(", ")))
}

#[cfg(target_arch = "x86_64")]
fn hardware_level() -> u32 {
    // The features that tell the levels apart (x86-64 psABI, micro-architecture levels).
    if !std::is_x86_feature_detected!("sse4.2") {
        1
    } else if !(std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("bmi2")) {
        2
    } else if !(std::is_x86_feature_detected!("avx512bw") && std::is_x86_feature_detected!("avx512vl")) {
        3
    } else {
        4
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn hardware_level() -> u32 {
    1
}
