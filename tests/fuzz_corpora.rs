//! Every file in the corpora of `tests/fuzz/` is survived: what a fuzzer once found stays found.
#![allow(clippy::unwrap_used, reason = "a test helper may stop the test")]

use std::io::Cursor;
use std::path::{Path, PathBuf};

use llama_doctor::binary::{self, Depth};
use llama_doctor::loader::ld_cache;

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
