//! One repository of the cache: its commits, snapshots and blobs.

use std::io;
use std::path::{Path, PathBuf};

use fs_err::File;

use super::{HubCacheError, entries, link};
use crate::host::replace;
use crate::net::digest::Sha256Digest;
use crate::source::repository::{Commit, RepositoryId, RepositoryPath};

/// One `models--org--name`, which need not exist yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedRepository {
    pub id: RepositoryId,
    pub(super) folder: PathBuf,
    pub(super) locks: PathBuf,
    pub(super) links: bool,
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
    /// as the Python hub does it: a blob that was `just_written` moves there, any other is copied, since links of other
    /// snapshots may lead to it. Answers the path in the snapshot.
    pub fn publish(
        &self,
        commit: &Commit,
        name: &RepositoryPath,
        etag: &str,
        just_written: bool,
    ) -> Result<PathBuf, HubCacheError> {
        let path = self.snapshot_path(commit, name);
        let blob = self.blob_path(etag);
        if let Some(folder) = path.parent() {
            fs_err::create_dir_all(folder)?;
        }
        if self.links && link::place(&path, &"../".repeat(name.depth() + 2), etag) {
            return Ok(path);
        }
        if just_written {
            replace::rename(&blob, &path)?;
        } else {
            link::copy(&blob, &path)?;
        }
        Ok(path)
    }

    /// Puts the bytes of another snapshot's file into this one.
    pub fn share(&self, twin: &Path, commit: &Commit, name: &RepositoryPath) -> Result<PathBuf, HubCacheError> {
        let path = self.snapshot_path(commit, name);
        if let Some(folder) = path.parent() {
            fs_err::create_dir_all(folder)?;
        }
        link::copy(twin, &path)?;
        Ok(path)
    }

    /// A file of this name and length in another snapshot that holds it itself, without a blob.
    pub fn twin(&self, commit: &Commit, name: &RepositoryPath, bytes: u64) -> Option<PathBuf> {
        let others = self.snapshots().into_iter().filter(|other| other != commit);
        let mut files = others.filter_map(|other| self.file(&other, name));
        files.find(|file| file.blob.is_none() && file.bytes == bytes).map(|file| file.path)
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
        replace::persist(file, &path)?;
        Ok(())
    }

    /// Removes files from snapshots, and the blobs that no snapshot uses any more. Answers the bytes set free.
    pub fn remove(&self, files: &[CachedFile]) -> Result<u64, HubCacheError> {
        let mut freed = 0;
        for file in files {
            replace::remove_file(&file.path)?;
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
                replace::remove_file(blob)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
    const OTHER: &str = "89abcdef0123456789abcdef0123456789abcdef";

    fn setup() -> (tempfile::TempDir, CachedRepository, Commit, RepositoryPath, String) {
        let folder = tempfile::tempdir().unwrap();
        let repository = super::super::HubCache::at(folder.path()).repository(&"org/name".parse().unwrap());
        let etag = "ab".repeat(32);
        fs_err::create_dir_all(repository.folder().join("blobs")).unwrap();
        fs_err::write(repository.blob_path(&etag), "GGUF").unwrap();
        (folder, repository, COMMIT.parse().unwrap(), "sub/m.gguf".parse().unwrap(), etag)
    }

    // On Windows a link needs a right that a test cannot count on.
    #[cfg(unix)]
    #[test]
    fn a_published_file_is_a_relative_link_to_its_blob() {
        let (_folder, repository, commit, name, etag) = setup();
        let path = repository.publish(&commit, &name, &etag, true).unwrap();
        repository.write_reference("main", &commit).unwrap();
        assert_eq!(repository.publish(&commit, &name, &etag, true).unwrap(), path);
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
        let repository = CachedRepository { links: false, ..repository };
        let other: Commit = OTHER.parse().unwrap();
        // A blob that was there before may be what links of other snapshots lead to.
        let copied = repository.publish(&other, &name, &etag, false).unwrap();
        assert!(repository.blob_path(&etag).exists() && copied.is_file());
        let path = repository.publish(&commit, &name, &etag, true).unwrap();
        assert!(!repository.blob_path(&etag).exists());
        let file = repository.file(&commit, &name).unwrap();
        assert_eq!((&file.path, file.blob), (&path, None));
        assert_eq!(repository.twin(&other, &name, 4), Some(path));
        assert_eq!(repository.twin(&other, &name, 5), None);
    }

    #[cfg(unix)]
    #[test]
    fn a_blob_stays_while_another_snapshot_uses_it() {
        let (_folder, repository, commit, name, etag) = setup();
        let other: Commit = OTHER.parse().unwrap();
        repository.publish(&commit, &name, &etag, true).unwrap();
        repository.publish(&other, &name, &etag, false).unwrap();
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
        fs_err::os::unix::fs::symlink(&outside, &path).unwrap();
        assert_eq!(repository.files(&commit), []);
    }
}
