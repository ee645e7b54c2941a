//! Where installed builds lie: side by side, each with its receipt, none visible before it is whole.
//!
//! ```text
//! HOME/builds/b11434-cuda-12.8/   one build
//! HOME/current                    the build in use: a link; on Windows a file with its name
//! HOME/bin/                       on Windows: a .cmd for each program of the build in use
//! HOME/activations                the builds that were put to use, one a line, the newest last
//! HOME/cache/                     archives and answers
//! ```

use std::io;
use std::path::{Path, PathBuf};

use super::InstallError;
use super::receipt::{FILE_NAME, Receipt};
use crate::host::replace;

/// The program that a build is there for.
pub const SERVER: &str = if cfg!(windows) { "llama-server.exe" } else { "llama-server" };

const STAGING: &str = ".staging-";
const TRASH: &str = ".trash-";

#[derive(Debug, Clone)]
pub struct Store {
    pub root: PathBuf,
}

/// One installed build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    pub path: PathBuf,
    pub receipt: Receipt,
}

impl Installed {
    /// Its llama-server.
    pub fn server(&self) -> Option<PathBuf> {
        let file = self.receipt.files.keys().find(|file| file.rsplit('/').next() == Some(SERVER));
        file.map(|file| self.path.join(file))
    }
}

/// Held while builds are changed. The system drops it when its holder dies.
#[derive(Debug)]
pub struct StoreLock {
    _file: fs_err::File,
}

/// Windows keeps the files of a program that runs: what cannot go now goes when the store is locked the next time.
fn remove_or_leave(folder: &Path) {
    if let Err(error) = replace::remove_folder(folder) {
        tracing::debug!(%error, "left for the next time");
    }
}

impl Store {
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub fn builds(&self) -> PathBuf {
        self.root.join("builds")
    }

    pub fn archives(&self) -> PathBuf {
        self.root.join("cache").join("archives")
    }

    pub fn answers(&self) -> PathBuf {
        self.root.join("cache").join("github")
    }

    /// Keeps a second process away, and clears what a killed one has left.
    pub fn lock(&self) -> Result<StoreLock, InstallError> {
        fs_err::create_dir_all(self.builds())?;
        let file = fs_err::OpenOptions::new().create(true).write(true).truncate(false).open(self.root.join("lock"))?;
        match file.file().try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => return Err(InstallError::Busy { root: self.root.clone() }),
            Err(std::fs::TryLockError::Error(error)) => return Err(error.into()),
        }
        let lock = StoreLock { _file: file };
        self.clear_leftovers(&lock)?;
        Ok(lock)
    }

    /// Removes what an install has begun and not ended.
    pub(super) fn clear_leftovers(&self, _: &StoreLock) -> Result<(), InstallError> {
        for entry in fs_err::read_dir(self.builds())? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(STAGING) || name.starts_with(TRASH) {
                remove_or_leave(&entry.path());
            }
        }
        Ok(())
    }

    /// A new empty folder beside the builds, on the same file system.
    pub fn staging(&self, id: &str) -> Result<PathBuf, InstallError> {
        let path = self.builds().join(format!("{STAGING}{id}"));
        if path.exists() {
            replace::remove_folder(&path)?;
        }
        fs_err::create_dir_all(&path)?;
        Ok(path)
    }

    /// Makes a staged build visible, in the place of an older one of the same name.
    pub fn commit(&self, staging: &Path, receipt: Receipt) -> Result<Installed, InstallError> {
        receipt.write(staging)?;
        let path = self.builds().join(&receipt.id);
        if path.exists() {
            self.discard(&path)?;
        }
        replace::rename(staging, &path)?;
        Ok(Installed { path, receipt })
    }

    /// Out of sight at once, then off the disk.
    pub(super) fn discard(&self, path: &Path) -> Result<(), InstallError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // Of its own name each time: an earlier one may still be held by a program that runs.
        let trash = (0u32..).map(|number| self.builds().join(format!("{TRASH}{name}-{number}")));
        let trash = trash.into_iter().find(|trash: &PathBuf| !trash.exists()).unwrap_or_else(|| path.to_owned());
        replace::rename(path, &trash)?;
        remove_or_leave(&trash);
        Ok(())
    }

    /// Every installed build, by name. Folders without a receipt are not ours and are left alone.
    pub fn list(&self) -> Result<Vec<Installed>, InstallError> {
        let entries = match fs_err::read_dir(self.builds()) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let mut builds = Vec::new();
        for entry in entries {
            let path = entry?.path();
            let is_hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
            if !is_hidden && path.join(FILE_NAME).is_file() {
                let receipt = Receipt::read(&path)?;
                builds.push(Installed { path, receipt });
            }
        }
        builds.sort_by(|one, other| one.receipt.id.cmp(&other.receipt.id));
        Ok(builds)
    }

    pub fn find(&self, id: &str) -> Result<Installed, InstallError> {
        let mut builds = self.list()?;
        match builds.iter().position(|build| build.receipt.id == id) {
            Some(index) => Ok(builds.swap_remove(index)),
            None => Err(InstallError::NoBuild {
                id: id.to_owned(),
                installed: builds.into_iter().map(|build| build.receipt.id).collect(),
            }),
        }
    }

    /// The `llama-server` of the build in use, under a name that outlives updates where the system has links.
    pub fn server(&self) -> Result<Option<PathBuf>, InstallError> {
        let Some(build) = self.current()? else { return Ok(None) };
        let path =
            if cfg!(windows) { build.path.join("llama-server.exe") } else { self.stable_path().join("llama-server") };
        Ok(path.is_file().then_some(path))
    }

    /// Takes a build off the disk. The one in use stays while there is another to use instead.
    pub fn remove(&self, id: &str, _: &StoreLock) -> Result<Installed, InstallError> {
        let build = self.find(id)?;
        if self.current_id()?.as_deref() == Some(id) {
            if self.list()?.len() > 1 {
                return Err(InstallError::InUse { id: id.to_owned() });
            }
            self.point_nowhere()?;
        }
        self.discard(&build.path)?;
        Ok(build)
    }
}
