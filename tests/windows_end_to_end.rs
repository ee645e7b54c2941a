//! Windows as a whole: the programs that `.ci/windows-fakes.sh` builds stand for NVIDIA's and llama.cpp's, and
//! `.ci/fetch-windows.sh` brings real builds. `.ci/windows-test.sh` prepares both and runs these tests under wine.
#![cfg(windows)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]
#![expect(clippy::disallowed_methods, reason = "the runner says in the environment where its files are")]

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use llama_doctor::fit::plan::Plan;
use llama_doctor::script::launch::Surroundings;
use llama_doctor::script::{Launch, cmd};
use support::archives::Zip;

/// Names that break careless scripts and that Windows allows. Two things wine's cmd cannot answer: it expands again what an
/// expansion brought (so no percent signs), and it knows no `chcp` (so no names beyond ASCII). The quoting of both is
/// tested against cmd's grammar in `launch_scripts.rs`.
const NASTY: &[&str] = &[
    "plain",
    "two words",
    "it's",
    "$(touch pwned) `touch pwned` $HOME ${x}",
    "^caret! & ; [a] {b} ~ #",
    "-leading --dashes",
    "(parentheses) a=b,c;d",
];

fn fakes() -> PathBuf {
    PathBuf::from(std::env::var("LLAMA_DOCTOR_WINDOWS_FAKES").unwrap())
}

/// `win-x64`, `win-x64-cuda` or `cuda`: the libraries of a real build.
fn real(name: &str) -> PathBuf {
    PathBuf::from(std::env::var("LLAMA_DOCTOR_WINDOWS_BUILDS").unwrap()).join(name)
}

/// A folder with the libraries of real builds in it.
fn together(names: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in names {
        for entry in fs_err::read_dir(real(name)).unwrap() {
            let path = entry.unwrap().path();
            let to = folder.path().join(path.file_name().unwrap());
            // Hundreds of megabytes are linked rather than copied.
            if fs_err::hard_link(&path, &to).is_err() {
                fs_err::copy(&path, &to).unwrap();
            }
        }
    }
    folder
}

fn doctor(arguments: &[&str]) -> Output {
    let home = tempfile::tempdir().unwrap();
    Command::new(env!("CARGO_BIN_EXE_llama-doctor"))
        .args(arguments)
        .args(["--color", "never"])
        .env("LLAMA_DOCTOR_HOME", home.path())
        .output()
        .unwrap()
}

fn json(arguments: &[&str]) -> serde_json::Value {
    let output = doctor(arguments);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", said(&output)))
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
#[ignore = "needs the fakes in System32"]
fn the_card_is_seen() {
    let answer = json(&["check", "--json"]);
    assert_eq!(answer["host"]["operating_system"], "windows");
    assert_eq!(answer["driver"]["version"]["value"], "581.42");
    assert_eq!(answer["gpus"][0]["id"], "CUDA0");
    assert_eq!(answer["gpus"][0]["name"], "NVIDIA GeForce RTX 3090");
    assert_eq!(answer["gpus"][0]["compute_capability"], "8.6");
    assert_eq!(answer["gpus"][0]["driver_model"]["value"], "wddm");
}

fn examined(folder: &Path) -> (serde_json::Value, serde_json::Value) {
    let answer = json(&["check", "--json", "--build", folder.to_str().unwrap()]);
    let build = answer["builds"][0].clone();
    let cuda = build["backends"].as_array().unwrap().iter().find(|backend| backend["name"] == "CUDA").cloned();
    (build, cuda.unwrap_or_default())
}

#[test]
#[ignore = "needs a real build"]
fn the_missing_library_is_named() {
    let folder = together(&["win-x64-cuda"]);
    let (_, cuda) = examined(folder.path());
    assert_eq!(cuda["state"], "blocked", "{cuda:#}");
    assert_eq!(cuda["missing"], serde_json::json!(["cublas64_13.dll"]), "{cuda:#}");
    let output = doctor(&["check", "--build", folder.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("cublas64_13.dll"), "{}", said(&output));
}

#[test]
#[ignore = "needs a real build"]
fn with_nvidias_libraries_the_chain_goes_as_far_as_the_driver() {
    let folder = together(&["win-x64-cuda", "cuda"]);
    let (build, cuda) = examined(folder.path());
    assert_eq!(cuda["missing"], serde_json::json!([]), "{cuda:#}");
    assert_eq!(cuda["runtime_major"], 13, "{cuda:#}");
    assert_eq!(cuda["per_gpu"][0]["gpu"], "CUDA0", "{cuda:#}");
    // The driver is a fake: what is above it was found.
    assert_ne!(cuda["state"], "works", "{build:#}");
}

#[test]
#[ignore = "needs a real build"]
fn the_processors_build_is_loaded_and_says_what_it_uses() {
    let folder = together(&["win-x64"]);
    let (build, _) = examined(folder.path());
    let told = build["system_info"].as_str().unwrap_or_default();
    assert!(told.contains("CPU :") && told.contains("SSE3 = 1"), "{build:#}");
}

/// A zip in the layout of the official releases, with real libraries and a server that records its arguments.
fn official_archive(folder: &Path) -> PathBuf {
    let mut zip = Zip::default();
    for entry in fs_err::read_dir(real("win-x64")).unwrap() {
        let path = entry.unwrap().path();
        // node-llama-cpp adds the version to two names.
        let name = path.file_name().unwrap().to_str().unwrap().replace(".v0.4.0", "");
        if path.extension().is_some_and(|ending| ending == "dll") && !name.starts_with("llama-common") {
            zip = zip.file(&name, fs_err::read(&path).unwrap());
        }
    }
    zip = zip.file("llama-server.exe", fs_err::read(fakes().join("record-arguments.exe")).unwrap());
    let archive = folder.join("llama-b11434-bin-win-cpu-x64.zip");
    fs_err::write(&archive, zip.bytes()).unwrap();
    archive
}

#[test]
#[ignore = "needs a real build"]
fn an_official_archive_is_installed_from_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let archive = official_archive(folder.path());
    let home = folder.path().join("home");
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_llama-doctor"));
        command.args(arguments).env("LLAMA_DOCTOR_HOME", &home).output().unwrap()
    };
    let output = run(&["install", "--offline", "--from", archive.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let output = run(&["builds", "list"]);
    assert!(said(&output).contains("b11434"), "{}", said(&output));
    // The shim runs the build's program and passes arguments and exit code.
    let shim = home.join("bin").join("llama-server.cmd");
    let output = Command::new("cmd").arg("/d").arg("/c").arg(&shim).args(["--alias", "two words"]).output().unwrap();
    assert_eq!(output.status.code(), Some(7), "{}", said(&output));
    assert_eq!(read_arguments(&home.join("builds").join("b11434-cpu")), ["--alias", "two words"]);
}

fn mark_read_only(folder: &Path) -> usize {
    let mut marked = 0;
    for entry in fs_err::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            marked += mark_read_only(&path);
        } else {
            let mut permissions = fs_err::metadata(&path).unwrap().permissions();
            permissions.set_readonly(true);
            fs_err::set_permissions(&path, permissions).unwrap();
            marked += 1;
        }
    }
    marked
}

#[test]
#[ignore = "needs a real build"]
fn files_marked_read_only_are_replaced_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let archive = official_archive(folder.path());
    mark_read_only(folder.path());
    let home = folder.path().join("home");
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_llama-doctor"));
        let output = command.args(arguments).arg("--home").arg(&home).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", said(&output));
    };
    let install = ["install", "--offline", "--from", archive.to_str().unwrap()];
    run(&install);
    assert!(mark_read_only(&home) > 10);
    // A file is gone, so the build is made anew over what is marked, and put to use.
    let library = home.join("builds").join("b11434-cpu").join("ggml-base.dll");
    let mut permissions = fs_err::metadata(&library).unwrap().permissions();
    #[expect(clippy::permissions_set_readonly_false, reason = "on Windows that is one mark, for everybody")]
    permissions.set_readonly(false);
    fs_err::set_permissions(&library, permissions).unwrap();
    fs_err::remove_file(&library).unwrap();
    run(&install);
    run(&["builds", "verify", "b11434-cpu"]);
    mark_read_only(&home);
    run(&["builds", "use", "b11434-cpu"]);
    run(&["builds", "remove", "b11434-cpu"]);
    let left: Vec<_> = fs_err::read_dir(home.join("builds")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// A `llama.dll` that tells the error mode of the program that loaded it.
#[test]
#[ignore = "needs a real build"]
fn a_build_is_loaded_where_no_dialog_can_open() {
    let folder = together(&["win-x64"]);
    for entry in fs_err::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap().starts_with("llama.") {
            fs_err::remove_file(&path).unwrap();
            fs_err::copy(fakes().join("llama.dll"), &path).unwrap();
        }
    }
    let (build, _) = examined(folder.path());
    let told = build["system_info"].as_str().unwrap_or_default();
    let mode: u32 = told.trim_start_matches("ERROR_MODE = ").parse().unwrap_or_else(|_| panic!("{build:#}"));
    // Source: SetErrorMode: SEM_FAILCRITICALERRORS, SEM_NOGPFAULTERRORBOX and SEM_NOOPENFILEERRORBOX, checked 2026-11-24.
    let no_dialogs = 0x0001 | 0x0002 | 0x8000;
    assert_eq!(mode & no_dialogs, no_dialogs, "{told}");
}

/// `.ci/windows-test.sh` packs the real DLLs as the project packs them: flat, CUDA's libraries in a zip of their own.
fn archive(name: &str) -> String {
    let folder = PathBuf::from(std::env::var("LLAMA_DOCTOR_WINDOWS_ARCHIVES").unwrap());
    folder.join(name).to_str().unwrap().to_owned()
}

#[test]
#[ignore = "needs a real build"]
fn a_cuda_release_is_installed_and_switched_while_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_llama-doctor"));
        command.args(arguments).env("LLAMA_DOCTOR_HOME", &home).output().unwrap()
    };
    let (cuda, processor) = ("b11156-cuda-13.4", "b11156-cpu");
    let build = archive("llama-b11156-bin-win-cuda-13.4-x64.zip");
    let runtime = archive("cudart-llama-bin-win-cuda-13.4-x64.zip");
    let output = run(&["install", "--offline", "--from", &build, &runtime]);
    let installed = home.join("builds").join(cuda);
    for name in ["llama-server.exe", "ggml-cuda.dll", "cudart64_13.dll", "cublas64_13.dll", "cublasLt64_13.dll"] {
        assert!(installed.join(name).is_file(), "{name}: {}", said(&output));
    }
    // The driver is a fake: what CUDA's own library makes of it decides whether the proof holds, and no missing DLL.
    assert!(!said(&output).contains("missing") && !said(&output).contains("is in none of"), "{}", said(&output));
    if output.status.code() != Some(0) {
        assert_eq!(output.status.code(), Some(3), "{}", said(&output));
        assert!(said(&output).contains("was not put to use: CUDA: "), "{}", said(&output));
        let output = run(&["builds", "use", cuda, "--force"]);
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    }
    let current = || fs_err::read_to_string(home.join("current")).unwrap().trim().to_owned();
    assert_eq!(current(), cuda);

    let mut server = Command::new(installed.join("llama-server.exe")).arg("--hold").spawn().unwrap();
    while !installed.join("arguments").is_file() {
        std::thread::sleep(Duration::from_millis(50));
    }
    let output = run(&["install", "--offline", "--from", &archive("llama-b11156-bin-win-cpu-x64.zip")]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(current(), processor);
    assert!(server.try_wait().unwrap().is_none(), "the old build goes on");
    // Windows keeps a running program's files: the build goes as a whole, or not at all.
    let output = run(&["builds", "remove", cuda]);
    match output.status.code() {
        Some(0) => assert!(!installed.exists()),
        _ => assert!(installed.join("llama-doctor.json").is_file(), "{}", said(&output)),
    }
    server.kill().unwrap();
    server.wait().unwrap();
    if installed.exists() {
        // What the server wrote is no part of the build, and is named.
        fs_err::remove_file(installed.join("arguments")).unwrap();
        assert_eq!(run(&["builds", "verify", cuda]).status.code(), Some(0));
        assert_eq!(run(&["builds", "rollback"]).status.code(), Some(0));
        assert_eq!(current(), cuda);
        assert_eq!(run(&["builds", "remove", processor]).status.code(), Some(0));
    }
    let output = run(&["builds", "list", "--json"]);
    let list: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(list["builds"].as_array().unwrap().len(), 1, "{list:#}");
}

#[test]
#[ignore = "runs with the others"]
fn a_plan_is_made_and_written_as_cmd() {
    let answer = json(&["fit", "--json", "qwen2.5-3b-instruct"]);
    assert_eq!(answer["devices"][0]["origin"], "nvml", "{answer:#}");
    let recommended = &answer["options"][answer["recommended"].as_u64().unwrap() as usize];
    assert_eq!(recommended["fits"], true, "{answer:#}");
    let folder = tempfile::tempdir().unwrap();
    let (plan, out) = (folder.path().join("plan.json"), folder.path().join("launch"));
    fs_err::write(&plan, answer.to_string()).unwrap();
    let server = folder.path().join("llama-server.exe");
    fs_err::copy(fakes().join("record-arguments.exe"), &server).unwrap();
    let (plan, out, server) = (plan.to_str().unwrap(), out.to_str().unwrap(), server.to_str().unwrap());
    let output = doctor(&["launch", "--plan", plan, "--server", server, "--format", "cmd,ps1", "--out", out]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let names: Vec<_> = fs_err::read_dir(out).unwrap().map(|entry| entry.unwrap().path()).collect();
    let script = names.iter().find(|path| path.extension().is_some_and(|ending| ending == "cmd"));
    // Run as written, it starts the server with the plan's own arguments.
    let output = Command::new("cmd").arg("/d").arg("/c").arg(script.unwrap()).arg("--no-check").output().unwrap();
    assert_eq!(output.status.code(), Some(7), "{}", said(&output));
    let arguments = read_arguments(folder.path());
    for words in [["-c", "32768"], ["-ctk", "f16"], ["--port", "8080"]] {
        assert!(arguments.windows(2).any(|pair| pair == words), "{words:?}: {arguments:?}");
    }
}

#[test]
#[ignore = "runs with the others"]
fn a_plan_is_shown_to_people() {
    let output = doctor(&["fit", "qwen2.5-14b-instruct", "--offline"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    for words in ["RTX 3090: 24.0 GiB", "Recommended:", "llama-doctor launch qwen2.5-14b-instruct"] {
        assert!(said(&output).contains(words), "{words}: {}", said(&output));
    }
}

/// What a person sees in a console of this code page, and the exit code.
fn in_console(code_page: &str, event: &str, command: &mut Command) -> (String, Option<i32>) {
    let screen = tempfile::NamedTempFile::new().unwrap().into_temp_path();
    let mut console = Command::new(fakes().join("console.exe"));
    console.arg(code_page).arg(&screen).arg(event).arg(command.get_program()).args(command.get_args());
    console.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = console.output().unwrap();
    (fs_err::read_to_string(&screen).unwrap_or_else(|_| panic!("{}", said(&output))), output.status.code())
}

#[test]
#[ignore = "needs the console program"]
fn a_console_shows_every_character_whatever_its_code_page() {
    for code_page in ["437", "850", "1252", "65001"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_llama-doctor"));
        command.args(["inspect", r"C:\Modelle\Größe 模型 €.gguf", "--color", "never"]);
        let (screen, code) = in_console(code_page, "none", &mut command);
        assert_eq!(code, Some(2), "{screen}");
        assert!(screen.contains("Größe 模型 €.gguf"), "{code_page}: {screen}");
    }
}

#[test]
#[ignore = "needs the console program"]
fn without_colours_a_console_gets_no_escape_sequences() {
    for arguments in
        [["--help", "--color", "never"], ["check", "--color", "never"], ["launch", "--help", "--color=never"]]
    {
        let mut command = Command::new(env!("CARGO_BIN_EXE_llama-doctor"));
        let (screen, _) = in_console("1252", "none", command.args(arguments));
        assert!(screen.trim().len() > 200, "{arguments:?}: {screen}");
        assert!(!screen.contains('\u{1b}'), "{arguments:?}: {screen}");
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_llama-doctor"));
    let (screen, _) = in_console("1252", "none", command.arg("--help").env("NO_COLOR", "1"));
    assert!(!screen.contains('\u{1b}'), "{screen}");
}

/// `launch --run` with a server that never becomes ready and never ends.
struct Staying {
    folder: tempfile::TempDir,
}

impl Staying {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs_err::copy(fakes().join("record-arguments.exe"), folder.path().join("llama-server.exe")).unwrap();
        let model = folder.path().join("model.gguf");
        fs_err::write(&model, b"GGUF").unwrap();
        let mut plan: Plan = serde_json::from_str(include_str!("launch/qwen2.5-14b.json")).unwrap();
        plan.options[0].servers[0].arguments[1] = model.to_str().unwrap().to_owned();
        fs_err::write(folder.path().join("plan.json"), serde_json::to_string(&plan).unwrap()).unwrap();
        Self { folder }
    }

    fn command(&self) -> Command {
        let at = |name: &str| self.folder.path().join(name);
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
        let mut command = Command::new(env!("CARGO_BIN_EXE_llama-doctor"));
        command.args(["launch", "--run", "--color", "never", "--port", &port, "--plan"]).arg(at("plan.json"));
        command.arg("--server").arg(at("llama-server.exe")).arg("--out").arg(at("out")).arg("--home").arg(at("home"));
        command.env("RECORD_AND_STAY", "1");
        command
    }

    fn process(&self) -> PathBuf {
        self.folder.path().join("process")
    }

    fn wait_until_it_runs(&self) {
        for _ in 0..600 {
            if fs_err::read_to_string(self.process()).is_ok_and(|text| text.ends_with('\n')) {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("the server did not start");
    }

    /// A program that runs cannot be written to.
    fn is_gone(&self) -> bool {
        let program = self.folder.path().join("llama-server.exe");
        (0..100).any(|tries| {
            std::thread::sleep(Duration::from_millis(if tries == 0 { 0 } else { 100 }));
            fs_err::OpenOptions::new().write(true).open(&program).is_ok()
        })
    }
}

#[test]
#[ignore = "needs the recording program"]
fn no_server_outlives_us_however_we_end() {
    let staying = Staying::new();
    let mut doctor = staying.command().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    staying.wait_until_it_runs();
    let program = staying.folder.path().join("llama-server.exe");
    assert!(fs_err::OpenOptions::new().write(true).open(program).is_err(), "the server does not run");
    // TerminateProcess: no handler of ours runs.
    doctor.kill().unwrap();
    doctor.wait().unwrap();
    assert!(staying.is_gone());
}

#[test]
#[ignore = "needs the console program"]
fn ctrl_c_stops_the_server_and_then_us() {
    // Wine refuses to send Ctrl-Break to a group; the handler is the same.
    let staying = Staying::new();
    let event = format!("c={}", staying.process().display());
    let (screen, code) = in_console("1252", &event, &mut staying.command());
    assert_eq!(code, Some(6), "{screen}");
    assert!(screen.contains("stopped by the user"), "{screen}");
    assert!(staying.is_gone());
}

#[test]
#[ignore = "needs a real build"]
fn odd_folders_are_usable() {
    let folder = tempfile::tempdir().unwrap();
    let archive = official_archive(folder.path());
    // The last makes paths of more than 260 characters, for which Windows and wine have other functions.
    let long = format!(r"{0}\{0}\{0}\{0}", "a long name ".repeat(5).trim());
    for name in ["&(two) 50% ^", "ünïcode 模型", &long] {
        let home = folder.path().join(name);
        let run = |arguments: &[&str]| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_llama-doctor"));
            command.args(arguments).arg("--home").arg(&home).output().unwrap()
        };
        let output = run(&["install", "--offline", "--from", archive.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(0), "{}: {}", home.display(), said(&output));
        let output = run(&["builds", "verify", "b11434-cpu"]);
        assert_eq!(output.status.code(), Some(0), "{}: {}", home.display(), said(&output));
    }
}

#[test]
#[ignore = "runs with the others"]
fn drives_and_shares_are_paths_and_never_repositories() {
    let folder = tempfile::tempdir().unwrap();
    for model in [
        r"C:\no\model.gguf",
        "C:/no/model.gguf",
        "C:model.gguf",
        r"\\no-such-host\share\model.gguf",
        r"\\?\C:\no\model.gguf",
    ] {
        let output = doctor(&["fit", model, "--offline", "--gpu", "rtx-3090"]);
        assert_eq!(output.status.code(), Some(2), "{model}: {}", said(&output));
        assert!(said(&output).contains(&format!("`{model}` is not on this machine")), "{model}: {}", said(&output));
    }
    let output = doctor(&["builds", "list", "--home", r"\\no-such-host\share"]);
    assert!(matches!(output.status.code(), Some(0 | 3)), "{}", said(&output));
    // A model that is called like a device gets a script that is not.
    let mut plan: Plan = serde_json::from_str(include_str!("launch/qwen2.5-14b.json")).unwrap();
    plan.models[0].name = "con".to_owned();
    plan.options[0].servers[0].arguments[1] = r"C:\models\con.gguf".to_owned();
    let file = folder.path().join("plan.json");
    fs_err::write(&file, serde_json::to_string(&plan).unwrap()).unwrap();
    let out = folder.path().join("out");
    let words = ["launch", "--format", "cmd,ps1,sh", "--plan", file.to_str().unwrap(), "--out", out.to_str().unwrap()];
    let output = doctor(&words);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    for entry in fs_err::read_dir(&out).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert_eq!(llama_doctor::host::file_names::unusable_on_windows(&name), None, "{name}");
    }
}

#[test]
#[ignore = "runs with the others"]
fn facts_of_windows_are_read_by_hand() {
    let answer = json(&["check", "--json"]);
    let host = &answer["host"];
    assert!(host["distribution"]["value"].as_str().unwrap().starts_with("Windows 1"), "{host:#}");
    let windows = &host["windows"];
    for fact in ["visual_cpp_runtime", "long_paths", "developer_mode", "smart_app_control", "commit_limit"] {
        assert!(windows.get(fact).is_some(), "{fact}: {windows:#}");
    }
    assert!(host["memory_total"]["value"].as_u64().unwrap() > 1 << 30, "{host:#}");
}

/// A launch whose server writes down its arguments and answers 7.
struct Machine {
    folder: tempfile::TempDir,
    plan: Plan,
}

impl Machine {
    fn new(model_name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs_err::copy(fakes().join("record-arguments.exe"), folder.path().join("llama server.exe")).unwrap();
        let model = folder.path().join(model_name);
        fs_err::write(&model, b"GGUF").unwrap();
        let mut plan: Plan = serde_json::from_str(include_str!("launch/qwen2.5-14b.json")).unwrap();
        plan.models[0].file_bytes.0 = 4;
        plan.options[0].servers[0].arguments[1] = model.to_str().unwrap().to_owned();
        Self { folder, plan }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let server = self.folder.path().join("llama server.exe").to_str().unwrap().to_owned();
        let launch = Launch::from_plan(&self.plan, 0, &Surroundings { server, ..Surroundings::default() }).unwrap();
        let script = cmd::script(&launch).unwrap().write(self.folder.path(), true).unwrap().0;
        Command::new("cmd").arg("/d").arg("/c").arg(script).args(arguments).output().unwrap()
    }

    fn arguments(&self) -> Vec<String> {
        read_arguments(self.folder.path())
    }
}

fn read_arguments(folder: &Path) -> Vec<String> {
    let text = fs_err::read_to_string(folder.join("arguments")).unwrap();
    text.split_terminator('\0').map(str::to_owned).collect()
}

#[test]
#[ignore = "needs the recording program"]
fn every_argument_arrives_through_cmd() {
    for name in NASTY {
        let machine = Machine::new(name);
        let output = machine.run(&["--no-check", "--alias", "mine"]);
        assert_eq!(output.status.code(), Some(7), "{name}: {}", said(&output));
        let mut expected = machine.plan.options[0].servers[0].arguments.clone();
        expected.extend(["--alias".to_owned(), "mine".to_owned()]);
        assert_eq!(machine.arguments(), expected, "{name}");
    }
}

#[test]
#[ignore = "needs the recording program"]
fn a_missing_or_changed_model_is_named_by_the_script() {
    let machine = Machine::new("model (1).gguf");
    let model = machine.folder.path().join("model (1).gguf");
    let output = machine.run(&[]);
    assert_eq!(output.status.code(), Some(7), "{}", said(&output));
    fs_err::write(&model, b"GGUF and more").unwrap();
    let output = machine.run(&[]);
    assert_eq!(output.status.code(), Some(5), "{}", said(&output));
    assert!(said(&output).contains("has 13 bytes, and 4 were planned for"), "{}", said(&output));
    fs_err::remove_file(&model).unwrap();
    let output = machine.run(&[]);
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    assert!(said(&output).contains("is missing"), "{}", said(&output));
}
