//! ELF, PE and CUDA code are read for what they are; damaged and hostile ones give an error, never a panic.
#![allow(clippy::unwrap_used, reason = "a test helper may stop the test")]

mod support;

use std::io::Cursor;
use std::time::Instant;

use llama_doctor::binary::{self, BinaryError, Depth, Image, Machine};
use proptest::prelude::*;
use support::binaries::{AARCH64, Fatbin, TinyElf, tiny_elf_32, tiny_pe};

fn read(bytes: &[u8]) -> Result<Image, BinaryError> {
    binary::read(Cursor::new(bytes), Depth::Everything)
}

/// What `nvcc` writes for the official cuda-12.8 build.
fn code() -> Vec<u8> {
    Fatbin::new().ptx(75, (8, 7)).sass(86, false, true).sass(120, true, true).bytes()
}

fn backend() -> TinyElf {
    TinyElf {
        runpath: Some("$ORIGIN:"),
        wants: vec![("libc.so.6", "GLIBC_2.34"), ("libstdc++.so.6", "GLIBCXX_3.4.30")],
        provides: vec!["GGML_1"],
        fatbin: Some([code(), vec![0; 8], code()].concat()),
        rodata: b"ggml_cuda_init: %s\0FA_QUANTS\0q8_0-q8_0,f16-f16\0".to_vec(),
        ..TinyElf::new("libggml-cuda.so").needs(&["libcudart.so.12", "libc.so.6"])
    }
}

#[test]
fn an_elf_backend_tells_everything() {
    let image = read(&backend().bytes()).unwrap();
    assert_eq!(image.name.as_deref(), Some("libggml-cuda.so"));
    assert_eq!(image.needed, ["libcudart.so.12", "libc.so.6"]);
    assert_eq!(image.runpath, ["$ORIGIN"]);
    assert_eq!(image.required_versions[1].versions, ["GLIBCXX_3.4.30"]);
    assert_eq!(image.provided_versions, ["GGML_1"]);
    assert_eq!(image.texts.fa_quants.as_deref(), Some("q8_0-q8_0,f16-f16"));
    let code = image.cuda.unwrap();
    let shown: Vec<String> = code.sass.iter().chain(&code.ptx).map(ToString::to_string).collect();
    assert_eq!(shown, ["8.6", "12.0a", "7.5"]);
    assert_eq!((code.containers, code.compressed, code.uneven), (2, true, false));
    assert_eq!(code.ptx_version.unwrap().to_string(), "8.7");
}

#[test]
fn a_stray_source_file_does_not_decide() {
    let stray = Fatbin::new().sass(52, false, false).bytes();
    let elf = TinyElf { fatbin: Some([code(), code(), stray].concat()), ..backend() };
    let code = read(&elf.bytes()).unwrap().cuda.unwrap();
    assert!(code.uneven);
    assert!(code.sass.iter().all(|target| target.capability.major > 5));
}

#[test]
fn machines_are_told_apart() {
    let arm = TinyElf { machine: AARCH64, ..TinyElf::new("libx.so") };
    assert_eq!(read(&arm.bytes()).unwrap().machine, Machine::Aarch64);
    assert_eq!(read(&tiny_elf_32()).unwrap().machine, Machine::X86);
    assert!(matches!(read(b"GGUF"), Err(BinaryError::NotABinary)));
    assert!(matches!(read(b""), Err(BinaryError::NotABinary)));
}

#[test]
fn a_dll_tells_imports_and_code() {
    let image = read(&tiny_pe(&["cublas64_13.dll", "KERNEL32.dll"], Some(&code()))).unwrap();
    assert_eq!(image.machine, Machine::X86_64);
    assert_eq!(image.needed, ["cublas64_13.dll", "KERNEL32.dll"]);
    assert_eq!(image.cuda.unwrap().sass.len(), 2);
}

#[test]
fn every_cut_of_a_file_is_survived() {
    for whole in [backend().bytes(), tiny_pe(&["cublas64_13.dll"], Some(&code())), tiny_elf_32()] {
        for length in 0..whole.len() {
            // Some cuts leave a whole image behind; none may stop the program.
            let _ = read(&whole[..length]);
        }
    }
}

#[test]
fn a_container_that_lies_about_its_size_is_an_error() {
    let mut liar = code();
    liar[8..16].copy_from_slice(&u64::MAX.to_le_bytes());
    let error = read(&TinyElf { fatbin: Some(liar), ..backend() }.bytes()).unwrap_err();
    assert_eq!(error.to_string(), "a damaged CUDA code file: a container reaches past its section");
    let mut endless = code();
    // An entry of no size would be read for ever.
    endless[16 + 4..16 + 16].fill(0);
    assert!(read(&TinyElf { fatbin: Some(endless), ..backend() }.bytes()).is_err());
}

/// A file of `size` bytes that are not there, but for its code's headers: only those may be read.
#[test]
fn the_size_of_a_library_does_not_matter() {
    let mut elf = backend().bytes();
    let section_table = u64::from_le_bytes(elf[40..48].try_into().unwrap()) as usize;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("libggml-cuda.so");
    // The section table moves to the end of a sparse 375 MB file.
    let table = elf[section_table..].to_vec();
    let end = 375_000_000_u64;
    elf[40..48].copy_from_slice(&end.to_le_bytes());
    fs_err::write(&path, &elf).unwrap();
    {
        use std::io::{Seek as _, SeekFrom, Write as _};
        let mut file = fs_err::OpenOptions::new().write(true).open(&path).unwrap();
        file.seek(SeekFrom::Start(end)).unwrap();
        file.write_all(&table).unwrap();
    }
    let start = Instant::now();
    let image = binary::read_file(&path, Depth::Everything).unwrap();
    assert!(image.cuda.is_some());
    assert!(start.elapsed().as_millis() < 300, "{:?}", start.elapsed());
}

proptest! {
    #[test]
    fn changed_bytes_never_stop_the_program(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..24),
        which in 0..3_usize,
    ) {
        let mut bytes = match which {
            0 => backend().bytes(),
            1 => tiny_pe(&["cublas64_13.dll", "KERNEL32.dll"], Some(&code())),
            _ => TinyElf { interpreter: Some("/lib64/ld-linux-x86-64.so.2"), ..backend() }.bytes(),
        };
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let _ = read(&bytes);
    }

    #[test]
    fn noise_after_a_magic_never_stops_the_program(noise in prop::collection::vec(any::<u8>(), 0..2000), elf: bool) {
        let magic: &[u8] = if elf { b"\x7fELF\x02\x01\x01" } else { b"MZ" };
        let _ = read(&[magic, &noise].concat());
    }
}
