//! Every file in the corpora of `tests/fuzz/` is survived: what a fuzzer once found stays found.
#![allow(clippy::unwrap_used, reason = "a test helper may stop the test")]

use std::io::Cursor;
use std::path::{Path, PathBuf};

use llama_doctor::binary::{self, Depth, side_by_side};
use llama_doctor::build::archive::{self, ArchiveFormat};
use llama_doctor::loader::ld_cache;
use llama_doctor::loader::windows::api_sets::ApiSets;

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target)
}

fn replay(target: &str, run: impl Fn(&[u8])) {
    let mut count = 0;
    for entry in fs_err::read_dir(corpus(target)).unwrap() {
        run(&fs_err::read(entry.unwrap().path()).unwrap());
        count += 1;
    }
    assert!(count > 0, "the corpus of {target} is empty");
}

#[test]
fn images() {
    replay("image", |bytes| {
        for depth in [Depth::Links, Depth::Sampled, Depth::Everything] {
            let _ = binary::read(Cursor::new(bytes), depth);
        }
    });
}

#[test]
fn ld_caches() {
    replay("ld_cache", |bytes| {
        let _ = ld_cache::read(bytes);
    });
}

/// As the target does: the first byte chooses the kind.
#[test]
fn archives() {
    let folder = tempfile::tempdir().unwrap();
    replay("archive", |bytes| {
        let Some((kind, bytes)) = bytes.split_first() else { return };
        let format = if kind % 2 == 0 { ArchiveFormat::Zip } else { ArchiveFormat::TarGz };
        let path = folder.path().join("archive");
        fs_err::write(&path, bytes).unwrap();
        let _ = archive::read(&path, format);
    });
}

#[test]
fn windows_tables() {
    let folder = tempfile::tempdir().unwrap();
    replay("windows_tables", |bytes| {
        let _ = ApiSets::read(bytes);
        let _ = side_by_side::dependent_assemblies(bytes);
        let path = folder.path().join("library.dll");
        fs_err::write(&path, bytes).unwrap();
        let _ = binary::section(&path, b".apiset");
        let _ = binary::imported_functions(&path, "KERNEL32.dll");
        let _ = binary::exported_names(&path);
    });
}
