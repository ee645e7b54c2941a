//! `check --fix` and `--undo`, run for real: a store is made, damaged, mended, found clean, and put back byte for byte.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test helper may stop the test")]
#![allow(clippy::print_stderr, reason = "a skipped test says why")]

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use support::archives::Tar;
use support::binaries::Fatbin;
use support::github::Github;
use support::llama::{BASE, GGML, LLAMA, compile};

const TODAY: &str = include_str!("releases/b11434.json");
const BUILD: &str = "llama-b11434-bin-ubuntu-cuda-12.8-x64.tar.gz";
const COMPANION: &str = "cudart-llama-b11434-bin-ubuntu-cuda-12.8-x64.tar.gz";
const ID: &str = "b11434-cuda-12.8";

/// A user with a working CUDA build in the store. None where no C compiler is.
struct User {
    folder: tempfile::TempDir,
    github: Github,
}

impl User {
    fn new() -> Option<Self> {
        if !cfg!(target_arch = "x86_64") {
            eprintln!("skipped: the release's archives are for x86-64");
            return None;
        }
        let user = Self { folder: tempfile::tempdir().unwrap(), github: Github::start() };
        let (build, companion) = user.archives()?;
        user.github.add(TODAY, &[(BUILD, build), (COMPANION, companion)]);
        let output = user.run(&["install", "b11434", "--backend", "cuda-12", "--gpu", "rtx-3090"]);
        assert!(output.status.success(), "{}", talk(&output));
        Some(user)
    }

    /// The build, linked with CUDA's libraries of the companion, which lie beside it when it is whole.
    fn archives(&self) -> Option<(Vec<u8>, Vec<u8>)> {
        let folder = self.folder.path().join("made");
        fs_err::create_dir_all(&folder).unwrap();
        let runtime = ["libcudart.so.12", "libcublas.so.12", "libcublasLt.so.12"];
        for name in runtime {
            let soname = format!("-Wl,-soname,{name}");
            if !compile(&folder, name, "int x;", &[&soname]) {
                return None;
            }
        }
        let linked: Vec<String> = runtime.iter().map(|name| format!("-l:{name}")).collect();
        let place = format!("-L{}", folder.display());
        let mut flags = vec!["-Wl,-rpath,$ORIGIN", "-Wl,--no-as-needed", &place];
        flags.extend(linked.iter().map(String::as_str));
        let parts = [("libggml-base.so.0.26.0", BASE, &["-Wl,-soname,libggml-base.so.0"][..])];
        let others = [("libggml.so", GGML, &[][..]), ("libllama.so", LLAMA, &[])];
        // What `nvcc` puts into a library: code for a GPU, in a section of its own.
        let code = Fatbin::new().sass(86, false, false).ptx(90, (8, 7)).bytes();
        let listed: Vec<String> = code.iter().map(ToString::to_string).collect();
        let listed = listed.join(",");
        let with_code =
            format!("__attribute__((section(\".nv_fatbin\"), used)) const unsigned char code[] = {{{listed}}};");
        let cuda = [("libggml-cuda.so", with_code.as_str(), &flags[..]), ("libggml-cpu.so", "int z;", &[])];
        for (name, source, flags) in parts.into_iter().chain(others).chain(cuda) {
            assert!(compile(&folder, name, source, flags));
        }
        let read = |name: &str| fs_err::read(folder.join(name)).unwrap();
        let mut build = Tar::default().program("llama-b11434/llama-server", fs_err::read("/bin/true").unwrap());
        for name in ["libggml-base.so.0.26.0", "libggml.so", "libllama.so", "libggml-cuda.so", "libggml-cpu.so"] {
            build = build.file(format!("llama-b11434/{name}"), read(name));
        }
        build = build.link("llama-b11434/libggml-base.so.0", "libggml-base.so.0.26.0");
        let companion = runtime.iter().fold(Tar::default(), |tar, name| tar.file(name, read(name)));
        Some((build.gz(), companion.gz()))
    }

    fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    fn build(&self) -> PathBuf {
        self.home().join("builds").join(ID)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_llama-doctor"));
        command.args(arguments).env_clear().env("HOME", self.folder.path()).env("LLAMA_DOCTOR_HOME", self.home());
        command.env("LLAMA_DOCTOR_GITHUB_URL", self.github.web.url(""));
        command.env("LLAMA_DOCTOR_GITHUB_API_URL", self.github.web.url(""));
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// `check` for a card, so that nothing is moot, of what `only` names. Its problems by id.
    fn check(&self, only: &str, more: &[&str]) -> Vec<String> {
        let mut arguments = vec!["check", "--json", "--gpu", "rtx-3090", "--only", only];
        arguments.extend(more);
        let output = self.run(&arguments);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let answer: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}{}", talk(&output)));
        let findings = answer["findings"].as_array().unwrap();
        let bad = findings.iter().filter(|finding| ["warn", "fail"].contains(&finding["status"].as_str().unwrap()));
        bad.map(|finding| finding["id"].as_str().unwrap().to_owned()).collect()
    }

    /// Every file of the store with its content, every link with its target; locks and downloads do not count.
    fn state(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        let mut waiting = vec![self.home()];
        while let Some(folder) = waiting.pop() {
            for entry in fs_err::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(self.home()).unwrap().to_owned();
                if name == Path::new("lock") || name.starts_with("cache/archives") || name.starts_with("cache/github") {
                    continue;
                }
                let kind = fs_err::symlink_metadata(&path).unwrap().file_type();
                if kind.is_symlink() {
                    found.insert(name, fs_err::read_link(&path).unwrap().to_string_lossy().into_owned().into_bytes());
                } else if kind.is_dir() {
                    waiting.push(path);
                } else {
                    found.insert(name, fs_err::read(&path).unwrap());
                }
            }
        }
        found
    }

    /// The whole round: `damage` shows as `finding`, `--fix` mends it, `check` is clean, `--undo` brings the damage back.
    fn round(&self, only: &str, finding: &str, damage: impl FnOnce(&Self)) {
        assert_eq!(self.check(only, &[]), Vec::<String>::new(), "clean before the damage");
        damage(self);
        let damaged = self.state();
        assert!(self.check(only, &[]).contains(&finding.to_owned()), "{:?}", self.check(only, &[]));
        let output = self.run(&["check", "--gpu", "rtx-3090", "--only", only, "--fix", "--yes"]);
        assert!(talk(&output).contains("next: ") && talk(&output).contains("done: "), "{}", talk(&output));
        assert!(talk(&output).contains("check --undo"), "{}", talk(&output));
        assert_ne!(self.state(), damaged);
        assert_eq!(self.check(only, &[]), Vec::<String>::new(), "clean after the repair");
        assert_eq!(self.run(&["builds", "verify", ID]).status.code(), Some(0));
        let output = self.run(&["check", "--gpu", "rtx-3090", "--only", only, "--undo"]);
        assert_eq!(self.state(), damaged, "byte for byte: {}", talk(&output));
        assert!(self.check(only, &[]).contains(&finding.to_owned()));
    }
}

fn talk(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn companion_libraries_that_were_removed_come_back() {
    let Some(user) = User::new() else { return };
    user.round("builds", "cuda-runtime-present", |user| {
        for name in ["libcublas.so.12", "libcublasLt.so.12"] {
            fs_err::remove_file(user.build().join(name)).unwrap();
        }
    });
    // The archive was in the cache: the release was asked for once more, its file was not.
    let fetched = user.github.files.requests().iter().filter(|request| request.path.contains("cudart")).count();
    assert_eq!(fetched, 1);
}

#[test]
fn companion_libraries_that_never_were_there_come() {
    let Some(user) = User::new() else { return };
    let only_build = user.folder.path().join(BUILD);
    fs_err::write(&only_build, &*user.github.state.lock().unwrap().files[BUILD]).unwrap();
    let from = only_build.to_str().unwrap();
    user.run(&["install", "--from", from, "--offline", "--gpu", "rtx-3090"]);
    assert!(!user.build().join("libcublas.so.12").exists());
    let before = user.state();
    let output = user.run(&["check", "--gpu", "rtx-3090", "--only", "builds", "--fix", "--yes"]);
    assert_eq!(output.status.code(), Some(0), "{}", talk(&output));
    assert_eq!(user.check("builds", &[]), Vec::<String>::new());
    user.run(&["check", "--undo"]);
    assert_eq!(user.state(), before);
}

#[test]
fn a_release_without_companion_is_told() {
    let Some(user) = User::new() else { return };
    for release in &mut user.github.state.lock().unwrap().releases {
        release["assets"].as_array_mut().unwrap().retain(|asset| !asset["name"].as_str().unwrap().contains("cudart"));
    }
    fs_err::remove_dir_all(user.home().join("cache")).unwrap();
    fs_err::remove_file(user.build().join("libcublas.so.12")).unwrap();
    let before = user.state();
    let output = user.run(&["check", "--gpu", "rtx-3090", "--only", "builds", "--fix", "--yes"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(talk(&output).contains("has no archive of CUDA's libraries"), "{}", talk(&output));
    assert_eq!(user.state(), before);
}

#[test]
fn lost_and_dangling_links_are_made_anew() {
    let Some(user) = User::new() else { return };
    let link = user.build().join("libggml-base.so.0");
    user.round("builds", "build-files-consistent", |_| fs_err::remove_file(&link).unwrap());
    fs_err::remove_file(&link).ok();
    fs_err::os::unix::fs::symlink("libggml-base.so.0.26.0", &link).unwrap();
    user.round("builds", "build-files-consistent", |_| {
        fs_err::remove_file(&link).unwrap();
        fs_err::os::unix::fs::symlink("libggml-base.so.0.25.0", &link).unwrap();
    });
}

#[test]
fn an_abandoned_download_is_set_aside() {
    let Some(user) = User::new() else { return };
    let part = user.home().join("cache/models/model.gguf.part");
    user.round("no-stale-downloads", "no-stale-downloads", |_| {
        fs_err::create_dir_all(part.parent().unwrap()).unwrap();
        fs_err::write(&part, "half of a model").unwrap();
        let old = std::time::SystemTime::now() - std::time::Duration::from_secs(200_000);
        fs_err::File::options().write(true).open(&part).unwrap().file().set_modified(old).unwrap();
    });
    assert_eq!(fs_err::read_to_string(&part).unwrap(), "half of a model");
}

#[test]
fn a_build_that_works_takes_the_place_of_one_that_does_not() {
    let Some(user) = User::new() else { return };
    // A second CUDA build whose backend is no library any more, in use by force.
    let second = user.home().join("builds/b11000-cuda-12.8");
    let status = Command::new("cp").arg("-a").arg(user.build()).arg(&second).status().unwrap();
    assert!(status.success());
    let receipt = fs_err::read_to_string(second.join("llama-doctor.json")).unwrap().replace("b11434", "b11000");
    fs_err::write(second.join("llama-doctor.json"), receipt).unwrap();
    let backend = second.join("libggml-cuda.so");
    let size = fs_err::metadata(&backend).unwrap().len();
    let mut broken = fs_err::read(user.build().join("libggml.so")).unwrap();
    broken.resize(size as usize, 0);
    fs_err::write(&backend, broken).unwrap();
    assert_eq!(user.run(&["builds", "use", "b11000-cuda-12.8", "--force"]).status.code(), Some(0));
    let current = || fs_err::read_link(user.home().join("current")).unwrap();
    assert!(current().ends_with("b11000-cuda-12.8"));
    let before = user.state();
    let output = user.run(&["check", "--gpu", "rtx-3090", "--only", "builds", "--fix", "--yes"]);
    assert!(talk(&output).contains("use b11434-cuda-12.8, which works"), "{}", talk(&output));
    assert!(current().ends_with(ID));
    user.run(&["check", "--undo"]);
    assert_eq!(user.state(), before, "the memory of activations included");
}

#[test]
fn nothing_is_done_unasked() {
    let Some(user) = User::new() else { return };
    fs_err::remove_file(user.build().join("libggml-base.so.0")).unwrap();
    let before = user.state();
    // Without a terminal nobody can be asked.
    let output = user.run(&["check", "--gpu", "rtx-3090", "--only", "builds", "--fix"]);
    assert!(talk(&output).contains("would make the link"), "{}", talk(&output));
    assert_eq!(user.state(), before);
    // `script` gives the program a terminal; what a person types comes through it.
    let typed = |answer: &str| {
        let program = format!("{} check --gpu rtx-3090 --only builds --fix", env!("CARGO_BIN_EXE_llama-doctor"));
        let line = format!("printf '{answer}\\n' | script --quiet --echo never --command '{program}' /dev/null");
        let mut command = user.command(&[]);
        let mut shell = Command::new("sh");
        shell.args(["-c", &line]).env_clear().env("PATH", "/usr/bin:/bin");
        shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.arg("--version");
        String::from_utf8_lossy(&shell.output().unwrap().stdout).into_owned()
    };
    if !Path::new("/usr/bin/script").exists() {
        eprintln!("skipped: no `script` to make a terminal with");
        return;
    }
    let no = typed("n");
    assert!(no.contains("[y/N]"), "{no}");
    assert_eq!(user.state(), before, "{no}");
    let yes = typed("y");
    assert!(yes.contains("done: make the link"), "{yes}");
    assert_ne!(user.state(), before);
    user.run(&["check", "--undo"]);
    assert_eq!(user.state(), before);
}

#[test]
fn a_recorded_machine_is_not_mended() {
    let machine = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/machines/links-lost.json");
    let home = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_llama-doctor"))
        .args(["check", "--facts", machine, "--fix", "--yes", "--home"])
        .arg(home.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", talk(&output));
    let undo = Command::new(env!("CARGO_BIN_EXE_llama-doctor"))
        .args(["check", "--undo", "--home"])
        .arg(home.path())
        .output()
        .unwrap();
    assert!(talk(&undo).contains("nothing that could be taken back"), "{}", talk(&undo));
}
