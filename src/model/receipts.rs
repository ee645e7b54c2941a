//! What we pulled, and where to: `remove` touches nothing else, and `models list` finds the `--to` folders again.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::net::digest::Sha256Digest;
use crate::units::Bytes;

#[derive(Debug, Error)]
pub enum ReceiptsError {
    #[error("`{path}`, the list of pulled models, cannot be read: {why}")]
    Unreadable { path: PathBuf, why: String },
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// One `pull`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// `org/repo/file.gguf`, or the address.
    pub source: String,
    pub files: Vec<PulledFile>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PulledFile {
    pub path: PathBuf,
    pub bytes: Bytes,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Sha256Digest>,
    /// What its server called this version of the file: `ETag`, else `Last-Modified`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// We downloaded it; otherwise it was there already and belongs to whoever brought it.
    pub ours: bool,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Document {
    #[serde(default)]
    pulled: Vec<Receipt>,
}

/// The list, in the program's home folder.
#[derive(Debug, Clone)]
pub struct Receipts {
    path: PathBuf,
}

impl Receipts {
    pub fn in_home(home: &Path) -> Self {
        Self { path: home.join("models.json") }
    }

    pub fn read(&self) -> Result<Vec<Receipt>, ReceiptsError> {
        let text = match fs_err::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let document: Document = serde_json::from_str(&text)
            .map_err(|error| ReceiptsError::Unreadable { path: self.path.clone(), why: error.to_string() })?;
        Ok(document.pulled)
    }

    /// Adds a receipt; one for the same files is replaced, and what was ours stays ours.
    pub fn add(&self, mut receipt: Receipt) -> Result<(), ReceiptsError> {
        self.change(|pulled| {
            for file in &mut receipt.files {
                let before = pulled.iter().flat_map(|known| &known.files).find(|known| known.path == file.path);
                file.ours |= before.is_some_and(|known| known.ours);
            }
            pulled.retain(|known| {
                known.files.first().map(|file| &file.path) != receipt.files.first().map(|file| &file.path)
            });
            pulled.push(receipt);
        })
    }

    /// Forgets every file that lies at one of these paths.
    pub fn forget(&self, paths: &[PathBuf]) -> Result<(), ReceiptsError> {
        self.change(|pulled| {
            for receipt in pulled.iter_mut() {
                receipt.files.retain(|file| !paths.contains(&file.path));
            }
            pulled.retain(|receipt| !receipt.files.is_empty());
        })
    }

    /// Reads, changes and replaces the list while no other process does.
    fn change(&self, change: impl FnOnce(&mut Vec<Receipt>)) -> Result<(), ReceiptsError> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        fs_err::create_dir_all(folder)?;
        let lock = fs_err::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(self.path.with_extension("json.lock"))?;
        lock.file().lock()?;
        let mut pulled = self.read()?;
        change(&mut pulled);
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        serde_json::to_writer_pretty(&mut file, &Document { pulled }).map_err(io::Error::from)?;
        file.flush()?;
        crate::host::replace::persist(file, &self.path)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt(path: &str, ours: bool) -> Receipt {
        Receipt {
            source: "o/r".into(),
            files: vec![PulledFile { path: path.into(), bytes: Bytes(1), sha256: None, version: None, ours }],
        }
    }

    #[test]
    fn what_was_ours_stays_ours() {
        let home = tempfile::tempdir().unwrap();
        let receipts = Receipts::in_home(home.path());
        assert_eq!(receipts.read().unwrap(), []);
        receipts.add(receipt("/a", true)).unwrap();
        receipts.add(receipt("/b", false)).unwrap();
        receipts.add(receipt("/a", false)).unwrap();
        assert_eq!(receipts.read().unwrap(), [receipt("/b", false), receipt("/a", true)]);
        receipts.forget(&["/a".into()]).unwrap();
        assert_eq!(receipts.read().unwrap(), [receipt("/b", false)]);
    }

    #[test]
    fn a_damaged_list_is_named_and_kept() {
        let home = tempfile::tempdir().unwrap();
        fs_err::write(home.path().join("models.json"), "{").unwrap();
        let receipts = Receipts::in_home(home.path());
        assert!(matches!(receipts.add(receipt("/a", true)), Err(ReceiptsError::Unreadable { .. })));
        assert_eq!(fs_err::read_to_string(home.path().join("models.json")).unwrap(), "{");
    }
}
