//! How long it takes to read what a library is: a CUDA backend of 375 MB, of which only the headers are there.
//! The promise is 0.3 s, code of every container included.

use std::hint::black_box;
use std::io::{Seek as _, SeekFrom, Write as _};

use criterion::{Criterion, criterion_group, criterion_main};
use llama_doctor::binary::{self, Depth};

#[path = "../tests/support/binaries.rs"]
#[expect(dead_code, unreachable_pub, reason = "shared with the tests, which use more of it")]
mod binaries;

const LIBRARY_BYTES: u64 = 375_000_000;
/// As many as the official CUDA backend has source files.
const CONTAINERS: usize = 143;

fn read(criterion: &mut Criterion) {
    let container = binaries::Fatbin::new().ptx(75, (8, 7)).sass(86, false, true).sass(120, true, true).bytes();
    let elf = binaries::TinyElf {
        runpath: Some("$ORIGIN"),
        fatbin: Some(container.repeat(CONTAINERS)),
        ..binaries::TinyElf::new("libggml-cuda.so").needs(&["libcudart.so.12", "libc.so.6"])
    };
    let mut elf = elf.bytes();
    // The section table moves to the end of a sparse file.
    let table = u64::from_le_bytes([elf[40], elf[41], elf[42], elf[43], elf[44], elf[45], elf[46], elf[47]]) as usize;
    let tail = elf[table..].to_vec();
    elf[40..48].copy_from_slice(&LIBRARY_BYTES.to_le_bytes());
    let Ok(mut file) = tempfile::NamedTempFile::new() else { return };
    let written = file.write_all(&elf).and_then(|()| file.seek(SeekFrom::Start(LIBRARY_BYTES)));
    if written.and_then(|_| file.write_all(&tail)).is_err() {
        return;
    }
    for depth in [Depth::Links, Depth::Everything] {
        criterion.bench_function(&format!("a library of 375 MB, {depth:?}"), |bencher| {
            bencher.iter(|| binary::read_file(black_box(file.path()), depth));
        });
    }
}

criterion_group!(benches, read);
criterion_main!(benches);
