//! What `check --fix` mends by itself: small things of our own, each remembered so that `--undo` takes it back.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::fetch::Archive;
use super::receipt::FILE_NAME;
use super::store::{Store, StoreLock};
use super::{InstallError, stage};
use crate::build::{BackendState, Build};
use crate::host::facts::Facts;
use crate::host::{mark_of_the_web, replace};

/// Partial files younger than this may still be wanted.
const STALE_SECONDS: u64 = 86_400;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Repair {
    /// A link that the receipt names and that is not there.
    Link { path: PathBuf, to: String },
    /// A partial download of ours that nobody goes on with.
    SetAside { path: PathBuf },
    /// Windows' mark on a downloaded file of ours.
    Unmark { path: PathBuf },
    /// Another installed build in the place of the one in use, which does not work.
    Use { id: String, instead_of: String },
    /// The official CUDA libraries beside an installed build.
    Companion { id: String, major: u32 },
}

impl Repair {
    pub fn describe(&self) -> String {
        match self {
            Self::Link { path, to } => format!("make the link `{}` to `{to}`", path.display()),
            Self::SetAside { path } => format!("set the abandoned download `{}` aside", path.display()),
            Self::Unmark { path } => format!("remove Windows' mark from `{}`", path.display()),
            Self::Use { id, instead_of } => format!("use {id}, which works, instead of {instead_of}"),
            Self::Companion { id, major, .. } => {
                format!("put the official CUDA {major} libraries beside {id} (a download of some hundred megabytes)")
            }
        }
    }
}

/// What was done, in the order of doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "did")]
pub enum Step {
    /// `was`: where a link of that name had led before.
    Linked {
        path: PathBuf,
        was: Option<PathBuf>,
    },
    Moved {
        from: PathBuf,
        to: PathBuf,
    },
    Unmarked {
        stream: PathBuf,
        content: String,
    },
    /// `history`: the activations before it.
    Used {
        id: String,
        instead_of: String,
        history: Vec<String>,
    },
    /// `receipt`: the build's receipt as it was.
    Added {
        files: Vec<PathBuf>,
        build: PathBuf,
        receipt: String,
    },
}

/// What can be mended here. Only what lies in our own store.
pub fn plan(facts: &Facts, store: &Store) -> Result<Vec<Repair>, InstallError> {
    let mut repairs = Vec::new();
    let installed = store.list()?;
    for build in &installed {
        for (name, to) in &build.receipt.links {
            let path = build.path.join(name);
            let target = path.parent().map(|folder| folder.join(to));
            if !path.exists() && target.is_some_and(|target| target.exists()) {
                repairs.push(Repair::Link { path, to: to.clone() });
            }
        }
    }
    for partial in &facts.partial_downloads {
        if partial.ours && partial.age_seconds > STALE_SECONDS && partial.path.starts_with(&store.root) {
            repairs.push(Repair::SetAside { path: partial.path.clone() });
        }
    }
    let marked = facts.host.windows.as_ref().and_then(|windows| windows.marked_files.value());
    for path in marked.into_iter().flatten().filter(|path| path.starts_with(&store.root)) {
        repairs.push(Repair::Unmark { path: path.clone() });
    }
    let examined = |path: &Path| facts.builds.iter().find(|build| same(&build.path, path));
    let mut companions = Vec::new();
    for build in &installed {
        let Some(backend) = examined(&build.path).and_then(|build| build.backend("CUDA")) else { continue };
        let lacks = backend.missing.iter().any(|name| is_of_companion(name));
        if let Some(major) = backend.runtime_major.filter(|_| lacks) {
            companions.push(Repair::Companion { id: build.receipt.id.clone(), major });
        }
    }
    if let Some(current) = store.current()? {
        let works = |build: &Build| build.backend("CUDA").is_some_and(|cuda| cuda.state == BackendState::Works);
        let current_works = examined(&current.path).is_none_or(works);
        let better = installed.iter().find(|build| examined(&build.path).is_some_and(works));
        // A build that only lacks its libraries gets them; another build is the second choice.
        if let Some(better) = better.filter(|_| !current_works && companions.is_empty()) {
            let (id, instead_of) = (better.receipt.id.clone(), current.receipt.id);
            repairs.push(Repair::Use { id, instead_of });
        }
    }
    repairs.extend(companions);
    Ok(repairs)
}

/// The libraries that official builds have in an archive of their own.
fn is_of_companion(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.contains("cublas") || name.contains("cudart")
}

fn same(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| fs_err::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    real(one) == real(other)
}

/// Does one repair, all but [`Repair::Companion`], which is an installation.
pub fn apply(repair: &Repair, store: &Store, lock: &StoreLock) -> Result<Option<Step>, InstallError> {
    Ok(match repair {
        Repair::Link { path, to } => {
            let was = fs_err::read_link(path).ok();
            link(to, path)?;
            Some(Step::Linked { path: path.clone(), was })
        }
        Repair::SetAside { path } => {
            let folder = store.root.join("undo");
            fs_err::create_dir_all(&folder)?;
            let name = path.file_name().unwrap_or_default();
            // Not under its old ending, by which it would be found as abandoned again.
            let free = (0..).map(|number| folder.join(format!("{number}-{}.aside", name.to_string_lossy())));
            let to = free.into_iter().find(|path| !path.exists()).unwrap_or_else(|| folder.join(name));
            replace::rename(path, &to)?;
            Some(Step::Moved { from: path.clone(), to })
        }
        Repair::Unmark { path } => {
            let stream = mark_of_the_web::stream(path);
            let content = fs_err::read_to_string(&stream)?;
            fs_err::remove_file(&stream)?;
            Some(Step::Unmarked { stream, content })
        }
        Repair::Use { id, instead_of } => {
            let history = store.history()?;
            store.activate(&store.find(id)?, lock)?;
            Some(Step::Used { id: id.clone(), instead_of: instead_of.clone(), history })
        }
        Repair::Companion { .. } => None,
    })
}

/// Puts the libraries of `archive` beside the build's CUDA backend.
pub fn add_companion(id: &str, archive: &Archive, store: &Store, _: &StoreLock) -> Result<Option<Step>, InstallError> {
    let build = store.find(id)?;
    let receipt = fs_err::read_to_string(build.path.join(FILE_NAME))?;
    let mut grown = build.receipt;
    let files = stage::add_runtime(&build.path, &store.staging("companion")?, archive, &mut grown)?;
    if files.is_empty() {
        return Ok(None);
    }
    grown.write(&build.path)?;
    Ok(Some(Step::Added { files, build: build.path, receipt }))
}

#[cfg(unix)]
fn link(to: &str, path: &Path) -> std::io::Result<()> {
    // A dangling link of that name is in the way.
    if path.symlink_metadata().is_ok() {
        fs_err::remove_file(path)?;
    }
    fs_err::os::unix::fs::symlink(to, path)
}

/// Windows' builds have no links; a copy serves the loader as well.
#[cfg(windows)]
fn link(to: &str, path: &Path) -> std::io::Result<()> {
    let target = path.parent().map_or_else(|| PathBuf::from(to), |folder| folder.join(to));
    fs_err::copy(target, path).map(drop)
}

fn journal(store: &Store) -> PathBuf {
    store.root.join("undo.json")
}

pub fn steps(store: &Store) -> Result<Vec<Step>, InstallError> {
    match fs_err::read_to_string(journal(store)) {
        Ok(text) => serde_json::from_str(&text)
            .map_err(|error| InstallError::Receipt { path: journal(store), why: error.to_string() }),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

/// Adds what was done to what `--undo` will take back.
pub fn remember(store: &Store, step: Step) -> Result<(), InstallError> {
    let mut all = steps(store)?;
    all.push(step);
    write_journal(store, &all)
}

fn write_journal(store: &Store, steps: &[Step]) -> Result<(), InstallError> {
    let text = serde_json::to_vec_pretty(steps)
        .map_err(|error| InstallError::Receipt { path: journal(store), why: error.to_string() })?;
    Ok(replace::write(&journal(store), &text)?)
}

/// Takes everything back, the last first, and says what it did.
pub fn undo(store: &Store, lock: &StoreLock) -> Result<Vec<String>, InstallError> {
    let mut left = steps(store)?;
    let mut done = Vec::new();
    while let Some(step) = left.pop() {
        done.push(take_back(step, store, lock)?);
        // One that cannot be taken back leaves those before it for another try.
        write_journal(store, &left)?;
    }
    if journal(store).exists() {
        replace::remove_file(&journal(store))?;
    }
    // The folder of what was set aside goes with the last of it.
    match fs_err::remove_dir(store.root.join("undo")) {
        Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty) => Err(error.into()),
        _ => Ok(done),
    }
}

fn take_back(step: Step, store: &Store, lock: &StoreLock) -> Result<String, InstallError> {
    Ok(match step {
        Step::Linked { path, was } => {
            fs_err::remove_file(&path)?;
            if let Some(was) = was {
                link(&was.to_string_lossy(), &path)?;
            }
            format!("removed the link `{}`", path.display())
        }
        Step::Moved { from, to } => {
            replace::rename(&to, &from)?;
            format!("brought `{}` back", from.display())
        }
        Step::Unmarked { stream, content } => {
            fs_err::write(&stream, content)?;
            format!("marked `{}` again", stream.display())
        }
        Step::Used { id, instead_of, history } => {
            store.reactivate(&store.find(&instead_of)?, &history, lock)?;
            format!("uses {instead_of} again instead of {id}")
        }
        Step::Added { files, build, receipt } => {
            for file in &files {
                replace::remove_file(file)?;
            }
            replace::write(&build.join(FILE_NAME), receipt.as_bytes())?;
            format!("removed {} added files", files.len())
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::facts::{Fact, HostFacts, Origin, PartialDownload};
    use crate::host::windows_facts::WindowsFacts;
    use crate::units::Bytes;

    #[test]
    fn an_abandoned_download_is_set_aside_and_brought_back() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().to_owned());
        let path = folder.path().join("cache/x.part");
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(&path, "half").unwrap();
        let partial =
            |path: &Path, ours| PartialDownload { path: path.to_owned(), size: Bytes(4), age_seconds: 900_000, ours };
        let facts = Facts {
            partial_downloads: vec![partial(&path, true), partial(Path::new("/elsewhere/y.part"), false)],
            ..Facts::default()
        };
        let repairs = plan(&facts, &store).unwrap();
        assert_eq!(repairs, [Repair::SetAside { path: path.clone() }]);
        let lock = store.lock().unwrap();
        let step = apply(&repairs[0], &store, &lock).unwrap().unwrap();
        remember(&store, step).unwrap();
        assert!(!path.exists());
        assert_eq!(undo(&store, &lock).unwrap().len(), 1);
        assert_eq!(fs_err::read_to_string(&path).unwrap(), "half");
        assert!(steps(&store).unwrap().is_empty());
    }

    #[test]
    fn only_marks_in_our_store_are_taken_off() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().to_owned());
        let (ours, foreign) = (folder.path().join("builds").join("ggml.dll"), PathBuf::from("elsewhere/ggml.dll"));
        let marked = Fact::known(vec![ours.clone(), foreign], Origin::File);
        let windows = WindowsFacts { marked_files: marked, ..WindowsFacts::default() };
        let facts = Facts { host: HostFacts { windows: Some(windows), ..HostFacts::default() }, ..Facts::default() };
        assert_eq!(plan(&facts, &store).unwrap(), [Repair::Unmark { path: ours }]);
    }

    #[cfg(windows)]
    #[test]
    #[expect(clippy::print_stderr, reason = "a skipped test says why")]
    fn a_mark_is_taken_off_and_put_back() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().to_owned());
        let lock = store.lock().unwrap();
        let path = folder.path().join("builds").join("ggml.dll");
        fs_err::write(&path, "MZ").unwrap();
        let mark = "[ZoneTransfer]\r\nZoneId=3\r\n";
        if fs_err::write(mark_of_the_web::stream(&path), mark).is_err() {
            eprintln!("skipped: this file system has no second streams (wine's has none)");
            return;
        }
        let files = [folder.path().join("builds")];
        assert_eq!(mark_of_the_web::marked_files(&files).value(), Some(&vec![path.clone()]));
        let step = apply(&Repair::Unmark { path: path.clone() }, &store, &lock).unwrap().unwrap();
        remember(&store, step).unwrap();
        assert_eq!(mark_of_the_web::marked_files(&files).value(), Some(&Vec::new()));
        undo(&store, &lock).unwrap();
        assert_eq!(fs_err::read_to_string(mark_of_the_web::stream(&path)).unwrap(), mark);
        assert_eq!(fs_err::read_to_string(&path).unwrap(), "MZ");
    }
}
