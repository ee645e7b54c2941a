//! API sets: names such as `api-ms-win-crt-runtime-l1-1-0.dll` that are no files; `apisetschema.dll` of Windows says
//! which library stands for each.
//!
//! Layout of version 6, the one since Windows 10: <https://www.geoffchappell.com/studies/windows/win32/apisetschema/index.htm>,
//! checked 2026-11-24 on the schema of wine 8.

use std::collections::BTreeMap;

/// A namespace of Windows 11 has about a thousand.
const MOST_SETS: u32 = 16_384;
const VERSION: u32 = 6;

/// Whether the name is of an API set.
pub(super) fn is_api_set(lower: &str) -> bool {
    lower.starts_with("api-ms-") || lower.starts_with("ext-ms-")
}

/// The schema of one Windows.
#[derive(Debug, Default)]
pub struct ApiSets {
    /// Names without their last number, because Windows serves every revision by its newest; the host may be empty.
    hosts: BTreeMap<String, String>,
}

impl ApiSets {
    /// Reads the section `.apiset` of `apisetschema.dll`. None: it is of a layout that we do not know, or damaged.
    pub fn read(section: &[u8]) -> Option<Self> {
        let number = |at: usize| Some(u32::from_le_bytes(section.get(at..at.checked_add(4)?)?.try_into().ok()?));
        // {u32 version, size, flags, count, offset of entries, …}
        let (version, count, entries) = (number(0)?, number(12)?, number(16)? as usize);
        if version != VERSION || count > MOST_SETS {
            return None;
        }
        let text = |at: u32, bytes: u32| {
            let units = section.get(at as usize..(at as usize).checked_add(bytes as usize)?)?;
            let units: Vec<u16> = units.chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]])).collect();
            Some(String::from_utf16_lossy(&units).to_ascii_lowercase())
        };
        let mut hosts = BTreeMap::new();
        for index in 0..count as usize {
            // {u32 flags, offset and bytes of the name, bytes that are hashed, offset and count of the values}
            let entry = entries.checked_add(index * 24)?;
            let name = text(number(entry + 4)?, number(entry + 8)?)?;
            let (values, values_count) = (number(entry + 16)? as usize, number(entry + 20)?);
            // {u32 flags, offset and bytes of the importer's name, offset and bytes of the host}; the first is for all importers.
            let host = if values_count == 0 {
                String::new()
            } else {
                text(number(values.checked_add(12)?)?, number(values.checked_add(16)?)?)?
            };
            hosts.insert(without_revision(&name).to_owned(), host);
        }
        Some(Self { hosts })
    }

    /// The library that stands for `name` (lower case, with or without `.dll`). None: this Windows does not know the set.
    pub fn host(&self, name: &str) -> Option<&str> {
        let name = name.strip_suffix(".dll").unwrap_or(name);
        self.hosts.get(without_revision(name)).map(String::as_str).filter(|host| !host.is_empty())
    }
}

/// `api-ms-win-crt-runtime-l1-1-0` → `api-ms-win-crt-runtime-l1-1`
fn without_revision(name: &str) -> &str {
    name.rsplit_once('-').map_or(name, |(before, _)| before)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A schema of these sets.
    pub(in crate::loader::windows) fn schema(sets: &[(&str, &str)]) -> Vec<u8> {
        let entries = 28;
        let values = entries + sets.len() * 24;
        let mut head: Vec<u32> = vec![VERSION, 0, 0, sets.len() as u32, entries as u32, 0, 31];
        let (mut tail, mut texts) = (Vec::<u32>::new(), Vec::new());
        let texts_at = values + sets.len() * 20;
        let mut add = |text: &str| {
            let at = (texts_at + texts.len()) as u32;
            texts.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
            (at, text.len() as u32 * 2)
        };
        for (index, (name, host)) in sets.iter().enumerate() {
            let (name, host) = (add(name), add(host));
            head.extend([0, name.0, name.1, name.1 - 4, (values + index * 20) as u32, 1]);
            tail.extend([0, 0, 0, host.0, host.1]);
        }
        let numbers = head.into_iter().chain(tail).flat_map(u32::to_le_bytes);
        numbers.chain(texts).collect()
    }

    #[test]
    fn hosts_are_found_whatever_the_revision() {
        let sets =
            ApiSets::read(&schema(&[("api-ms-win-crt-runtime-l1-1-0", "ucrtbase.dll"), ("ext-ms-gone-l1-1-0", "")]));
        let sets = sets.unwrap();
        assert_eq!(sets.host("api-ms-win-crt-runtime-l1-1-0.dll"), Some("ucrtbase.dll"));
        assert_eq!(sets.host("api-ms-win-crt-runtime-l1-1-7"), Some("ucrtbase.dll"));
        assert_eq!(sets.host("ext-ms-gone-l1-1-0.dll"), None);
        assert_eq!(sets.host("api-ms-win-new-l1-1-0.dll"), None);
    }

    #[test]
    fn damage_is_no_schema() {
        let whole = schema(&[("api-ms-win-crt-runtime-l1-1-0", "ucrtbase.dll")]);
        for cut in 0..whole.len() {
            assert!(ApiSets::read(&whole[..cut]).is_none(), "cut at {cut}");
        }
        let mut liar = whole;
        liar[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(ApiSets::read(&liar).is_none());
    }
}
