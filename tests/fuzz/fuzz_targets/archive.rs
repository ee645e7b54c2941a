//! Wheels, `.zip` and `.tar.gz`, read without unpacking. The first byte chooses the kind.
#![no_main]

use libfuzzer_sys::fuzz_target;
use llama_doctor::build::archive::{self, ArchiveFormat};

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    let format = if kind % 2 == 0 { ArchiveFormat::Zip } else { ArchiveFormat::TarGz };
    // The reader opens the file once for each pass; a file in memory costs little.
    let path = std::path::PathBuf::from(format!("/dev/shm/llama-doctor-fuzz-{}", std::process::id()));
    if std::fs::write(&path, bytes).is_ok() {
        let _ = archive::read(&path, format);
    }
});
