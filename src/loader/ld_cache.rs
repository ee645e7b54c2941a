//! `/etc/ld.so.cache`: where `ldconfig` last saw each library.

use thiserror::Error;

use crate::binary::Machine;

const OLD_MAGIC: &[u8] = b"ld.so-1.7.0";
const NEW_MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
const NEW_HEADER_BYTES: usize = 48;
const OLD_HEADER_BYTES: usize = 16;
const NEW_ENTRY_BYTES: usize = 24;
const OLD_ENTRY_BYTES: usize = 12;

#[derive(Debug, Error, PartialEq, Eq)]
#[error("the loader's cache is damaged: {0}")]
pub struct LdCacheError(&'static str);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub name: String,
    pub path: String,
    /// The processor it is for; 32-bit twins say so here.
    pub machine: Machine,
}

impl Entry {
    /// The x86-64 level that the CPU must have for it: 2 for `glibc-hwcaps/x86-64-v2`.
    pub fn hardware_level(&self) -> Option<u32> {
        self.path.split_once("/glibc-hwcaps/x86-64-v")?.1.split('/').next()?.parse().ok()
    }
}

/// Reads the cache, in any of the three layouts that glibc ever wrote.
pub fn read(bytes: &[u8]) -> Result<Vec<Entry>, LdCacheError> {
    if bytes.starts_with(NEW_MAGIC) {
        return read_new(bytes);
    }
    if !bytes.starts_with(OLD_MAGIC) {
        return Err(LdCacheError("it has no known beginning"));
    }
    let count = u32_at(bytes, 12).ok_or(LdCacheError("its header is cut off"))? as usize;
    let entries_end = count
        .checked_mul(OLD_ENTRY_BYTES)
        .and_then(|size| size.checked_add(OLD_HEADER_BYTES))
        .filter(|end| *end <= bytes.len())
        .ok_or(LdCacheError("it has fewer entries than it says"))?;
    // From glibc 2.2 on the new layout follows the old one, aligned.
    let embedded = entries_end.next_multiple_of(8);
    if bytes.get(embedded..).is_some_and(|rest| rest.starts_with(NEW_MAGIC)) {
        return read_new(&bytes[embedded..]);
    }
    read_entries(&bytes[OLD_HEADER_BYTES..entries_end], OLD_ENTRY_BYTES, &bytes[entries_end..])
}

fn read_new(bytes: &[u8]) -> Result<Vec<Entry>, LdCacheError> {
    let count = u32_at(bytes, 20).ok_or(LdCacheError("its header is cut off"))? as usize;
    let end = count
        .checked_mul(NEW_ENTRY_BYTES)
        .and_then(|size| size.checked_add(NEW_HEADER_BYTES))
        .filter(|end| *end <= bytes.len())
        .ok_or(LdCacheError("it has fewer entries than it says"))?;
    // Offsets count from the beginning of this layout.
    read_entries(&bytes[NEW_HEADER_BYTES..end], NEW_ENTRY_BYTES, bytes)
}

/// Each entry begins {i32 flags, u32 offset of the name, u32 offset of the path}.
fn read_entries(table: &[u8], entry_bytes: usize, strings: &[u8]) -> Result<Vec<Entry>, LdCacheError> {
    table
        .chunks_exact(entry_bytes)
        .map(|entry| {
            let field = |at| u32_at(entry, at).ok_or(LdCacheError("an entry is cut off"));
            Ok(Entry { name: text(strings, field(4)?)?, path: text(strings, field(8)?)?, machine: machine(field(0)?) })
        })
        .collect()
}

/// The second byte of the flags (glibc, `sysdeps/generic/ldconfig.h`).
const fn machine(flags: u32) -> Machine {
    match flags >> 8 & 0xff {
        0x00 => Machine::X86,
        0x03 => Machine::X86_64,
        0x0a => Machine::Aarch64,
        _ => Machine::Other,
    }
}

fn text(strings: &[u8], at: u32) -> Result<String, LdCacheError> {
    let rest = strings.get(at as usize..).ok_or(LdCacheError("a name lies outside it"))?;
    let length = rest.iter().position(|byte| *byte == 0).ok_or(LdCacheError("a name has no end"))?;
    Ok(String::from_utf8_lossy(&rest[..length]).into_owned())
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(entries: &[(u32, &str, &str)]) -> Vec<u8> {
        let mut bytes = NEW_MAGIC.to_vec();
        bytes.extend((entries.len() as u32).to_le_bytes());
        bytes.resize(NEW_HEADER_BYTES, 0);
        let mut strings = Vec::new();
        let start = NEW_HEADER_BYTES + entries.len() * NEW_ENTRY_BYTES;
        for (flags, name, path) in entries {
            bytes.extend(flags.to_le_bytes());
            for text in [name, path] {
                bytes.extend(((start + strings.len()) as u32).to_le_bytes());
                strings.extend(text.bytes().chain([0]));
            }
            bytes.extend([0; 12]);
        }
        bytes.extend(strings);
        bytes
    }

    #[test]
    fn both_layouts_read_alike() {
        let new = cache(&[
            (0x303, "libcuda.so.1", "/usr/lib/wsl/lib/libcuda.so.1"),
            (3, "libcuda.so.1", "/usr/lib32/libcuda.so.1"),
            (0x303, "libx.so.1", "/usr/lib/glibc-hwcaps/x86-64-v3/libx.so.1"),
        ]);
        let entries = read(&new).unwrap();
        assert_eq!(entries[0].path, "/usr/lib/wsl/lib/libcuda.so.1");
        assert_eq!((entries[0].machine, entries[1].machine), (Machine::X86_64, Machine::X86));
        assert_eq!((entries[0].hardware_level(), entries[2].hardware_level()), (None, Some(3)));
        let mut old = OLD_MAGIC.to_vec();
        old.resize(OLD_HEADER_BYTES, 0);
        old.extend(new);
        assert_eq!(read(&old).unwrap(), entries);
    }

    #[test]
    fn damage_is_an_error() {
        let whole = cache(&[(0x303, "libcuda.so.1", "/usr/lib/libcuda.so.1")]);
        for cut in 0..whole.len() {
            assert!(read(&whole[..cut]).is_err(), "cut at {cut}");
        }
        let mut liar = whole;
        liar[20..24].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(read(&liar).is_err());
    }
}
