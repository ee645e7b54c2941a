//! The Hugging Face cache on this disk: one copy of a model for llama.cpp's `-hf`, the Python hub and us.
//!
//! ```text
//! models--org--name/blobs/<sha256 or git sha1>
//!                   refs/main                        the commit, as text
//!                   snapshots/<commit>/<path>        link to the blob; where links are impossible, the file itself
//! .locks/models--org--name/<blob>.lock               held while a blob is written
//! ```

use std::io;
use std::path::{Path, PathBuf};

use fs_err::File;
use thiserror::Error;

use super::repository::{Commit, RepositoryId, RepositoryPath};
use crate::host::{Host, environment};
use crate::net::digest::Sha256Digest;

#[derive(Debug, Error)]
pub enum HubCacheError {
    #[error("no home folder: there is no place for the model cache")]
    NoHome,
    #[error("another program is writing `{path}`")]
    Locked { path: PathBuf },
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The folder that holds `models--org--name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubCache {
    root: PathBuf,
}

impl HubCache {
    /// Where llama.cpp looks (b11434 `common/hf-cache.cpp:30-60`); the Python hub agrees but for `LLAMA_CACHE`.
    pub fn locate(host: &Host) -> Result<Self, HubCacheError> {
        Self::candidates(host).into_iter().next().ok_or(HubCacheError::NoHome)
    }

    /// Every cache that one of the programs here may have filled.
    pub fn all(host: &Host) -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        for cache in Self::candidates(host) {
            let real = fs_err::canonicalize(&cache.root).ok();
            let is_known = all.iter().any(|known| fs_err::canonicalize(&known.root).ok() == real);
            if real.is_some() && !is_known {
                all.push(cache);
            }
        }
        all
    }

    fn candidates(host: &Host) -> Vec<Self> {
        let folder = |name: &str| host.variable(name).map(|path| expand_home(host, path.into()));
        let candidates = [
            folder(environment::LLAMA_CACHE.name),
            folder(environment::HF_HUB_CACHE.name),
            folder(environment::HUGGINGFACE_HUB_CACHE.name),
            folder(environment::HF_HOME.name).map(|home| home.join("hub")),
            folder(environment::XDG_CACHE_HOME.name).map(|cache| cache.join("huggingface").join("hub")),
            host.home().map(|home| home.join(".cache").join("huggingface").join("hub")),
        ];
        candidates.into_iter().flatten().map(Self::at).collect()
    }

    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn repository(&self, id: &RepositoryId) -> CachedRepository {
        let folder = self.root.join(id.folder_name());
        CachedRepository { locks: self.root.join(".locks").join(id.folder_name()), id: id.clone(), folder }
    }

    /// Every model repository in the cache, sorted by name.
    pub fn repositories(&self) -> Vec<CachedRepository> {
        let mut found: Vec<_> = entries(&self.root)
            .into_iter()
            .filter_map(|path| RepositoryId::from_folder_name(path.file_name()?.to_str()?))
            .map(|id| self.repository(&id))
            .collect();
        found.sort_by(|one, other| one.id.cmp(&other.id));
        found
    }
}

/// `~/x`, which the Python hub expands too.
pub(crate) fn expand_home(host: &Host, path: PathBuf) -> PathBuf {
    match (path.strip_prefix("~"), host.home()) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path,
    }
}

/// The entries of a folder; one that cannot be read holds nothing for us.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs_err::read_dir(folder) else { return Vec::new() };
    entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
}

/// One `models--org--name`, which need not exist yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedRepository {
    pub id: RepositoryId,
    folder: PathBuf,
    locks: PathBuf,
}

/// A file in a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedFile {
    pub commit: Commit,
    pub name: RepositoryPath,
    /// The name in the snapshot: what programs are given, since split models are found by their names.
    pub path: PathBuf,
    /// Where the bytes are, when the snapshot holds a link.
    pub blob: Option<PathBuf>,
    pub bytes: u64,
}

impl CachedFile {
    /// The checksum that the blob's own name promises.
    pub fn promised_sha256(&self) -> Option<Sha256Digest> {
        self.blob.as_ref()?.file_name()?.to_str()?.parse().ok()
    }
}

impl CachedRepository {
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The commit that a branch or tag pointed to when it was last looked up.
    pub fn commit_of(&self, revision: &str) -> Option<Commit> {
        let reference = self.folder.join("refs").join(revision.parse::<RepositoryPath>().ok()?.to_path());
        fs_err::read_to_string(reference).ok()?.trim().parse().ok()
    }

    /// Branches and tags that are recorded, with their commits; `main` first.
    pub fn references(&self) -> Vec<(String, Commit)> {
        let mut found: Vec<_> = entries(&self.folder.join("refs"))
            .into_iter()
            .filter_map(|path| {
                let name = path.file_name()?.to_str()?.to_owned();
                Some((name, fs_err::read_to_string(&path).ok()?.trim().parse().ok()?))
            })
            .collect();
        found.sort_by_key(|(name, _)| (name != "main", name.clone()));
        found
    }

    /// The commits that have a snapshot: those that a reference names first.
    pub fn snapshots(&self) -> Vec<Commit> {
        let mut commits: Vec<Commit> = self.references().into_iter().map(|(_, commit)| commit).collect();
        let mut others: Vec<Commit> = entries(&self.folder.join("snapshots"))
            .into_iter()
            .filter_map(|path| path.file_name()?.to_str()?.parse().ok())
            .collect();
        others.sort();
        commits.extend(others);
        let mut seen = std::collections::BTreeSet::new();
        commits.retain(|commit| seen.insert(commit.clone()) && self.snapshot(commit).is_dir());
        commits
    }

    fn snapshot(&self, commit: &Commit) -> PathBuf {
        self.folder.join("snapshots").join(commit.as_str())
    }

    /// Where a file of a snapshot lies, whether or not it is there.
    pub fn snapshot_path(&self, commit: &Commit, name: &RepositoryPath) -> PathBuf {
        self.snapshot(commit).join(name.to_path())
    }

    pub fn blob_path(&self, etag: &str) -> PathBuf {
        self.folder.join("blobs").join(etag)
    }

    /// One file of a snapshot, if its bytes are there.
    pub fn file(&self, commit: &Commit, name: &RepositoryPath) -> Option<CachedFile> {
        let path = self.snapshot_path(commit, name);
        let metadata = fs_err::metadata(&path).ok().filter(std::fs::Metadata::is_file)?;
        let blob = fs_err::read_link(&path).ok().map(|target| normalized(&path, &target));
        Some(CachedFile { commit: commit.clone(), name: name.clone(), path, blob, bytes: metadata.len() })
    }

    /// The files of a snapshot whose bytes are there, sorted by name. Links that lead out of the repository's folder are
    /// not ours to follow.
    pub fn files(&self, commit: &Commit) -> Vec<CachedFile> {
        let mut names = Vec::new();
        collect_names(&self.snapshot(commit), "", 0, &mut names);
        names.sort();
        names
            .iter()
            .filter_map(|name| self.file(commit, name))
            .filter(|file| file.blob.as_ref().is_none_or(|blob| blob.starts_with(&self.folder)))
            .collect()
    }

    /// Every file of every snapshot.
    pub fn all_files(&self) -> Vec<CachedFile> {
        self.snapshots().iter().flat_map(|commit| self.files(commit)).collect()
    }

    /// Holds the lock that every hub client takes while it writes this blob. `wait`: until it is free; otherwise a held
    /// lock is an error.
    pub fn lock(&self, etag: &str, wait: bool) -> Result<BlobLock, HubCacheError> {
        fs_err::create_dir_all(&self.locks)?;
        let path = self.locks.join(format!("{etag}.lock"));
        let file = fs_err::OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path)?;
        if wait {
            file.file().lock()?;
        } else {
            file.file().try_lock().map_err(|error| match error {
                std::fs::TryLockError::WouldBlock => HubCacheError::Locked { path: self.blob_path(etag) },
                std::fs::TryLockError::Error(error) => error.into(),
            })?;
        }
        Ok(BlobLock { file })
    }

    /// Makes the file `name` of the snapshot show the finished blob: by a relative link, or, where links are impossible,
    /// by moving the blob there. Answers the path in the snapshot.
    pub fn publish(&self, commit: &Commit, name: &RepositoryPath, etag: &str) -> Result<PathBuf, HubCacheError> {
        self.publish_with(commit, name, etag, &create_link)
    }

    fn publish_with(
        &self,
        commit: &Commit,
        name: &RepositoryPath,
        etag: &str,
        link: &dyn Fn(&Path, &Path) -> io::Result<()>,
    ) -> Result<PathBuf, HubCacheError> {
        let path = self.snapshot_path(commit, name);
        let blob = self.blob_path(etag);
        if let Some(folder) = path.parent() {
            fs_err::create_dir_all(folder)?;
        }
        let up = "../".repeat(name.depth() + 2);
        let target: PathBuf = up.split('/').filter(|part| !part.is_empty()).chain(["blobs", etag]).collect();
        if fs_err::read_link(&path).is_ok_and(|current| current == target) {
            return Ok(path);
        }
        // A link cannot replace a file: make it beside, then move it over, so that a reader never finds nothing.
        let beside = path.with_file_name(format!(".{}.{}.link", name.file_name(), std::process::id()));
        let _ = fs_err::remove_file(&beside);
        if link(&target, &beside).is_ok() {
            // Wine makes links and then cannot rename them.
            if fs_err::rename(&beside, &path).is_ok() {
                return Ok(path);
            }
            let _ = fs_err::remove_file(&beside);
        }
        fs_err::rename(&blob, &path)?;
        Ok(path)
    }

    /// Records what a branch points to. Written last, so that whoever follows it finds the files.
    pub fn write_reference(&self, revision: &str, commit: &Commit) -> Result<(), HubCacheError> {
        let Ok(name) = revision.parse::<RepositoryPath>() else { return Ok(()) };
        if self.commit_of(revision).as_ref() == Some(commit) {
            return Ok(());
        }
        let path = self.folder.join("refs").join(name.to_path());
        let folder = path.parent().unwrap_or(&self.folder);
        fs_err::create_dir_all(folder)?;
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        io::Write::write_all(&mut file, commit.as_str().as_bytes())?;
        file.persist(&path).map_err(|error| error.error)?;
        Ok(())
    }

    /// Removes files from snapshots, and the blobs that no snapshot uses any more. Answers the bytes set free.
    pub fn remove(&self, files: &[CachedFile]) -> Result<u64, HubCacheError> {
        let mut freed = 0;
        for file in files {
            fs_err::remove_file(&file.path)?;
            if file.blob.is_none() {
                freed += file.bytes;
            }
            self.prune_empty_folders(&file.path);
        }
        let used: Vec<PathBuf> = self.all_files().into_iter().filter_map(|file| file.blob).collect();
        for file in files {
            let unused = |blob: &&PathBuf| !used.contains(blob) && blob.starts_with(&self.folder);
            if let Some(blob) = file.blob.as_ref().filter(unused)
                && fs_err::metadata(blob).is_ok()
            {
                fs_err::remove_file(blob)?;
                freed += file.bytes;
            }
        }
        if self.snapshots().is_empty() {
            self.remove_references();
        }
        Ok(freed)
    }

    /// Removes the folders above `path` that became empty, up to the repository's own.
    fn prune_empty_folders(&self, path: &Path) {
        for folder in path.ancestors().skip(1).take_while(|folder| *folder != self.folder) {
            // A folder that still holds something stays: that error is the answer.
            if std::fs::remove_dir(folder).is_err() {
                return;
            }
        }
    }

    /// References without any snapshot would promise files that are gone.
    fn remove_references(&self) {
        for (name, _) in self.references() {
            let path = self.folder.join("refs").join(name);
            if fs_err::remove_file(&path).is_ok() {
                self.prune_empty_folders(&path);
            }
        }
        let _ = std::fs::remove_dir(self.folder.join("blobs"));
        let _ = std::fs::remove_dir(&self.folder);
    }
}

/// Held while a blob is written; released when dropped, and by the system when the program dies.
#[derive(Debug)]
pub struct BlobLock {
    #[expect(dead_code, reason = "the open file is the lock")]
    file: File,
}

/// Relative names of all files below `folder`; deeper than any repository goes, nothing is looked for.
fn collect_names(folder: &Path, prefix: &str, depth: usize, names: &mut Vec<RepositoryPath>) {
    const DEEPEST: usize = 16;
    for path in entries(folder) {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let relative = format!("{prefix}{name}");
        let is_folder = fs_err::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_dir());
        if is_folder && depth < DEEPEST {
            collect_names(&path, &format!("{relative}/"), depth + 1, names);
        } else if let Ok(name) = relative.parse() {
            names.push(name);
        }
    }
}

/// The target of a link as a path without `..`, computed from names alone: the cache's own folder may itself be a link.
fn normalized(link: &Path, target: &Path) -> PathBuf {
    let mut path = link.parent().unwrap_or(link).to_owned();
    for part in target.components() {
        match part {
            std::path::Component::ParentDir => {
                path.pop();
            }
            std::path::Component::CurDir => {}
            part => path.push(part),
        }
    }
    path
}

#[cfg(unix)]
fn create_link(target: &Path, link: &Path) -> io::Result<()> {
    fs_err::os::unix::fs::symlink(target, link)
}

/// Needs developer mode or an administrator; without, the caller moves the file.
#[cfg(windows)]
fn create_link(target: &Path, link: &Path) -> io::Result<()> {
    fs_err::os::windows::fs::symlink_file(target, link)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
    #[cfg(unix)]
    const OTHER: &str = "89abcdef0123456789abcdef0123456789abcdef";

    fn setup() -> (tempfile::TempDir, CachedRepository, Commit, RepositoryPath, String) {
        let folder = tempfile::tempdir().unwrap();
        let repository = HubCache::at(folder.path()).repository(&"org/name".parse().unwrap());
        let etag = "ab".repeat(32);
        fs_err::create_dir_all(repository.folder().join("blobs")).unwrap();
        fs_err::write(repository.blob_path(&etag), "GGUF").unwrap();
        (folder, repository, COMMIT.parse().unwrap(), "sub/m.gguf".parse().unwrap(), etag)
    }

    #[test]
    fn the_folder_is_found_as_llama_cpp_finds_it() {
        let locate = |variables: &[(&str, &str)]| {
            let environment = variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
            let host = Host::Recorded { root: "/".into(), environment, outputs: std::collections::BTreeMap::default() };
            HubCache::locate(&host).unwrap().root().to_owned()
        };
        let home = (if cfg!(windows) { "USERPROFILE" } else { "HOME" }, "/home/u");
        assert_eq!(locate(&[home]), Path::new("/home/u/.cache/huggingface/hub"));
        assert_eq!(locate(&[home, ("XDG_CACHE_HOME", "/c")]), Path::new("/c/huggingface/hub"));
        assert_eq!(locate(&[home, ("HF_HOME", "~/hf"), ("XDG_CACHE_HOME", "/c")]), Path::new("/home/u/hf/hub"));
        assert_eq!(locate(&[home, ("HF_HUB_CACHE", "/h"), ("HF_HOME", "/x")]), Path::new("/h"));
        assert_eq!(locate(&[home, ("LLAMA_CACHE", "/l"), ("HF_HUB_CACHE", "/h")]), Path::new("/l"));
    }

    // On Windows a link needs a right that a test cannot count on.
    #[cfg(unix)]
    #[test]
    fn a_published_file_is_a_relative_link_to_its_blob() {
        let (_folder, repository, commit, name, etag) = setup();
        let path = repository.publish(&commit, &name, &etag).unwrap();
        repository.write_reference("main", &commit).unwrap();
        assert_eq!(repository.publish(&commit, &name, &etag).unwrap(), path);
        assert_eq!(fs_err::read_to_string(&path).unwrap(), "GGUF");
        assert_eq!(fs_err::read_link(&path).unwrap(), Path::new("../../../blobs").join(&etag));
        assert_eq!(repository.commit_of("main"), Some(commit.clone()));
        let file = repository.file(&commit, &name).unwrap();
        assert_eq!(file.promised_sha256().unwrap().to_string(), etag);
        assert_eq!(repository.all_files(), [file]);
    }

    #[test]
    fn without_links_the_file_itself_lies_in_the_snapshot() {
        let (_folder, repository, commit, name, etag) = setup();
        let refuse = |_: &Path, _: &Path| Err(io::ErrorKind::PermissionDenied.into());
        let path = repository.publish_with(&commit, &name, &etag, &refuse).unwrap();
        assert!(!repository.blob_path(&etag).exists());
        let file = repository.file(&commit, &name).unwrap();
        assert_eq!((file.path, file.blob), (path, None));
    }

    #[cfg(unix)]
    #[test]
    fn a_blob_stays_while_another_snapshot_uses_it() {
        let (_folder, repository, commit, name, etag) = setup();
        let other: Commit = OTHER.parse().unwrap();
        repository.publish(&commit, &name, &etag).unwrap();
        repository.publish(&other, &name, &etag).unwrap();
        repository.write_reference("main", &commit).unwrap();
        let first = repository.file(&commit, &name).unwrap();
        assert_eq!(repository.remove(&[first]).unwrap(), 0);
        assert!(repository.blob_path(&etag).exists());
        let second = repository.file(&other, &name).unwrap();
        assert_eq!(repository.remove(&[second]).unwrap(), 4);
        assert!(!repository.folder().exists());
    }

    #[test]
    fn the_lock_excludes_a_second_writer() {
        let (_folder, repository, _, _, etag) = setup();
        let held = repository.lock(&etag, false).unwrap();
        assert!(matches!(repository.lock(&etag, false), Err(HubCacheError::Locked { .. })));
        drop(held);
        repository.lock(&etag, true).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn links_out_of_the_repository_are_not_followed() {
        let (folder, repository, commit, name, _) = setup();
        let outside = folder.path().join("secret.gguf");
        fs_err::write(&outside, "x").unwrap();
        let path = repository.snapshot_path(&commit, &name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        create_link(&outside, &path).unwrap();
        assert_eq!(repository.files(&commit), []);
    }
}
