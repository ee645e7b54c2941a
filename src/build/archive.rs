//! Builds inside archives, read without unpacking to disk: a wheel, a `.zip`, a `.tar.gz`.
//!
//! A compressed stream cannot seek, so each library is streamed past and only the blocks that its reader asks for are
//! kept; what turns out to be missing is fetched by streaming again. Memory stays bounded whatever the archive holds.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use flate2::read::MultiGzDecoder;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::member::{Member, is_candidate, is_library_name};
use crate::binary::{self, BinaryError, Depth};
use crate::manifest::libraries::libraries;

const BLOCK_BYTES: u64 = 64 << 10;
/// What the first pass keeps of a large library: headers stand at the beginning, section tables at the end.
const HEAD_BYTES: u64 = 1 << 20;
const TAIL_BYTES: u64 = 16 << 20;
/// A library up to this size is kept whole.
const SMALL_BYTES: u64 = 24 << 20;
/// Added to every range that was missing, so that few passes are needed.
const READ_AHEAD_BYTES: u64 = 8 << 20;
const MOST_KEPT_BYTES: u64 = 160 << 20;
const MOST_PASSES: usize = 8;
/// Above any real archive of builds; a bomb ends here.
const MOST_UNPACKED_BYTES: u64 = 32 << 30;
const MOST_ENTRIES: u64 = 200_000;
const MOST_NOTE_BYTES: u64 = 256 << 10;

#[derive(Debug, Error)]
pub enum ArchiveError {
    #[error("{0}")]
    Unreadable(io::Error),
    #[error("`{path}` is damaged: {what}")]
    Damaged { path: PathBuf, what: String },
    #[error("`{path}` unpacks to more than any build: {what}")]
    Bomb { path: PathBuf, what: &'static str },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ArchiveFormat {
    Wheel,
    Zip,
    TarGz,
}

/// What an archive holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Archive {
    pub format: ArchiveFormat,
    pub files: u64,
    pub unpacked_bytes: u64,
    /// Name and version that the packager wrote into it.
    #[serde(default)]
    pub package: Option<String>,
    /// CUDA's own libraries in it.
    #[serde(default)]
    pub cuda_libraries: Vec<String>,
}

/// An archive and the libraries of llama.cpp in it, paths as in the archive.
#[derive(Debug)]
pub struct Contents {
    pub archive: Archive,
    pub members: Vec<Member>,
    pub problems: Vec<String>,
}

/// Whether the name is one of an archive that [`read`] can read.
pub fn format_of(path: &Path) -> Option<ArchiveFormat> {
    const SUFFIXES: [(&str, ArchiveFormat); 4] = [
        (".whl", ArchiveFormat::Wheel),
        (".zip", ArchiveFormat::Zip),
        (".tar.gz", ArchiveFormat::TarGz),
        (".tgz", ArchiveFormat::TarGz),
    ];
    let name = path.file_name()?.to_string_lossy().to_ascii_lowercase();
    SUFFIXES.iter().find(|(suffix, _)| name.ends_with(suffix)).map(|(_, format)| *format)
}

/// Reads the archive at `path`.
pub fn read(path: &Path, format: ArchiveFormat) -> Result<Contents, ArchiveError> {
    let mut state = State::new(path, format);
    for _ in 0..MOST_PASSES {
        state.begin_pass();
        match format {
            ArchiveFormat::TarGz => state.pass_over_tar()?,
            ArchiveFormat::Wheel | ArchiveFormat::Zip => state.pass_over_zip()?,
        }
        if state.open.is_empty() {
            break;
        }
    }
    Ok(state.finish())
}

struct State<'a> {
    path: &'a Path,
    contents: Contents,
    /// Libraries that need another pass, with the blocks that they are known to need.
    open: BTreeMap<u64, BTreeSet<u64>>,
    is_first: bool,
    unpacked: u64,
    entries: u64,
}

impl<'a> State<'a> {
    fn new(path: &'a Path, format: ArchiveFormat) -> Self {
        let archive = Archive { format, files: 0, unpacked_bytes: 0, package: None, cuda_libraries: Vec::new() };
        Self {
            path,
            contents: Contents { archive, members: Vec::new(), problems: Vec::new() },
            open: BTreeMap::new(),
            is_first: true,
            unpacked: 0,
            entries: 0,
        }
    }

    fn begin_pass(&mut self) {
        (self.unpacked, self.entries) = (0, 0);
    }

    fn pass_over_tar(&mut self) -> Result<(), ArchiveError> {
        let file = fs_err::File::open(self.path).map_err(ArchiveError::Unreadable)?;
        let mut archive = tar::Archive::new(MultiGzDecoder::new(io::BufReader::new(file)));
        let damaged =
            |path: &Path, error: &io::Error| ArchiveError::Damaged { path: path.to_owned(), what: error.to_string() };
        for (index, entry) in archive.entries().map_err(|error| damaged(self.path, &error))?.enumerate() {
            let entry = entry.map_err(|error| damaged(self.path, &error))?;
            let name = entry.path().map_err(|error| damaged(self.path, &error))?.to_string_lossy().into_owned();
            let size = entry.size();
            let is_file = entry.header().entry_type().is_file();
            self.count(size)?;
            if is_file {
                self.visit(index as u64, &name, size, entry)?;
            }
        }
        self.is_first = false;
        Ok(())
    }

    fn pass_over_zip(&mut self) -> Result<(), ArchiveError> {
        let file = fs_err::File::open(self.path).map_err(ArchiveError::Unreadable)?;
        let path = self.path;
        let damaged =
            |error: &zip::result::ZipError| ArchiveError::Damaged { path: path.to_owned(), what: error.to_string() };
        let mut archive = zip::ZipArchive::new(io::BufReader::new(file)).map_err(|error| damaged(&error))?;
        for index in 0..archive.len() {
            let entry = archive
                .by_index(index)
                .map_err(|error| ArchiveError::Damaged { path: self.path.to_owned(), what: error.to_string() })?;
            let name = entry.name().map_err(|error| damaged(&error))?.into_owned();
            let size = entry.size();
            self.count(size)?;
            if entry.is_file() {
                self.visit(index as u64, &name, size, entry)?;
            }
        }
        self.is_first = false;
        Ok(())
    }

    fn count(&mut self, size: u64) -> Result<(), ArchiveError> {
        self.entries += 1;
        self.unpacked = self.unpacked.saturating_add(size);
        let bomb = |what| ArchiveError::Bomb { path: self.path.to_owned(), what };
        if self.unpacked > MOST_UNPACKED_BYTES {
            return Err(bomb("its files are too large"));
        }
        if self.entries > MOST_ENTRIES {
            return Err(bomb("its files are too many"));
        }
        Ok(())
    }

    fn visit(&mut self, index: u64, name: &str, size: u64, stream: impl Read) -> Result<(), ArchiveError> {
        let file = name.rsplit('/').next().unwrap_or(name);
        if self.is_first {
            self.contents.archive.files += 1;
            self.contents.archive.unpacked_bytes += size;
            if libraries().role_of(file).is_some() && is_library_name(file) {
                self.contents.archive.cuda_libraries.push(file.to_owned());
            }
            if is_note(name) && self.contents.archive.package.is_none() {
                let mut text = String::new();
                // A note that is not text tells nothing.
                if stream.take(MOST_NOTE_BYTES).read_to_string(&mut text).is_ok() {
                    self.contents.archive.package = package(file, &text);
                }
                return Ok(());
            }
        }
        let wanted = match self.open.remove(&index) {
            Some(wanted) => wanted,
            None if self.is_first && is_candidate(file) => first_blocks(size),
            None => return Ok(()),
        };
        let window = Window::fill(stream, size, &wanted).map_err(|error| ArchiveError::Damaged {
            path: self.path.to_owned(),
            what: format!("`{name}`: {error}"),
        })?;
        let missing = Rc::clone(&window.missing);
        let answer = binary::read(window, Depth::Sampled);
        let missing = missing.take();
        if !missing.is_empty() && (wanted.len() + missing.len()) as u64 * BLOCK_BYTES <= MOST_KEPT_BYTES {
            self.open.insert(index, wanted.union(&missing).copied().collect());
            return Ok(());
        }
        match answer {
            Ok(image) => self.contents.members.push(Member { path: PathBuf::from(name), image }),
            Err(BinaryError::NotABinary) if !is_library_name(file) => {}
            Err(error) => self.contents.problems.push(format!("{name} is {error}")),
        }
        Ok(())
    }

    fn finish(mut self) -> Contents {
        if !self.open.is_empty() {
            self.contents.problems.push("some libraries are too scattered to be read inside the archive".to_owned());
        }
        self.contents.members.sort_by(|one, other| one.path.cmp(&other.path));
        self.contents
    }
}

/// Notes of packagers: npm's, and those of Python wheels.
fn is_note(name: &str) -> bool {
    name.ends_with("package/package.json") || name.ends_with(".dist-info/METADATA") || name.ends_with("PKG-INFO")
}

fn package(file: &str, text: &str) -> Option<String> {
    if file == "package.json" {
        let note: serde_json::Value = serde_json::from_str(text).ok()?;
        return Some(format!("{} {}", note.get("name")?.as_str()?, note.get("version")?.as_str()?));
    }
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    Some(format!("{} {}", field("Name:")?, field("Version:")?))
}

fn first_blocks(size: u64) -> BTreeSet<u64> {
    let last = size.div_ceil(BLOCK_BYTES);
    if size <= SMALL_BYTES {
        return (0..last).collect();
    }
    (0..HEAD_BYTES / BLOCK_BYTES).chain((size - TAIL_BYTES) / BLOCK_BYTES..last).collect()
}

/// The kept blocks of a file that was streamed past, readable as if it were whole. Reads elsewhere fail and are noted.
struct Window {
    size: u64,
    position: u64,
    blocks: BTreeMap<u64, Vec<u8>>,
    missing: Rc<RefCell<BTreeSet<u64>>>,
}

impl Window {
    fn fill(mut stream: impl Read, size: u64, wanted: &BTreeSet<u64>) -> io::Result<Self> {
        let mut blocks = BTreeMap::new();
        let mut at = 0;
        for block in wanted {
            let start = block * BLOCK_BYTES;
            let skipped = io::copy(&mut stream.by_ref().take(start - at), &mut io::sink())?;
            let mut bytes = Vec::new();
            stream.by_ref().take(BLOCK_BYTES).read_to_end(&mut bytes)?;
            let whole = BLOCK_BYTES.min(size - start);
            if skipped < start - at || (bytes.len() as u64) < whole {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            at = start + bytes.len() as u64;
            blocks.insert(*block, bytes);
        }
        Ok(Self { size, position: 0, blocks, missing: Rc::default() })
    }
}

impl Read for Window {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() || self.position >= self.size {
            return Ok(0);
        }
        let block = self.position / BLOCK_BYTES;
        let Some(bytes) = self.blocks.get(&block) else {
            let end = self.position.saturating_add(into.len() as u64).saturating_add(READ_AHEAD_BYTES).min(self.size);
            let missing = block..end.div_ceil(BLOCK_BYTES);
            self.missing.borrow_mut().extend(missing.filter(|block| !self.blocks.contains_key(block)));
            return Err(io::Error::other("this part of the file was not kept"));
        };
        let inside = (self.position % BLOCK_BYTES) as usize;
        let length = into.len().min(bytes.len().saturating_sub(inside));
        into[..length].copy_from_slice(&bytes[inside..inside + length]);
        self.position += length as u64;
        Ok(length)
    }
}

impl Seek for Window {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(offset) => self.size.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = target.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_kept_is_asked_for() {
        let bytes: Vec<u8> = (0..300_000_u32).map(|index| (index / 1000) as u8).collect();
        let wanted = BTreeSet::from([0, 4]);
        let mut window = Window::fill(bytes.as_slice(), bytes.len() as u64, &wanted).unwrap();
        let mut into = [0; 10];
        window.seek(SeekFrom::Start(299_990)).unwrap();
        window.read_exact(&mut into).unwrap();
        assert_eq!(into, bytes[299_990..]);
        window.seek(SeekFrom::Start(100_000)).unwrap();
        assert!(window.read_exact(&mut into).is_err());
        assert_eq!(*window.missing.borrow(), BTreeSet::from([1, 2, 3]));
        // A stream that ends early is an error, not a short file.
        assert!(Window::fill(&bytes[..1000], bytes.len() as u64, &wanted).is_err());
    }

    #[test]
    fn packagers_notes_are_read() {
        assert_eq!(package("package.json", r#"{"name":"@a/b","version":"1.2.3"}"#).as_deref(), Some("@a/b 1.2.3"));
        let wheel = "Metadata-Version: 2.1\nName: xllamacpp\nVersion: 2026.10\n";
        assert_eq!(package("METADATA", wheel).as_deref(), Some("xllamacpp 2026.10"));
        assert_eq!(package("package.json", "no json"), None);
    }
}
