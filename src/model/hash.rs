//! Hashing a large file with someone watching.

use std::io::{self, Read};
use std::path::Path;

use crate::net::digest::Sha256Digest;
use crate::net::download::Progress;
use crate::units::Bytes;

/// The sha256 of a file, read once from front to back.
pub fn sha256_of(path: &Path, label: &str, progress: &dyn Progress) -> io::Result<Sha256Digest> {
    let file = fs_err::File::open(path)?;
    progress.started(label, Some(Bytes(file.metadata()?.len())), Bytes(0));
    let digest = Sha256Digest::of_reader(&mut Watched { file, progress });
    progress.finished();
    digest
}

struct Watched<'a> {
    file: fs_err::File,
    progress: &'a dyn Progress,
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.progress.advanced(count as u64);
        Ok(count)
    }
}
