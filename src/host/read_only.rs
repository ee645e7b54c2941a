//! The mark "read-only" of a file. On Windows it forbids to replace or remove the file; elsewhere the folder decides.

use std::path::Path;

/// Takes the mark off, of a folder also from everything in it. True where one stood there.
#[cfg(windows)]
pub(super) fn take_off(path: &Path) -> bool {
    // Of a link itself: what it leads to belongs to others.
    let Ok(metadata) = fs_err::symlink_metadata(path) else { return false };
    let mut permissions = metadata.permissions();
    let mut stood_there = false;
    if permissions.readonly() {
        permissions.set_readonly(false);
        // Where that is refused, so is what comes next, and it names the file.
        stood_there = fs_err::set_permissions(path, permissions).is_ok();
    }
    if metadata.is_dir()
        && let Ok(entries) = fs_err::read_dir(path)
    {
        for entry in entries.flatten() {
            stood_there |= take_off(&entry.path());
        }
    }
    stood_there
}

#[cfg(not(windows))]
pub(super) fn take_off(_: &Path) -> bool {
    false
}
