//! The file system and the disk under a folder.
#![expect(unsafe_code, reason = "the system answers through C functions only")]

use std::io;
use std::os::windows::ffi::OsStrExt as _;
use std::path::Path;

use windows_sys::Win32::Foundation::{CloseHandle, INVALID_HANDLE_VALUE};
use windows_sys::Win32::Storage::FileSystem::{
    CreateFileW, FILE_SHARE_READ, FILE_SHARE_WRITE, GetDriveTypeW, GetVolumeInformationW, GetVolumePathNameW,
    OPEN_EXISTING,
};
use windows_sys::Win32::System::IO::DeviceIoControl;
use windows_sys::Win32::System::Ioctl::{
    DEVICE_SEEK_PENALTY_DESCRIPTOR, IOCTL_STORAGE_QUERY_PROPERTY, PropertyStandardQuery, STORAGE_PROPERTY_QUERY,
    StorageDeviceSeekPenaltyProperty,
};

use crate::host::facts::{DriveKind, Fact, Origin};

/// Longer volume names are device paths that nobody types.
const LIMIT: usize = 1024;
/// Source: <https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-getdrivetypew>, checked 2026-11-23.
const REMOVABLE: u32 = 2;
const FIXED: u32 = 3;
const REMOTE: u32 = 4;
const OPTICAL: u32 = 5;
const RAM_DISK: u32 = 6;

/// `ntfs`, `fat32`, `exfat`, `refs`
pub(super) fn filesystem(path: &Path) -> Fact<String> {
    fact(volume(path).and_then(|volume| name(&volume)).map(|name| name.to_ascii_lowercase()))
}

/// How the disk is attached.
pub(super) fn drive(path: &Path) -> Fact<DriveKind> {
    let volume = match volume(path) {
        Ok(volume) => volume,
        Err(error) => return Fact::unknown(error.to_string()),
    };
    // SAFETY: the name ends with a zero.
    let kind = match unsafe { GetDriveTypeW(volume.as_ptr()) } {
        REMOVABLE => DriveKind::Removable,
        FIXED => DriveKind::Fixed,
        REMOTE => DriveKind::Network,
        OPTICAL => DriveKind::Optical,
        RAM_DISK => DriveKind::Memory,
        other => return Fact::unknown(format!("Windows calls it drive type {other}")),
    };
    Fact::known(kind, Origin::OperatingSystem)
}

/// Whether it takes time to move from place to place on it. The disk is opened without any right, which everyone may.
pub(super) fn rotational(path: &Path) -> Fact<bool> {
    fact(volume(path).and_then(|volume| seeks(&volume)))
}

fn fact<T>(answer: io::Result<T>) -> Fact<T> {
    answer.map_or_else(|error| Fact::unknown(error.to_string()), |value| Fact::known(value, Origin::OperatingSystem))
}

/// `C:\`, `\\server\share\`: the root of the volume, with a zero at the end.
fn volume(path: &Path) -> io::Result<Vec<u16>> {
    let path: Vec<u16> = std::path::absolute(path)?.as_os_str().encode_wide().chain([0]).collect();
    let mut volume = vec![0_u16; LIMIT];
    // SAFETY: the path ends with a zero; `volume` holds the units that are announced.
    let ok = unsafe { GetVolumePathNameW(path.as_ptr(), volume.as_mut_ptr(), LIMIT as u32) };
    if ok == 0 {
        return Err(io::Error::last_os_error());
    }
    let end = volume.iter().position(|&unit| unit == 0).unwrap_or(LIMIT - 1);
    volume.truncate(end + 1);
    Ok(volume)
}

fn name(volume: &[u16]) -> io::Result<String> {
    let mut name = [0_u16; LIMIT];
    // SAFETY: the volume's name ends with a zero; `name` holds the units that are announced; what is not wanted may
    // be null.
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

fn seeks(volume: &[u16]) -> io::Result<bool> {
    // `C:\` is the file system, `\\.\C:` the disk below it. A share has none.
    let letter = volume.first().filter(|_| volume.get(1) == Some(&u16::from(b':'))).copied();
    let letter = letter.ok_or_else(|| io::Error::new(io::ErrorKind::Unsupported, "not a disk of this machine"))?;
    let device: Vec<u16> = r"\\.\".encode_utf16().chain([letter, u16::from(b':'), 0]).collect();
    let share = FILE_SHARE_READ | FILE_SHARE_WRITE;
    // SAFETY: the name ends with a zero; no right is asked for; what is not wanted may be null.
    let disk =
        unsafe { CreateFileW(device.as_ptr(), 0, share, std::ptr::null(), OPEN_EXISTING, 0, std::ptr::null_mut()) };
    if disk == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    let question = STORAGE_PROPERTY_QUERY {
        PropertyId: StorageDeviceSeekPenaltyProperty,
        QueryType: PropertyStandardQuery,
        AdditionalParameters: [0],
    };
    let mut answer = DEVICE_SEEK_PENALTY_DESCRIPTOR::default();
    let mut written = 0_u32;
    // SAFETY: both structures have the lengths that are told and outlive the call; `disk` is open and closed once.
    let ok = unsafe {
        let ok = DeviceIoControl(
            disk,
            IOCTL_STORAGE_QUERY_PROPERTY,
            (&raw const question).cast(),
            size_of::<STORAGE_PROPERTY_QUERY>() as u32,
            (&raw mut answer).cast(),
            size_of::<DEVICE_SEEK_PENALTY_DESCRIPTOR>() as u32,
            &raw mut written,
            std::ptr::null_mut(),
        );
        CloseHandle(disk);
        ok
    };
    if ok == 0 { Err(io::Error::last_os_error()) } else { Ok(answer.IncursSeekPenalty) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_disk_has_a_name_and_a_kind() {
        let folder = Path::new(r"C:\no\such\folder");
        assert!(!filesystem(folder).value().unwrap().is_empty());
        assert!(drive(folder).value().is_some(), "{:?}", drive(folder));
        // Wine and virtual disks may not say whether they seek; a share never does.
        let turns = rotational(folder);
        assert!(turns.value().is_some() || turns.why_unknown().is_some());
        assert!(rotational(Path::new(r"\\no-such-host\share\folder")).value().is_none());
    }
}
