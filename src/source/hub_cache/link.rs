//! How a snapshot's file comes to show a blob.

use std::io;
use std::path::{Path, PathBuf};

/// Makes `path` a link to `blobs/ETAG`, which lies `up` above it. False where this system or disk makes no links.
pub(super) fn place(path: &Path, up: &str, etag: &str) -> bool {
    let target: PathBuf = up.split('/').filter(|part| !part.is_empty()).chain(["blobs", etag]).collect();
    if fs_err::read_link(path).is_ok_and(|current| current == target) {
        return true;
    }
    // A link cannot replace a file: make it beside, then move it over, so that a reader never finds nothing.
    let beside = beside(path);
    let _ = fs_err::remove_file(&beside);
    // Wine makes links and then cannot rename them.
    let is_placed = create(&target, &beside).is_ok() && fs_err::rename(&beside, path).is_ok();
    if !is_placed {
        let _ = fs_err::remove_file(&beside);
    }
    is_placed
}

/// The same bytes at `path`: at no cost where the disk can give a file two names, else a copy. Whoever looks finds all or
/// nothing.
pub(super) fn copy(from: &Path, path: &Path) -> io::Result<()> {
    let beside = beside(path);
    let _ = fs_err::remove_file(&beside);
    if fs_err::hard_link(from, &beside).is_err() {
        fs_err::copy(from, &beside)?;
    }
    crate::host::replace::rename(&beside, path)
}

fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}.link", std::process::id()))
}

#[cfg(unix)]
fn create(target: &Path, link: &Path) -> io::Result<()> {
    fs_err::os::unix::fs::symlink(target, link)
}

/// Needs developer mode or an administrator; without, the caller moves the file.
#[cfg(windows)]
fn create(target: &Path, link: &Path) -> io::Result<()> {
    fs_err::os::windows::fs::symlink_file(target, link)
}
