//! The version that a program or library carries in its resources.
#![expect(unsafe_code, reason = "the system answers through C functions only")]

use std::os::windows::ffi::OsStrExt as _;
use std::path::Path;

use windows_sys::Win32::Storage::FileSystem::{
    GetFileVersionInfoSizeW, GetFileVersionInfoW, VS_FIXEDFILEINFO, VerQueryValueW,
};

/// `14.42.34433.0`, or none where the file is missing or carries none.
pub(in crate::host) fn file_version(path: &Path) -> Option<String> {
    let path: Vec<u16> = path.as_os_str().encode_wide().chain([0]).collect();
    // SAFETY: the path ends with a zero; the second argument may be null.
    let size = unsafe { GetFileVersionInfoSizeW(path.as_ptr(), std::ptr::null_mut()) };
    if size == 0 {
        return None;
    }
    let mut block = vec![0_u8; size as usize];
    // SAFETY: `block` holds the bytes that are announced.
    let ok = unsafe { GetFileVersionInfoW(path.as_ptr(), 0, size, block.as_mut_ptr().cast()) };
    if ok == 0 {
        return None;
    }
    let root = [u16::from(b'\\'), 0];
    let (mut found, mut length) = (std::ptr::null_mut(), 0_u32);
    // SAFETY: `block` was filled above; on success `found` points into it.
    let ok = unsafe { VerQueryValueW(block.as_ptr().cast(), root.as_ptr(), &raw mut found, &raw mut length) };
    if ok == 0 || (length as usize) < size_of::<VS_FIXEDFILEINFO>() {
        return None;
    }
    // SAFETY: it has the structure's length, and `read_unaligned` asks for no alignment; `block` still lives.
    let version = unsafe { found.cast::<VS_FIXEDFILEINFO>().read_unaligned() };
    let (high, low) = (version.dwFileVersionMS, version.dwFileVersionLS);
    Some(format!("{}.{}.{}.{}", high >> 16, high & 0xffff, low >> 16, low & 0xffff))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_own_libraries_have_one() {
        let version = file_version(Path::new(r"C:\Windows\System32\kernel32.dll")).unwrap();
        assert_eq!(version.split('.').count(), 4, "{version}");
        assert_eq!(file_version(Path::new(r"C:\no\such.dll")), None);
    }
}
