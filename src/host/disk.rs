//! How much room a folder's disk has.

use std::io;
use std::path::Path;

use crate::units::Bytes;

/// The room that this user may still fill where `path` lies, or will lie: its nearest existing folder is asked.
pub fn free(path: &Path) -> io::Result<Bytes> {
    let absolute = std::path::absolute(path)?;
    let nearest = absolute.ancestors().find(|folder| folder.is_dir()).unwrap_or(&absolute);
    free_of_existing(nearest)
}

#[cfg(unix)]
fn free_of_existing(folder: &Path) -> io::Result<Bytes> {
    use std::os::unix::ffi::OsStrExt as _;
    let name = std::ffi::CString::new(folder.as_os_str().as_bytes())?;
    let mut answer = std::mem::MaybeUninit::<libc::statvfs>::zeroed();
    #[expect(unsafe_code, reason = "the C library's statvfs")]
    // SAFETY: `name` is a C string and `answer` has room for the structure; a zeroed one is valid.
    let answer = unsafe {
        if libc::statvfs(name.as_ptr(), answer.as_mut_ptr()) != 0 {
            return Err(io::Error::last_os_error());
        }
        answer.assume_init()
    };
    Ok(Bytes(answer.f_bavail.saturating_mul(answer.f_frsize)))
}

#[cfg(windows)]
fn free_of_existing(folder: &Path) -> io::Result<Bytes> {
    use std::os::windows::ffi::OsStrExt as _;
    let mut name: Vec<u16> = folder.as_os_str().encode_wide().collect();
    // A network share's name must end with a backslash.
    if name.last() != Some(&u16::from(b'\\')) {
        name.push(u16::from(b'\\'));
    }
    name.push(0);
    let mut free = 0u64;
    #[expect(unsafe_code, reason = "the system's GetDiskFreeSpaceExW")]
    // SAFETY: `name` ends with a zero, `free` outlives the call, and the two figures not wanted may be null.
    let done = unsafe {
        windows_sys::Win32::Storage::FileSystem::GetDiskFreeSpaceExW(
            name.as_ptr(),
            &raw mut free,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
        )
    };
    if done == 0 { Err(io::Error::last_os_error()) } else { Ok(Bytes(free)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_not_there_yet_has_its_disks_room() {
        let folder = tempfile::tempdir().unwrap();
        assert!(free(&folder.path().join("not/yet/there")).unwrap().0 > 0);
        // Windows takes folders only: a file that is about to be replaced has its folder's room.
        let file = folder.path().join("file");
        fs_err::write(&file, "").unwrap();
        assert!(free(&file).unwrap().0 > 0);
    }
}
