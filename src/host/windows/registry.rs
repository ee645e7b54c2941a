//! Typed reads of the registry's local-machine hive.
#![expect(unsafe_code, reason = "the registry answers through C functions only")]

use std::io;
use std::ptr;

use windows_sys::Win32::Foundation::{ERROR_MORE_DATA, ERROR_NO_MORE_ITEMS, ERROR_SUCCESS, WIN32_ERROR};
use windows_sys::Win32::System::Registry::{
    HKEY, HKEY_LOCAL_MACHINE, KEY_READ, RRF_RT_REG_DWORD, RRF_RT_REG_SZ, RegCloseKey, RegEnumKeyExW, RegEnumValueW,
    RegGetValueW, RegOpenKeyExW,
};

/// The longest name of a key, in UTF-16 units without the closing zero.
/// Source: <https://learn.microsoft.com/windows/win32/sysinfo/registry-element-size-limits>, checked 2026-11-23.
const KEY_NAME_LIMIT: usize = 255;
/// The longest name of a value is 16,383 units; those that we list are names of DLLs.
const VALUE_NAME_LIMIT: usize = 1023;

/// A text value (`REG_SZ`).
pub(super) fn text(key: &str, value: &str) -> io::Result<String> {
    let (key, value) = (wide(key), wide(value));
    let mut buffer = vec![0_u16; 256];
    loop {
        let mut size_bytes = (buffer.len() * 2) as u32;
        // SAFETY: both names end with a zero; `buffer` holds `size_bytes` bytes; the other pointers may be null.
        let code = unsafe {
            RegGetValueW(
                HKEY_LOCAL_MACHINE,
                key.as_ptr(),
                value.as_ptr(),
                RRF_RT_REG_SZ,
                ptr::null_mut(),
                buffer.as_mut_ptr().cast(),
                &raw mut size_bytes,
            )
        };
        match code {
            ERROR_SUCCESS => {
                buffer.truncate(size_bytes as usize / 2);
                return Ok(until_zero(&buffer));
            }
            ERROR_MORE_DATA => buffer.resize((size_bytes as usize).div_ceil(2).max(buffer.len() * 2), 0),
            _ => return Err(io::Error::from_raw_os_error(code as i32)),
        }
    }
}

/// A number (`REG_DWORD`).
pub(super) fn number(key: &str, value: &str) -> io::Result<u32> {
    let (key, value) = (wide(key), wide(value));
    let mut number = 0_u32;
    let mut size_bytes = size_of::<u32>() as u32;
    // SAFETY: both names end with a zero; `number` holds the four bytes that `size_bytes` announces.
    let code = unsafe {
        RegGetValueW(
            HKEY_LOCAL_MACHINE,
            key.as_ptr(),
            value.as_ptr(),
            RRF_RT_REG_DWORD,
            ptr::null_mut(),
            (&raw mut number).cast(),
            &raw mut size_bytes,
        )
    };
    if code == ERROR_SUCCESS { Ok(number) } else { Err(io::Error::from_raw_os_error(code as i32)) }
}

/// The names of the keys directly below `key`.
pub(super) fn subkeys(key: &str) -> io::Result<Vec<String>> {
    let key = Key::open(key)?;
    names(KEY_NAME_LIMIT, |index, name, length| {
        let (null, class, time) = (ptr::null(), ptr::null_mut(), ptr::null_mut());
        // SAFETY: the key is open; `name` holds `length` units; the other pointers may be null.
        unsafe { RegEnumKeyExW(key.0, index, name.as_mut_ptr(), length, null, class, ptr::null_mut(), time) }
    })
}

/// The names of the values of `key`.
pub(super) fn value_names(key: &str) -> io::Result<Vec<String>> {
    let key = Key::open(key)?;
    names(VALUE_NAME_LIMIT, |index, name, length| {
        let (null, kind, data) = (ptr::null(), ptr::null_mut(), ptr::null_mut());
        // SAFETY: the key is open; `name` holds `length` units; the other pointers may be null.
        unsafe { RegEnumValueW(key.0, index, name.as_mut_ptr(), length, null, kind, data, ptr::null_mut()) }
    })
}

/// What `name_at` writes for 0, 1, 2 and so on, until it says that there are no more. It is given room for `longest`
/// units and a zero, and the length of that room.
fn names(longest: usize, name_at: impl Fn(u32, &mut [u16], &mut u32) -> WIN32_ERROR) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    let mut name = vec![0_u16; longest + 1];
    loop {
        let mut length = name.len() as u32;
        match name_at(names.len() as u32, &mut name, &mut length) {
            ERROR_SUCCESS => names.push(until_zero(&name)),
            ERROR_NO_MORE_ITEMS => return Ok(names),
            code => return Err(io::Error::from_raw_os_error(code as i32)),
        }
    }
}

struct Key(HKEY);

impl Key {
    fn open(key: &str) -> io::Result<Self> {
        let key = wide(key);
        let mut handle = ptr::null_mut();
        // SAFETY: the name ends with a zero, and `handle` is written on success only.
        let code = unsafe { RegOpenKeyExW(HKEY_LOCAL_MACHINE, key.as_ptr(), 0, KEY_READ, &raw mut handle) };
        if code == ERROR_SUCCESS { Ok(Self(handle)) } else { Err(io::Error::from_raw_os_error(code as i32)) }
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        // SAFETY: opened by `open`, closed once. A failure leaves nothing to do.
        unsafe { RegCloseKey(self.0) };
    }
}

fn wide(text: &str) -> Vec<u16> {
    text.encode_utf16().chain([0]).collect()
}

fn until_zero(units: &[u16]) -> String {
    let end = units.iter().position(|&unit| unit == 0).unwrap_or(units.len());
    String::from_utf16_lossy(&units[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOWS: &str = r"SOFTWARE\Microsoft\Windows NT\CurrentVersion";

    #[test]
    fn values_that_every_windows_has() {
        assert!(!text(WINDOWS, "CurrentBuild").unwrap().is_empty());
        assert!(number(WINDOWS, "CurrentMajorVersionNumber").unwrap() >= 10);
        assert!(subkeys(r"SOFTWARE\Microsoft").unwrap().iter().any(|name| name == "Windows NT"));
        assert!(value_names(WINDOWS).unwrap().iter().any(|name| name == "CurrentBuild"));
    }

    #[test]
    fn absence_and_a_wrong_type_are_errors() {
        assert_eq!(text(WINDOWS, "No such value").unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(subkeys(r"SOFTWARE\No such key").unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(number(WINDOWS, "CurrentBuild").is_err());
    }
}
