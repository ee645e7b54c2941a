//! A script on its way to disk: line endings, encoding, the stamp that shows an owner's edit, and the atomic write.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use thiserror::Error;

const STAMP: &str = "llama-doctor-stamp:";

/// One file of a launch, as text with plain newlines and without its stamp.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptFile {
    pub name: String,
    pub text: String,
    /// What begins a comment: `#`, `rem`.
    pub comment: &'static str,
    /// Windows' line endings.
    pub crlf: bool,
    /// Windows PowerShell reads a file without a byte-order mark in the system's code page.
    pub bom_if_needed: bool,
    pub executable: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    New,
    Replaced,
    Unchanged,
}

#[derive(Debug, Error)]
pub enum WriteError {
    #[error("{} was changed by hand since llama-doctor wrote it", .0.display())]
    Edited(PathBuf),
    #[error("{} is not a script of llama-doctor", .0.display())]
    Foreign(PathBuf),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl ScriptFile {
    /// The bytes as they lie on disk.
    pub fn bytes(&self) -> Vec<u8> {
        let stamped = format!("{}{} {STAMP} {}\n", self.text, self.comment, stamp(&self.text));
        let text = if self.crlf { stamped.replace('\n', "\r\n") } else { stamped };
        let mut bytes = if self.bom_if_needed && !text.is_ascii() { vec![0xEF, 0xBB, 0xBF] } else { Vec::new() };
        bytes.extend_from_slice(text.as_bytes());
        bytes
    }

    /// Whether the file of this name may be written into the folder: not if its owner changed it, unless `force`.
    pub fn may_write(&self, folder: &Path, force: bool) -> Result<Written, WriteError> {
        let path = folder.join(&self.name);
        let present = match fs_err::read(&path) {
            Ok(present) => present,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Written::New),
            Err(error) => return Err(error.into()),
        };
        if present == self.bytes() {
            return Ok(Written::Unchanged);
        }
        match (force, edited(&present)) {
            (true, _) | (false, Some(false)) => Ok(Written::Replaced),
            (false, Some(true)) => Err(WriteError::Edited(path)),
            (false, None) => Err(WriteError::Foreign(path)),
        }
    }

    /// Writes the file beside its place and moves it there, so that no one sees half a script.
    pub fn write(&self, folder: &Path, force: bool) -> Result<(PathBuf, Written), WriteError> {
        let written = self.may_write(folder, force)?;
        let path = folder.join(&self.name);
        if written != Written::Unchanged {
            fs_err::create_dir_all(folder)?;
            let mut beside = tempfile::Builder::new().prefix(".llama-doctor-").tempfile_in(folder)?;
            beside.write_all(&self.bytes())?;
            beside.as_file().sync_all()?;
            set_mode(beside.as_file(), self.executable)?;
            crate::host::replace::persist(beside, &path)?;
        }
        Ok((path, written))
    }
}

/// Whether a file was changed since it was stamped; none if it never was ours. Line endings and a byte-order mark do not count.
fn edited(bytes: &[u8]) -> Option<bool> {
    let text = String::from_utf8_lossy(bytes).replace("\r\n", "\n");
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let at = text.rfind(STAMP)?;
    let line_start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let said = text[at + STAMP.len()..].trim();
    Some(said != stamp(&text[..line_start]))
}

fn stamp(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
}

#[cfg(unix)]
pub(crate) fn set_mode(file: &std::fs::File, executable: bool) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    file.set_permissions(std::fs::Permissions::from_mode(if executable { 0o755 } else { 0o644 }))
}

/// Windows decides by the file's ending what can be run.
#[cfg(windows)]
pub(crate) fn set_mode(_: &std::fs::File, _: bool) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(text: &str) -> ScriptFile {
        ScriptFile {
            name: "a.ps1".to_owned(),
            text: text.to_owned(),
            comment: "#",
            crlf: true,
            bom_if_needed: true,
            executable: true,
        }
    }

    #[test]
    fn an_edit_is_seen_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let first = script("echo one\n");
        assert_eq!(first.write(folder.path(), false).unwrap().1, Written::New);
        assert_eq!(first.write(folder.path(), false).unwrap().1, Written::Unchanged);
        assert_eq!(script("echo two\n").write(folder.path(), false).unwrap().1, Written::Replaced);
        let path = folder.path().join("a.ps1");
        let text = fs_err::read_to_string(&path).unwrap();
        // An editor or git that changes line endings is not an edit.
        fs_err::write(&path, text.replace("\r\n", "\n")).unwrap();
        assert_eq!(first.write(folder.path(), false).unwrap().1, Written::Replaced);
        fs_err::write(&path, text.replace("two", "mine")).unwrap();
        assert!(matches!(first.write(folder.path(), false), Err(WriteError::Edited(_))));
        assert!(fs_err::read_to_string(&path).unwrap().contains("mine"));
        assert_eq!(first.write(folder.path(), true).unwrap().1, Written::Replaced);
        fs_err::write(&path, "someone else's").unwrap();
        assert!(matches!(first.write(folder.path(), false), Err(WriteError::Foreign(_))));
    }

    #[test]
    fn only_text_beyond_ascii_gets_a_mark() {
        assert!(script("# ü\n").bytes().starts_with(&[0xEF, 0xBB, 0xBF]));
        assert!(script("# u\n").bytes().starts_with(b"# u\r\n"));
    }
}
