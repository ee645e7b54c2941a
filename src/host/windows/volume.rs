//! The file system under a folder.
#![expect(unsafe_code, reason = "the system answers through C functions only")]

use std::io;
use std::os::windows::ffi::OsStrExt as _;
use std::path::Path;

use windows_sys::Win32::Storage::FileSystem::{GetVolumeInformationW, GetVolumePathNameW};

use crate::host::facts::{Fact, Origin};

/// Longer volume names are device paths that nobody types.
const LIMIT: usize = 1024;

/// `ntfs`, `fat32`, `exfat`, `refs`
pub(super) fn filesystem(path: &Path) -> Fact<String> {
    match name(path) {
        Ok(name) => Fact::known(name.to_ascii_lowercase(), Origin::OperatingSystem),
        Err(error) => Fact::unknown(error.to_string()),
    }
}

fn name(path: &Path) -> io::Result<String> {
    let path: Vec<u16> = std::path::absolute(path)?.as_os_str().encode_wide().chain([0]).collect();
    let mut volume = [0_u16; LIMIT];
    // SAFETY: the path ends with a zero; `volume` holds the units that are announced.
    let ok = unsafe { GetVolumePathNameW(path.as_ptr(), volume.as_mut_ptr(), LIMIT as u32) };
    if ok == 0 {
        return Err(io::Error::last_os_error());
    }
    let mut name = [0_u16; LIMIT];
    // SAFETY: the volume's name ends with a zero; `name` holds the units that are announced; what is not wanted may be null.
    let ok = unsafe {
        GetVolumeInformationW(
            volume.as_ptr(),
            std::ptr::null_mut(),
            0,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            name.as_mut_ptr(),
            LIMIT as u32,
        )
    };
    if ok == 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(String::from_utf16_lossy(name.split(|&unit| unit == 0).next().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_disk_has_a_name() {
        assert!(!filesystem(Path::new(r"C:\no\such\folder")).value().unwrap().is_empty());
    }
}
