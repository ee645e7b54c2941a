//! `launch` and `launch --run` as a user runs them, with servers that fail, hang and die.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_llama-doctor");

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    /// A plan for a model that is here, and a llama-server with this body (a shell script).
    fn new(server: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("model.gguf");
        fs_err::write(&model, b"GGUF").unwrap();
        let plan = include_str!("launch/qwen2.5-14b.json")
            .replace("/models/Qwen2.5-14B-Instruct-Q4_K_M.gguf", &model.display().to_string());
        fs_err::write(folder.path().join("plan.json"), plan).unwrap();
        let program = folder.path().join("llama-server");
        fs_err::write(&program, format!("#!/bin/sh\n{server}\n")).unwrap();
        fs_err::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, more: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command
            .arg("launch")
            .arg("--plan")
            .arg(self.path("plan.json"))
            .arg("--server")
            .arg(self.path("llama-server"))
            .arg("--out")
            .arg(self.path("out"))
            .arg("--home")
            .arg(self.path("home"))
            .args(["--port", &free_port().to_string()])
            .args(more)
            .env_remove("LLAMA_ARG_CTX_SIZE");
        command
    }

    fn run(&self, more: &[&str]) -> Output {
        self.command(more).output().unwrap()
    }

    fn start(&self) -> Child {
        self.command(&["--run"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// The number that the fake server wrote down.
    fn server_pid(&self) -> String {
        let path = self.path("pid");
        wait_until(|| fs_err::read_to_string(&path).is_ok_and(|text| text.ends_with('\n')));
        fs_err::read_to_string(path).unwrap().trim().to_owned()
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn wait_until(mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(20), "nothing happened for 20 s");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A zombie that nobody reaped does not run either.
fn is_running(pid: &str) -> bool {
    let status = fs_err::read_to_string(Path::new("/proc").join(pid).join("stat"));
    status.is_ok_and(|text| !text.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z'))
}

fn signal(child: &Child, name: &str) {
    Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn scripts_are_written_and_an_edit_is_kept() {
    let place = Place::new("exit 0");
    let output = place.run(&["--format", "sh,cmd,ps1", "--json"]);
    assert!(output.status.success(), "{}", errors(&output));
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["schema"], "llama-doctor/launch/1");
    assert_eq!(answer["files"].as_array().unwrap().len(), 3);
    assert_eq!(answer["files"][0]["state"], "new");
    let script = place.path("out/qwen2.5-14b-instruct.sh");
    assert_eq!(fs_err::metadata(&script).unwrap().permissions().mode() & 0o777, 0o755);
    let mut text = fs_err::read_to_string(&script).unwrap();
    text = text.replace("-ub 512", "-ub 256");
    fs_err::write(&script, &text).unwrap();
    let output = place.run(&["--format", "sh,cmd"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        errors(&output).contains("was changed by hand") && errors(&output).contains("--force"),
        "{}",
        errors(&output)
    );
    assert_eq!(fs_err::read_to_string(&script).unwrap(), text);
    assert!(place.run(&["--force"]).status.success());
    assert!(fs_err::read_to_string(&script).unwrap().contains("-ub 512"));
}

#[test]
fn what_cannot_work_is_refused_with_the_way_out() {
    let place = Place::new("exit 0");
    let output = place.run(&["--host", "0.0.0.0"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(errors(&output).contains("--api-key-file"), "{}", errors(&output));
    let output = place.run(&["--server", "/nowhere/llama-server"]);
    assert_eq!(output.status.code(), Some(2), "{}", errors(&output));
    fs_err::write(place.path("plan.json"), "{}").unwrap();
    let output = place.run(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(errors(&output).contains("is not a plan"));
}

#[test]
fn overrides_are_reported() {
    let place = Place::new("exit 0");
    let output = place.command(&[]).env("LLAMA_ARG_CTX_SIZE", "1").output().unwrap();
    assert!(errors(&output).contains("LLAMA_ARG_CTX_SIZE"), "{}", errors(&output));
}

#[test]
fn a_failed_start_is_explained() {
    let oom = "allocating 9216.00 MiB on device 0: cudaMalloc failed: out of memory";
    let rows = [
        (
            format!("echo '0.00.001.002 E ggml_backend_cuda_buffer_type_alloc_buffer: {oom}' >&2; exit 1"),
            "GPU 0 has no 9216.00 MiB",
        ),
        ("echo 'error: invalid argument: --kv-unified' >&2; exit 1".to_owned(), "does not know `--kv-unified`"),
        ("echo one; echo two; kill -ABRT $$".to_owned(), "it last said:"),
        ("head -c 100000 /dev/urandom; exit 3".to_owned(), "exit status: 3"),
    ];
    for (body, said) in rows {
        let output = Place::new(&body).run(&["--run"]);
        assert_eq!(output.status.code(), Some(6), "{}", errors(&output));
        assert!(errors(&output).contains(said), "{}", errors(&output));
        assert!(errors(&output).contains("its log: "));
    }
}

#[test]
fn a_taken_port_is_named_before_anything_starts() {
    let place = Place::new("echo started > \"${0%/*}/pid\"");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let mut command = Command::new(PROGRAM);
    command.args(["launch", "--run", "--port", &port, "--plan"]).arg(place.path("plan.json"));
    let output =
        command.arg("--server").arg(place.path("llama-server")).arg("--out").arg(place.path("out")).output().unwrap();
    assert_eq!(output.status.code(), Some(6));
    assert!(errors(&output).contains(&format!("port {port} of 127.0.0.1 is taken")), "{}", errors(&output));
    assert!(!place.path("pid").exists());
}

/// A server that never becomes ready, with a child of its own.
const HANGS: &str =
    "sleep 601 &\necho $! > \"${0%/*}/child\"\necho $$ > \"${0%/*}/pid\"\ntrap '' INT TERM\nwhile :; do sleep 1; done";

#[test]
fn a_hanging_server_is_killed_with_its_children() {
    for kind in ["-INT", "-TERM"] {
        let place = Place::new(HANGS);
        let mut doctor = place.start();
        let pid = place.server_pid();
        signal(&doctor, kind);
        std::thread::sleep(Duration::from_millis(600));
        // The second signal cuts the patience short.
        signal(&doctor, kind);
        assert_eq!(doctor.wait().unwrap().code(), Some(6));
        assert!(!is_running(&pid));
        let grandchild = fs_err::read_to_string(place.path("child")).unwrap();
        wait_until(|| !is_running(grandchild.trim()));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_server_does_not_outlive_our_crash() {
    let place = Place::new("echo $$ > \"${0%/*}/pid\"\nexec sleep 600");
    let mut doctor = place.start();
    let pid = place.server_pid();
    signal(&doctor, "-KILL");
    doctor.wait().unwrap();
    wait_until(|| !is_running(&pid));
}
