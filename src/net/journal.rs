//! What of a file has arrived: a set of byte ranges in memory, and a log on disk that survives a kill at any byte.

use std::io::{self, Write as _};
use std::ops::Range;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::net::digest::Sha256Digest;

/// Disjoint ranges, sorted, never touching.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RangeSet(Vec<Range<u64>>);

impl RangeSet {
    pub fn insert(&mut self, added: Range<u64>) {
        if added.is_empty() {
            return;
        }
        let first = self.0.partition_point(|range| range.end < added.start);
        let last = self.0.partition_point(|range| range.start <= added.end);
        let start =
            self.0.get(first).filter(|_| first < last).map_or(added.start, |range| range.start.min(added.start));
        let end = if first < last { self.0[last - 1].end.max(added.end) } else { added.end };
        self.0.splice(first..last, std::iter::once(start..end));
    }

    /// How many bytes from the beginning are there without a gap.
    pub fn front(&self) -> u64 {
        self.0.first().filter(|range| range.start == 0).map_or(0, |range| range.end)
    }

    pub fn bytes(&self) -> u64 {
        self.0.iter().map(|range| range.end - range.start).sum()
    }

    /// What lies between 0 and `size` and is not in the set, in pieces that do not cross a multiple of `slice`.
    pub fn missing(&self, size: u64, slice: u64) -> Vec<Range<u64>> {
        let mut gaps = Vec::new();
        let mut at = 0;
        for range in self.0.iter().cloned().chain(std::iter::once(size..size)) {
            while at < range.start {
                let end = (at / slice + 1).saturating_mul(slice).min(range.start);
                gaps.push(at..end);
                at = end;
            }
            at = at.max(range.end);
        }
        gaps
    }
}

/// What a partial file is a part of. A part of something else is worth nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Without the query: a signature changes, the file does not.
    pub url: String,
    pub size: u64,
    pub etag: Option<String>,
    pub sha256: Option<Sha256Digest>,
}

/// The log: one line of JSON that says what is downloaded, then one line `START END` for each range that has arrived.
/// A last line that a kill has torn is not counted.
#[derive(Debug)]
pub struct Journal {
    file: fs_err::File,
    pub identity: Identity,
    pub arrived: RangeSet,
}

impl Journal {
    /// What an earlier run has left, if it can be read.
    pub fn read(path: &Path) -> io::Result<Option<(Identity, RangeSet)>> {
        let text = match fs_err::read(path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let Some((head, rest)) = text.split_once('\n') else { return Ok(None) };
        let Ok(identity) = serde_json::from_str::<Identity>(head) else { return Ok(None) };
        let mut arrived = RangeSet::default();
        let whole_lines = rest.rfind('\n').map_or("", |end| &rest[..end]);
        for line in whole_lines.lines() {
            let numbers = line.split_once(' ').and_then(|(start, end)| Some((start.parse().ok()?, end.parse().ok()?)));
            match numbers {
                Some((start, end)) if start < end && end <= identity.size => arrived.insert(start..end),
                _ => return Ok(None),
            }
        }
        Ok(Some((identity, arrived)))
    }

    /// Begins a log, with what has arrived before compacted into its first lines.
    pub fn create(path: &Path, identity: Identity, arrived: RangeSet) -> io::Result<Self> {
        let mut text = serde_json::to_string(&identity).map_err(io::Error::other)? + "\n";
        for range in &arrived.0 {
            text.push_str(&line(range));
        }
        let fresh = path.with_extension("journal.new");
        fs_err::write(&fresh, text)?;
        crate::host::replace::rename(&fresh, path)?;
        let file = fs_err::OpenOptions::new().append(true).open(path)?;
        Ok(Self { file, identity, arrived })
    }

    /// Call after the bytes are in the file, never before.
    pub fn record(&mut self, range: Range<u64>) -> io::Result<()> {
        // One write call: a kill tears at most the last line.
        self.file.write_all(line(&range).as_bytes())?;
        self.arrived.insert(range);
        Ok(())
    }
}

fn line(range: &Range<u64>) -> String {
    format!("{} {}\n", range.start, range.end)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_range_set_is_a_set_of_bytes(ranges in proptest::collection::vec((0u64..64, 0u64..12), 0..12), slice in 1u64..20) {
            let (mut set, mut bytes) = (RangeSet::default(), [false; 80]);
            for (start, length) in ranges {
                set.insert(start..start + length);
                bytes[start as usize..(start + length) as usize].fill(true);
            }
            prop_assert_eq!(set.bytes(), bytes.iter().filter(|there| **there).count() as u64);
            prop_assert_eq!(set.front(), bytes.iter().take_while(|there| **there).count() as u64);
            prop_assert!(set.0.windows(2).all(|pair| pair[0].end < pair[1].start));
            for gap in set.missing(80, slice) {
                prop_assert!(gap.start / slice == (gap.end - 1) / slice);
                bytes[gap.start as usize..gap.end as usize].fill(true);
            }
            prop_assert!(bytes.iter().all(|there| *there));
        }
    }

    #[test]
    fn a_torn_last_line_is_not_counted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.journal");
        let identity = Identity { url: "u".into(), size: 100, etag: None, sha256: None };
        let mut journal = Journal::create(&path, identity.clone(), RangeSet::default()).unwrap();
        journal.record(0..10).unwrap();
        journal.record(20..30).unwrap();
        let whole = fs_err::read(&path).unwrap();
        for length in 0..=whole.len() {
            fs_err::write(&path, &whole[..length]).unwrap();
            if let Some((read, arrived)) = Journal::read(&path).unwrap() {
                assert_eq!(read, identity);
                assert!([0, 10, 20].contains(&arrived.bytes()));
            }
        }
        assert_eq!(Journal::read(&path).unwrap().unwrap().1.bytes(), 20);
    }
}
