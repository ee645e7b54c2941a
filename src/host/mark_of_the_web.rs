//! The Mark of the Web: a second stream, `FILE:Zone.Identifier`, in which Windows notes that a file was downloaded.

use std::path::{Path, PathBuf};

use crate::host::facts::Fact;

/// The zone of the internet; from it on Windows warns before a start.
/// Source: <https://learn.microsoft.com/previous-versions/troubleshoot/browsers/security-privacy/ie-security-zones-registry-entries>, checked 2026-11-23.
#[cfg(any(windows, test))]
const INTERNET: u32 = 3;

/// The programs and libraries directly in `folders` that carry the mark.
#[cfg(windows)]
pub fn marked_files(folders: &[PathBuf]) -> Fact<Vec<PathBuf>> {
    let mut marked = Vec::new();
    for folder in folders {
        let entries = match fs_err::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => return Fact::unknown(error.to_string()),
        };
        marked.extend(entries.flatten().map(|entry| entry.path()).filter(|path| is_code(path) && is_marked(path)));
    }
    Fact::known(marked, crate::host::facts::Origin::File)
}

/// Other systems have no such streams.
#[cfg(not(windows))]
pub fn marked_files(_folders: &[PathBuf]) -> Fact<Vec<PathBuf>> {
    Fact::unknown("only Windows marks files")
}

/// Where the mark of a file stands.
pub fn stream(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(":Zone.Identifier");
    name.into()
}

#[cfg(windows)]
fn is_code(path: &Path) -> bool {
    path.extension()
        .is_some_and(|ending| ["dll", "exe", "node", "pyd"].iter().any(|code| ending.eq_ignore_ascii_case(code)))
}

#[cfg(windows)]
fn is_marked(path: &Path) -> bool {
    fs_err::read_to_string(stream(path)).is_ok_and(|text| zone(&text).is_some_and(|zone| zone >= INTERNET))
}

/// The number behind `ZoneId=`.
#[cfg(any(windows, test))]
fn zone(text: &str) -> Option<u32> {
    text.lines().find_map(|line| line.trim().strip_prefix("ZoneId=")).and_then(|number| number.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_zone_is_read_from_what_browsers_write() {
        let browser =
            "[ZoneTransfer]\r\nZoneId=3\r\nReferrerUrl=https://example.org/\r\nHostUrl=https://example.org/a.zip\r\n";
        assert_eq!(zone(browser), Some(INTERNET));
        assert_eq!(zone("[ZoneTransfer]\nZoneId=1"), Some(1));
        assert_eq!(zone("[ZoneTransfer]\nZoneId=x"), None);
        assert_eq!(zone(""), None);
    }
}
