//! Archives, taken apart as if each were hostile: every name is checked, nothing is written through a link, and bombs end early.

mod links;
mod name;
mod tar_gz;
mod zip;

use std::collections::BTreeMap;
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use thiserror::Error;

pub use self::name::{Refusal, safe_name};
use crate::host::replace;
use crate::net::digest::Sha256Digest;
use crate::units::{Bytes, GIB, MIB};

#[derive(Debug, Error)]
pub enum Error {
    #[error("`{archive}` is neither a zip nor a tar.gz archive")]
    Unknown { archive: String },
    #[error("`{archive}` is damaged: {why}")]
    Damaged { archive: String, why: String },
    #[error("`{archive}` is refused: its entry `{entry}` {refusal}")]
    Refused { archive: String, entry: String, refusal: Refusal },
    #[error("`{archive}` is refused: it unpacks to {what}")]
    Bomb { archive: String, what: String },
    #[error(transparent)]
    File(#[from] io::Error),
}

/// What an honest archive stays within. The largest official one unpacks to under 2 GiB, the largest image layer to 3 GiB.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub entries: usize,
    pub bytes: Bytes,
    /// Unpacked over packed; looked at past `RATIO_FROM` only, since a few bytes compress to anything.
    pub ratio: u64,
}

const RATIO_FROM: u64 = 64 * MIB;

impl Default for Limits {
    fn default() -> Self {
        Self { entries: 20_000, bytes: Bytes(12 * GIB), ratio: 100 }
    }
}

/// One file as it lies in the folder now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnpackedFile {
    pub size: u64,
    pub sha256: Sha256Digest,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// By name within the folder, with `/` on every system. Links are not among them.
    pub files: BTreeMap<String, UnpackedFile>,
    /// Name and target of every symbolic link.
    pub links: BTreeMap<String, String>,
    /// Links that pointed nowhere and were mended, one sentence each.
    pub repaired: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Zip,
    TarGz,
}

impl Format {
    /// By the first bytes; names lie.
    pub fn of(path: &Path) -> Result<Self, Error> {
        let mut start = Vec::new();
        fs_err::File::open(path)?.take(4).read_to_end(&mut start)?;
        match start[..] {
            [b'P', b'K', 3, 4] | [b'P', b'K', 5, 6] => Ok(Self::Zip),
            [0x1f, 0x8b, ..] => Ok(Self::TarGz),
            _ => Err(Error::Unknown { archive: file_name(path) }),
        }
    }
}

/// Where an entry shall lie, or none to leave it out.
pub type Choose<'a> = &'a (dyn Fn(&str) -> Option<String> + Sync);

/// Unpacks `archive` into `folder`, which is ours alone and new: a staging folder beside the target.
/// A tar archive loses its one top folder, if it has one. A zip keeps its names, but for the `build/bin/` of 2025's Linux zips.
pub fn unpack(archive: &Path, folder: &Path, limits: &Limits) -> Result<Unpacked, Error> {
    let unpacked = unpack_chosen(archive, folder, limits, &|name| Some(name.to_owned()))?;
    match Format::of(archive)? {
        Format::TarGz => without_top(folder, unpacked, |_| true),
        Format::Zip => {
            let unpacked = without_top(folder, unpacked, |top| top == "build")?;
            without_top(folder, unpacked, |top| top == "bin")
        }
    }
}

/// Lifts everything out of the one folder that holds everything, if there is one and `strip` agrees to its name.
fn without_top(folder: &Path, unpacked: Unpacked, strip: impl Fn(&str) -> bool) -> Result<Unpacked, Error> {
    let mut names = unpacked.files.keys().chain(unpacked.links.keys());
    let Some(prefix) = names.next().and_then(|name| Some(format!("{}/", name.split_once('/')?.0))) else {
        return Ok(unpacked);
    };
    let top = prefix.trim_end_matches('/');
    if !strip(top) || names.any(|name| !name.starts_with(&prefix)) {
        return Ok(unpacked);
    }
    let aside = folder.with_extension("top");
    replace::rename(&folder.join(top), &aside)?;
    // It may hold empty folders still.
    replace::remove_folder(folder)?;
    replace::rename(&aside, folder)?;
    let short = |name: String| name[prefix.len()..].to_owned();
    Ok(Unpacked {
        files: unpacked.files.into_iter().map(|(name, file)| (short(name), file)).collect(),
        links: unpacked.links.into_iter().map(|(name, to)| (short(name), to)).collect(),
        repaired: unpacked.repaired,
    })
}

/// Unpacks what `choose` wants of an archive.
pub fn unpack_chosen(archive: &Path, folder: &Path, limits: &Limits, choose: Choose<'_>) -> Result<Unpacked, Error> {
    fs_err::create_dir_all(folder)?;
    let mut target = Target {
        archive: file_name(archive),
        packed: fs_err::metadata(archive)?.len(),
        folder: folder.to_owned(),
        limits: *limits,
        names: BTreeMap::new(),
    };
    let (files, links) = match Format::of(archive)? {
        Format::Zip => zip::unpack(archive, &mut target, choose)?,
        Format::TarGz => tar_gz::unpack(archive, &mut target, choose)?,
    };
    links::place(&target, files, links)
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Folder,
    File,
    Link,
}

/// The folder that is filled, and what was put into it so far.
struct Target {
    archive: String,
    packed: u64,
    folder: PathBuf,
    limits: Limits,
    /// Names in lower case: two that differ in case alone are one file on Windows.
    names: BTreeMap<String, (What, String)>,
}

/// The links of an archive, made after every file, so that nothing is ever written through one.
#[derive(Debug, Default)]
struct Links {
    symbolic: BTreeMap<String, String>,
    hard: BTreeMap<String, String>,
}

impl Target {
    fn refused(&self, entry: &str, refusal: Refusal) -> Error {
        Error::Refused { archive: self.archive.clone(), entry: printable(entry), refusal }
    }

    fn damaged(&self, why: impl Into<Box<dyn std::error::Error>>) -> Error {
        Error::Damaged { archive: self.archive.clone(), why: why.into().to_string() }
    }

    fn check_entries(&self, count: usize) -> Result<(), Error> {
        if count > self.limits.entries {
            return Err(Error::Bomb {
                archive: self.archive.clone(),
                what: format!("more than {} entries", self.limits.entries),
            });
        }
        Ok(())
    }

    fn check_bytes(&self, unpacked: u64) -> Result<(), Error> {
        let bomb = |what| Err(Error::Bomb { archive: self.archive.clone(), what });
        if unpacked > self.limits.bytes.0 {
            return bomb(format!("more than {}", self.limits.bytes));
        }
        if unpacked > RATIO_FROM && unpacked / self.packed.max(1) > self.limits.ratio {
            return bomb(format!("more than {} times its size", self.limits.ratio));
        }
        Ok(())
    }

    /// Remembers a name, with every folder above it, and refuses one that is taken.
    fn claim(&mut self, name: &str, what: What) -> Result<(), Error> {
        for (end, _) in name.match_indices('/') {
            self.claim_one(&name[..end], What::Folder)?;
        }
        self.claim_one(name, what)
    }

    fn claim_one(&mut self, name: &str, what: What) -> Result<(), Error> {
        let taken = self.names.get(&name.to_lowercase());
        match taken {
            None => {
                self.names.insert(name.to_lowercase(), (what, name.to_owned()));
                Ok(())
            }
            Some((What::Folder, known)) if what == What::Folder && known == name => Ok(()),
            Some((What::Link, known)) if known != name || what == What::Folder => {
                Err(self.refused(name, Refusal::ThroughLink(known.clone())))
            }
            Some((_, known)) => Err(self.refused(name, Refusal::Twice(known.clone()))),
        }
    }

    /// Writes one file. `written` counts the bytes of all files so far.
    fn write(
        &self,
        name: &str,
        executable: bool,
        reader: &mut impl Read,
        mut count: impl FnMut(u64) -> Result<(), Error>,
    ) -> Result<UnpackedFile, Error> {
        let path = self.folder.join(name);
        if let Some(parent) = path.parent() {
            fs_err::create_dir_all(parent)?;
        }
        // Never an existing file: the folder is new and every name was claimed.
        let mut file = fs_err::OpenOptions::new().write(true).create_new(true).open(&path)?;
        let (mut hasher, mut size, mut buffer) = (Sha256::new(), 0, vec![0; 1 << 17]);
        loop {
            let read = match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.damaged(format!("`{}`: {error}", printable(name)))),
            };
            count(read as u64)?;
            size += read as u64;
            hasher.update(&buffer[..read]);
            file.write_all(&buffer[..read])?;
        }
        set_mode(&path, executable)?;
        Ok(UnpackedFile { size, sha256: Sha256Digest(hasher.finalize().into()) })
    }
}

#[cfg(unix)]
fn set_mode(path: &Path, executable: bool) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(if executable { 0o755 } else { 0o644 }))
}

#[cfg(windows)]
fn set_mode(_: &Path, _: bool) -> io::Result<()> {
    Ok(())
}

fn printable(name: &str) -> String {
    name.chars().map(|character| if character.is_control() { '?' } else { character }).take(120).collect()
}
