//! Honest archives unpack as the projects that make them mean it; hostile ones leave nothing outside their folder.
#![allow(clippy::unwrap_used, reason = "a test helper may stop the test")]

mod support;

#[cfg(unix)]
use std::path::Path;

use llama_doctor::archive::{Error, Limits, Unpacked, unpack};
use llama_doctor::units::{Bytes, MIB};
use support::archives::{Tar, Zip, ZipEntry};

/// Unpacks into a folder of its own inside another that must stay empty but for it.
fn run(bytes: &[u8], limits: &Limits) -> (tempfile::TempDir, Result<Unpacked, Error>) {
    let outside = tempfile::tempdir().unwrap();
    let archive = tempfile::NamedTempFile::new().unwrap();
    fs_err::write(archive.path(), bytes).unwrap();
    let result = unpack(archive.path(), &outside.path().join("staging"), limits);
    let names: Vec<_> = fs_err::read_dir(outside.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(names.is_empty() || names == ["staging"], "{names:?}");
    (outside, result)
}

fn refusal(bytes: &[u8]) -> String {
    let (_, result) = run(bytes, &Limits::default());
    result.unwrap_err().to_string()
}

fn read(outside: &tempfile::TempDir, name: &str) -> String {
    fs_err::read_to_string(outside.path().join("staging").join(name)).unwrap()
}

#[cfg(unix)]
fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    fs_err::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_linux_release_loses_its_top_folder_and_keeps_modes_and_links() {
    let bytes = Tar::default()
        .entry(b'5', "llama-b11434/", "", 0o755, b"")
        .program("llama-b11434/llama-server", "#!")
        .file("llama-b11434/libllama.so.0.6.0", "library")
        .link("llama-b11434/libllama.so.0", "libllama.so.0.6.0")
        .link("llama-b11434/libllama.so", "libllama.so.0")
        .entry(b'0', "llama-b11434/setuid", "", 0o6755, b"x")
        .gz();
    let (outside, result) = run(&bytes, &Limits::default());
    let unpacked = result.unwrap();
    // Where links are impossible, copies stand for them.
    assert!(unpacked.files.contains_key("libllama.so.0.6.0"));
    assert_eq!(read(&outside, "libllama.so"), "library");
    assert!(unpacked.repaired.is_empty());
    #[cfg(unix)]
    {
        assert_eq!(unpacked.links["libllama.so"], "libllama.so.0");
        assert_eq!(mode(&outside.path().join("staging/llama-server")), 0o755);
        assert_eq!(mode(&outside.path().join("staging/setuid")), 0o755, "no setuid");
    }
}

#[test]
fn a_windows_release_keeps_its_flat_root() {
    let bytes = Zip::default().file("llama-server.exe", "MZ").file("ggml-cuda.dll", vec![7; 100_000]).bytes();
    let (outside, result) = run(&bytes, &Limits::default());
    assert_eq!(result.unwrap().files["ggml-cuda.dll"].size, 100_000);
    assert_eq!(read(&outside, "llama-server.exe"), "MZ");
    // A zip with one folder keeps it, unless it is the build/bin of 2025.
    let (outside, result) = run(&Zip::default().file("docs/a", "1").bytes(), &Limits::default());
    result.unwrap();
    assert_eq!(read(&outside, "docs/a"), "1");
    let bytes = Zip::default().file("build/bin/llama-server", "elf").file("build/bin/LICENSE", "MIT").bytes();
    let (outside, result) = run(&bytes, &Limits::default());
    result.unwrap();
    assert_eq!(read(&outside, "llama-server"), "elf");
}

#[test]
fn a_tar_of_several_folders_keeps_them() {
    let (outside, result) = run(&Tar::default().file("a/x", "1").file("b/x", "2").gz(), &Limits::default());
    result.unwrap();
    assert_eq!(read(&outside, "a/x") + &read(&outside, "b/x"), "12");
}

#[test]
fn links_that_lost_letters_are_mended_by_name() {
    let bytes = Tar::default()
        .file("llama-b9165/libllama.so.0.0.9165", "library")
        .link("llama-b9165/libllama.so.0", "llama-b9165ibllama.so.0.0.9165")
        .link("llama-b9165/libllama.so", "llama-b9165ibllama.so.0")
        .gz();
    let (outside, result) = run(&bytes, &Limits::default());
    assert_eq!(result.unwrap().repaired.len(), 2);
    assert_eq!(read(&outside, "libllama.so"), "library");
}

#[test]
fn hard_links_are_copies() {
    let bytes = Tar::default().file("t/a", "same").entry(b'1', "t/b", "t/a", 0o644, b"").gz();
    let (outside, result) = run(&bytes, &Limits::default());
    result.unwrap();
    assert_eq!(read(&outside, "b"), "same");
}

/// Name, archive, and a word that the refusal must say.
fn corpus() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let tar = |name: &str| Tar::default().file(name, "evil").gz();
    let zip = |name: &str| Zip::default().file(name, "evil").bytes();
    let mut torn = Tar::default().file("a", vec![9; 5000]).gz();
    torn.truncate(torn.len() / 2);
    let mut bad_checksum = Tar::default().file("a", "text").gz();
    let at = bad_checksum.len() - 8;
    bad_checksum[at] ^= 1;
    let mut torn_zip = zip("a");
    torn_zip.truncate(torn_zip.len() - 10);
    let entry = |entry: ZipEntry<'_>| Zip::default().entry(&entry).bytes();
    let file = |name: &'static str| ZipEntry::file(name, b"evil");
    vec![
        ("tar: parent", tar("../evil"), "`..`"),
        ("tar: parent inside", tar("a/../../evil"), "`..`"),
        ("tar: absolute", tar("/tmp/evil"), "absolute"),
        ("tar: drive", tar("C:evil"), "colon"),
        ("tar: backslash", tar("..\\evil"), "backslash"),
        ("tar: device name", tar("a/NUL.txt"), "device"),
        ("tar: numbered device", tar("com1"), "device"),
        ("tar: trailing dot", tar("evil."), "dot"),
        ("tar: control character", tar("ev\u{1b}il"), "control"),
        ("tar: not text", Tar::default().file(b"\xff\xfe", "x").gz(), "UTF-8"),
        ("tar: too deep", tar(&"d/".repeat(40)), "deep"),
        ("tar: too long", tar(&"x".repeat(300)), "long"),
        ("tar: character device", Tar::default().entry(b'3', "null", "", 0o666, b"").gz(), "device"),
        ("tar: pipe", Tar::default().entry(b'6', "pipe", "", 0o666, b"").gz(), "pipe"),
        ("tar: link out", Tar::default().link("l", "../../etc").gz(), "leaves"),
        ("tar: link absolute", Tar::default().link("l", "/etc/passwd").gz(), "leaves"),
        ("tar: link through link", Tar::default().link("a/l", "b/../../..").gz(), "leaves"),
        ("tar: write through link", Tar::default().link("l", "x").file("l/evil", "x").gz(), "through the link"),
        ("tar: file over link", Tar::default().file("x", "1").link("l", "x").file("l", "evil").gz(), "same file"),
        ("tar: link nowhere", Tar::default().link("l", "missing").gz(), "not in the archive"),
        ("tar: links in a circle", Tar::default().link("a", "b").link("b", "a").gz(), "not in the archive"),
        ("tar: hard link out", Tar::default().entry(b'1', "h", "/etc/passwd", 0o644, b"").gz(), "absolute"),
        ("tar: hard link nowhere", Tar::default().entry(b'1', "h", "x", 0o644, b"").gz(), "not in the archive"),
        ("tar: twice", Tar::default().file("t/a", "1").file("t/a", "2").gz(), "same file"),
        ("tar: twice by case", Tar::default().file("t/Lib.so", "1").file("t/lib.so", "2").gz(), "same file"),
        ("tar: file as folder", Tar::default().file("a", "1").file("a/b", "2").gz(), "same file"),
        ("tar: torn", torn, "damaged"),
        ("tar: checksum", bad_checksum, "damaged"),
        ("tar: empty", Tar::default().gz(), "nothing"),
        ("zip: parent", zip("../evil"), "`..`"),
        ("zip: absolute", zip("/evil"), "absolute"),
        ("zip: drive", zip("C:/evil"), "colon"),
        ("zip: hidden stream", zip("a.dll:evil"), "colon"),
        ("zip: backslash", zip("..\\..\\evil"), "backslash"),
        ("zip: device name", zip("aux.dll"), "device"),
        ("zip: twice by case", Zip::default().file("GGML.dll", "1").file("ggml.dll", "2").bytes(), "same file"),
        ("zip: twice", Zip::default().file("a", "1").file("a", "2").bytes(), "twice"),
        ("zip: encrypted", entry(ZipEntry { flags: 1, ..file("a") }), "encrypted"),
        ("zip: odd method", entry(ZipEntry { method: Some(12), ..file("a") }), "packed with"),
        ("zip: wrong checksum", entry(ZipEntry { claimed_crc: Some(1), ..file("a") }), "damaged"),
        ("zip: wrong size", entry(ZipEntry { claimed_size: Some(99), ..file("a") }), "damaged"),
        ("zip: link out", entry(ZipEntry { mode: 0o120_777, content: b"../../etc", ..file("a") }), "leaves"),
        ("zip: device", entry(ZipEntry { mode: 0o020_666, ..file("a") }), "device"),
        ("zip: torn", torn_zip, "damaged"),
        ("neither", b"#!/bin/sh\n".to_vec(), "neither"),
        ("nothing", Vec::new(), "neither"),
    ]
}

#[test]
fn hostile_archives_are_refused_with_their_reason() {
    let corpus = corpus();
    assert!(corpus.len() >= 25);
    for (name, bytes, word) in corpus {
        let text = refusal(&bytes);
        assert!(text.contains(word), "{name}: {text}");
        assert!(!text.contains('\u{1b}'), "{name}: {text}");
    }
}

#[test]
fn bombs_end_early() {
    let zeros = vec![0; 80 * MIB as usize];
    let limits = Limits::default();
    for bytes in [Tar::default().file("zeros", &zeros).gz(), Zip::default().file("zeros", &zeros).bytes()] {
        assert!(matches!(run(&bytes, &limits).1, Err(Error::Bomb { .. })));
    }
    let few = Limits { entries: 10, ..limits };
    let many = (0..11).fold(Tar::default(), |tar, number| tar.file(format!("f{number}"), ""));
    assert!(matches!(run(&many.gz(), &few).1, Err(Error::Bomb { .. })));
    let small = Limits { bytes: Bytes(100), ..limits };
    assert!(matches!(run(&Zip::default().file("a", [1; 101]).bytes(), &small).1, Err(Error::Bomb { .. })));
    // A directory that lies about a size does not get past the count.
    let lie = ZipEntry { claimed_size: Some(10), ..ZipEntry::file("a", &zeros) };
    assert!(run(&Zip::default().entry(&lie).bytes(), &limits).1.is_err());
}
