//! The unfinished file on disk: `NAME.part`, its journal and its lock.

use std::io::{self, Read as _, Seek as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::host::replace;
use crate::net::Error;
use crate::net::digest::Sha256Digest;
use crate::units::Bytes;

fn beside(destination: &Path, suffix: &str) -> PathBuf {
    let mut name = destination.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

pub(super) fn part_path(destination: &Path) -> PathBuf {
    beside(destination, ".part")
}

pub(super) fn journal_path(destination: &Path) -> PathBuf {
    beside(destination, ".part.journal")
}

/// Forgets what has arrived.
pub(super) fn remove(destination: &Path) -> io::Result<()> {
    for path in [journal_path(destination), part_path(destination)] {
        match replace::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Gives a whole part its name.
pub(super) fn settle(destination: &Path) -> io::Result<()> {
    replace::rename(&part_path(destination), destination)?;
    match replace::remove_file(&journal_path(destination)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A file that several threads write at once, each at its own place.
#[derive(Debug)]
pub(super) struct Part {
    file: fs_err::File,
}

impl Part {
    /// With a size, what is there is kept and the file gets that size; without one, it is emptied.
    pub(super) fn open(destination: &Path, size: Option<u64>) -> io::Result<Self> {
        let file = fs_err::OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(size.is_none())
            .open(part_path(destination))?;
        if let Some(size) = size {
            file.set_len(size)?;
        }
        Ok(Self { file })
    }

    #[cfg(unix)]
    pub(super) fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(self.file.file(), bytes, offset)
    }

    #[cfg(windows)]
    pub(super) fn write_all_at(&self, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = std::os::windows::fs::FileExt::seek_write(self.file.file(), bytes, offset)?;
            bytes = &bytes[written..];
            offset += written as u64;
        }
        Ok(())
    }

    pub(super) fn flush(&self) -> io::Result<()> {
        self.file.sync_all()
    }
}

/// Reads the part from its start to `size` and never past what `front(position)` says has arrived; none when it says none.
pub(super) fn hash_file(
    destination: &Path,
    size: u64,
    front: impl Fn(u64) -> Option<u64>,
) -> io::Result<Option<Sha256Digest>> {
    let mut file = fs_err::File::open(part_path(destination))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    let mut position = 0;
    while position < size {
        let Some(end) = front(position) else { return Ok(None) };
        while position < end {
            let room = buffer.len().min((end - position) as usize);
            file.read_exact(&mut buffer[..room])?;
            hasher.update(&buffer[..room]);
            position += room as u64;
        }
        debug_assert_eq!(file.stream_position()?, position);
    }
    Ok(Some(Sha256Digest(hasher.finalize().into())))
}

/// Keeps a second process away from the part. The kernel drops it when its holder dies.
#[derive(Debug)]
pub(super) struct Lock {
    path: PathBuf,
    _file: fs_err::File,
}

impl Lock {
    pub(super) fn take(destination: &Path) -> Result<Self, Error> {
        let path = beside(destination, ".part.lock");
        let file = fs_err::OpenOptions::new().create(true).write(true).truncate(false).open(&path)?;
        match file.file().try_lock() {
            Ok(()) => Ok(Self { path, _file: file }),
            Err(std::fs::TryLockError::WouldBlock) => Err(Error::Busy { path: destination.to_owned() }),
            Err(std::fs::TryLockError::Error(error)) => Err(error.into()),
        }
    }

    pub(super) fn release(self) {
        // A leftover lock file harms nobody: what counts is the lock, which ends with the handle.
        let _ = fs_err::remove_file(&self.path);
    }
}

pub(super) fn check_space(destination: &Path, missing: u64, margin: u64) -> Result<(), Error> {
    let free = crate::host::disk::free(destination)?;
    if free.0 < missing.saturating_add(margin) {
        return Err(Error::NoSpace { path: destination.to_owned(), needed: Bytes(missing), free });
    }
    Ok(())
}

/// Windows without long paths: <https://learn.microsoft.com/windows/win32/fileio/maximum-file-path-limitation>; Linux: limits.h.
const LONGEST_PATH: usize = if cfg!(windows) { 259 } else { 4095 };
const LONGEST_NAME: usize = 255;

/// A path that is too long fails here, before anything was downloaded.
pub(super) fn check_length(destination: &Path) -> Result<(), Error> {
    let longest = std::path::absolute(beside(destination, ".part.journal.new"))?;
    let length =
        |text: &std::ffi::OsStr| if cfg!(windows) { text.to_string_lossy().encode_utf16().count() } else { text.len() };
    let too_long = |length, limit| Err(Error::PathTooLong { path: destination.to_owned(), length, limit });
    if length(longest.as_os_str()) > LONGEST_PATH {
        return too_long(length(longest.as_os_str()), LONGEST_PATH);
    }
    match longest.file_name().map(length) {
        Some(name) if name > LONGEST_NAME => too_long(name, LONGEST_NAME),
        _ => Ok(()),
    }
}
