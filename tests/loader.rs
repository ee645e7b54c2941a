//! The search for libraries, on recorded machines and against the system's own tools.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test helper may stop the test")]

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use llama_doctor::binary::{self, Depth};
use llama_doctor::host::Host;
use llama_doctor::loader::linux::{Loaded, Loader};
use llama_doctor::loader::{Dependency, DependencyState, ld_cache};
use support::binaries::{TinyElf, tiny_elf_32};

/// A machine in a folder.
struct Machine {
    root: tempfile::TempDir,
    environment: BTreeMap<std::ffi::OsString, std::ffi::OsString>,
}

impl Machine {
    fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap(), environment: BTreeMap::new() }
    }

    fn file(&self, path: &str, bytes: &[u8]) -> &Self {
        let path = self.root.path().join(path.trim_start_matches('/'));
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, bytes).unwrap();
        self
    }

    fn library(&self, path: &str, elf: &TinyElf) -> &Self {
        self.file(path, &elf.bytes())
    }

    fn host(&self) -> Host {
        Host::Recorded {
            root: self.root.path().to_owned(),
            environment: self.environment.clone(),
            outputs: BTreeMap::new(),
        }
    }

    fn resolve(&self, path: &str) -> Vec<Dependency> {
        let host = self.host();
        let image = binary::read_file(&host.path(path), Depth::Links).unwrap();
        Loader::new(&host).resolve(&Loaded { path: PathBuf::from(path), image }, &[])
    }

    fn only(&self, path: &str) -> Dependency {
        let answers = self.resolve(path);
        assert_eq!(answers.len(), 1, "{answers:?}");
        answers[0].clone()
    }
}

const BACKEND: &str = "/opt/llama/libggml-cuda.so";

fn backend() -> TinyElf {
    TinyElf { runpath: Some("$ORIGIN"), ..TinyElf::new("libggml-cuda.so").needs(&["libcudart.so.13"]) }
}

fn cudart() -> TinyElf {
    TinyElf::new("libcudart.so.13")
}

#[test]
fn nothing_installed_is_missing_and_says_where_it_was_looked_for() {
    let machine = Machine::new();
    machine.library(BACKEND, &backend());
    let answer = machine.only(BACKEND);
    assert_eq!(answer.state, DependencyState::Missing);
    assert_eq!(answer.detail, "not in RUNPATH of libggml-cuda.so, ld.so.cache, the default folders");
    assert_eq!(answer.needed_by, "libggml-cuda.so");
}

#[test]
fn the_order_is_that_of_ld_so() {
    let mut machine = Machine::new();
    machine.library(BACKEND, &backend());
    let places = [
        ("/lib/x86_64-linux-gnu/libcudart.so.13", "default folder /lib/x86_64-linux-gnu"),
        ("/usr/local/cuda/lib64/libcudart.so.13", "ld.so.cache"),
        ("/opt/llama/libcudart.so.13", "RUNPATH of libggml-cuda.so"),
        ("/first/libcudart.so.13", "LD_LIBRARY_PATH"),
    ];
    machine.file(
        "/etc/ld.so.cache",
        &support::binaries::ld_cache(&[("libcudart.so.13", "/usr/local/cuda/lib64/libcudart.so.13")]),
    );
    machine.environment.insert("LD_LIBRARY_PATH".into(), "/first".into());
    for (path, rule) in places {
        machine.library(path, &cudart());
        let answer = machine.only(BACKEND);
        assert_eq!((answer.path.unwrap(), answer.detail.as_str()), (PathBuf::from(path), rule));
    }
}

#[test]
fn rpath_serves_what_is_loaded_further_down_and_runpath_does_not() {
    let machine = Machine::new();
    let middle = TinyElf::new("libmiddle.so").needs(&["libdeep.so"]);
    machine.library("/opt/l/libmiddle.so", &middle).library("/opt/l/libdeep.so", &TinyElf::new("libdeep.so"));
    let top = |rpath, runpath| TinyElf { rpath, runpath, ..TinyElf::new("top.so").needs(&["libmiddle.so"]) };
    machine.library("/opt/rpath.so", &top(Some("/opt/l"), None));
    machine.library("/opt/runpath.so", &top(None, Some("/opt/l")));
    assert_eq!(machine.resolve("/opt/rpath.so")[1].state, DependencyState::Found);
    assert_eq!(machine.resolve("/opt/runpath.so")[1].state, DependencyState::Missing);
}

#[test]
fn what_cannot_serve_is_recognised() {
    let machine = Machine::new();
    machine.library(BACKEND, &backend());
    // A 32-bit twin is passed over, as by the loader.
    machine.file("/opt/llama/libcudart.so.13", &tiny_elf_32());
    let answer = machine.only(BACKEND);
    assert_eq!(answer.state, DependencyState::Missing);
    assert!(answer.detail.contains("is for x86, not x86_64"), "{}", answer.detail);
    // Garbage ends the search.
    machine.file("/opt/llama/libcudart.so.13", b"\x7fELF garbage");
    assert_eq!(machine.only(BACKEND).state, DependencyState::Unusable);
    // A dangling link is named.
    let link = machine.root.path().join("opt/llama/libcudart.so.13");
    fs_err::remove_file(&link).unwrap();
    std::os::unix::fs::symlink("libcudart.so.13.0.88", &link).unwrap();
    let answer = machine.only(BACKEND);
    assert!(answer.detail.contains("is a link to a file that is not there"), "{}", answer.detail);
}

#[test]
fn another_major_version_explains() {
    let machine = Machine::new();
    machine.library(BACKEND, &backend());
    machine.file("/etc/ld.so.cache", &support::binaries::ld_cache(&[("libcudart.so.12", "/usr/lib/libcudart.so.12")]));
    assert!(machine.only(BACKEND).detail.contains("/usr/lib/libcudart.so.12 is another major version"));
}

#[test]
fn a_stub_is_no_driver() {
    let mut machine = Machine::new();
    machine.library("/opt/a.so", &TinyElf::new("a.so").needs(&["libcuda.so.1"]));
    machine.library("/usr/local/cuda/lib64/stubs/libcuda.so.1", &TinyElf::new("libcuda.so.1"));
    machine.environment.insert("LD_LIBRARY_PATH".into(), "/usr/local/cuda/lib64/stubs".into());
    let answer = machine.only("/opt/a.so");
    assert_eq!(answer.state, DependencyState::Unusable);
    assert!(answer.detail.contains("stub for linking"), "{}", answer.detail);
}

#[test]
fn a_too_old_libc_is_named() {
    let machine = Machine::new();
    let new = TinyElf { wants: vec![("libc.so.6", "GLIBC_2.38")], ..TinyElf::new("a.so").needs(&["libc.so.6"]) };
    machine.library("/opt/a.so", &new);
    machine.library(
        "/lib/x86_64-linux-gnu/libc.so.6",
        &TinyElf { provides: vec!["GLIBC_2.2.5", "GLIBC_2.36"], ..TinyElf::new("libc.so.6") },
    );
    let answer = machine.only("/opt/a.so");
    assert_eq!(answer.state, DependencyState::Unusable);
    assert_eq!(answer.detail, "libc.so.6 of this system is too old: it has no GLIBC_2.38");
}

#[test]
fn musl_serves_libc_itself_and_nothing_of_gnu() {
    let machine = Machine::new();
    machine.library("/opt/a.so", &TinyElf::new("a.so").needs(&["libc.so.6", "libstdc++.so.6"]));
    machine.library("/lib/ld-musl-x86_64.so.1", &TinyElf::new("ld-musl-x86_64.so.1"));
    let answers = machine.resolve("/opt/a.so");
    assert_eq!(answers[0].state, DependencyState::System);
    assert_eq!(answers[1].state, DependencyState::Missing);
}

/// The tool's standard output, or nothing where there is no such tool.
fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).env_remove("LD_LIBRARY_PATH").output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn the_cache_is_read_as_ldconfig_reads_it() {
    let Some(listed) = output("/sbin/ldconfig", &["-p"]) else { return };
    let expected: Vec<(String, String)> = listed
        .lines()
        .filter_map(|line| line.trim().split_once(" => "))
        .filter_map(|(name, path)| Some((name.split_once(" (")?.0.to_owned(), path.to_owned())))
        .collect();
    let found = ld_cache::read(&fs_err::read("/etc/ld.so.cache").unwrap()).unwrap();
    let found: Vec<(String, String)> = found.into_iter().map(|entry| (entry.name, entry.path)).collect();
    assert_eq!(found, expected);
}

#[test]
fn programs_resolve_as_ldd_says() {
    let host = Host::Live;
    let mut compared = 0;
    for program in ["/usr/bin/git", "/usr/bin/curl", "/usr/bin/ssh", "/usr/bin/perl", "/usr/bin/gcc", "/bin/ls"] {
        let real = fs_err::canonicalize(program).ok();
        let Some((path, listed)) = real.and_then(|path| Some((path.clone(), output("ldd", &[path.to_str()?])?))) else {
            continue;
        };
        let expected: BTreeMap<String, PathBuf> = listed
            .lines()
            .filter_map(|line| line.trim().split_once(" => "))
            .filter_map(|(name, rest)| Some((name.to_owned(), PathBuf::from(rest.split(" (").next()?))))
            .collect();
        let image = binary::read_file(&path, Depth::Links).unwrap();
        let answers = Loader::new(&host).resolve(&Loaded { path: path.clone(), image }, &[]);
        for (name, place) in &expected {
            let answer = answers.iter().find(|answer| answer.name == *name);
            let answer = answer.unwrap_or_else(|| panic!("{program}: {name} was not resolved"));
            let same = |path: &Path| fs_err::canonicalize(path).unwrap();
            assert_eq!(same(answer.path.as_deref().unwrap()), same(place), "{program}: {name}");
        }
        compared += expected.len();
    }
    assert!(compared > 0 || output("ldd", &["--version"]).is_none());
}
