//! `bench` with servers that die, talk nonsense or hang: a diagnosis, and no process left behind.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]
#![expect(clippy::print_stdout, reason = "a test that is skipped says so")]

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_llama-doctor");

/// A llama-server in Python: healthy, and then as `FAULT` says when it is asked for a completion.
const SERVER: &str = r#"#!/usr/bin/env python3
import http.server, json, os, signal, sys, time
FAULT = "@FAULT@"
open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "pid"), "w").write(str(os.getpid()) + "\n")
class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_): pass
    def answer(self, value):
        body = json.dumps(value).encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers(); self.wfile.write(body)
    def do_GET(self):
        self.answer({"status": "ok"} if self.path == "/health" else {"default_generation_settings": {"n_ctx": 4096}})
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/tokenize":
            return self.answer({"tokens": [1, 2, 3]})
        if FAULT == "die":
            print("CUDA error: out of memory", file=sys.stderr, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        if FAULT == "garbage":
            self.wfile.write(b"\x00\x01 not http")
            return
        time.sleep(600)
port = int(sys.argv[sys.argv.index("--port") + 1])
signal.signal(signal.SIGINT, lambda *_: os._exit(0))
http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
"#;

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new(fault: &str) -> Option<Self> {
        if which::which("python3").is_err() {
            println!("skipped: python3 is not here");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("model.gguf");
        fs_err::write(&model, b"GGUF").unwrap();
        let plan = include_str!("launch/qwen2.5-14b.json")
            .replace("/models/Qwen2.5-14B-Instruct-Q4_K_M.gguf", &model.display().to_string());
        fs_err::write(folder.path().join("plan.json"), plan).unwrap();
        let server = folder.path().join("llama-server");
        fs_err::write(&server, SERVER.replace("@FAULT@", fault)).unwrap();
        fs_err::set_permissions(&server, std::fs::Permissions::from_mode(0o755)).unwrap();
        Some(Self { folder })
    }

    fn command(&self) -> Command {
        let at = |name: &str| self.folder.path().join(name);
        let mut command = Command::new(PROGRAM);
        command.args(["bench", "--quick", "--no-quality", "--no-calibration", "--plan"]).arg(at("plan.json"));
        command.arg("--server").arg(at("llama-server")).arg("--report").arg(at("bench")).arg("--home").arg(at("home"));
        command
    }

    fn server_is_gone(&self) -> bool {
        let pid = fs_err::read_to_string(self.folder.path().join("pid")).unwrap();
        !Command::new("kill").args(["-0", pid.trim()]).stderr(Stdio::null()).status().unwrap().success()
    }
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_server_that_dies_is_explained() {
    let Some(place) = Place::new("die") else { return };
    let output = place.command().output().unwrap();
    assert_eq!(output.status.code(), Some(6), "{}", errors(&output));
    assert!(errors(&output).contains("ran out of VRAM while it worked"), "{}", errors(&output));
    assert!(place.server_is_gone());
}

#[test]
fn a_server_that_talks_nonsense_is_named() {
    let Some(place) = Place::new("garbage") else { return };
    let output = place.command().output().unwrap();
    assert_eq!(output.status.code(), Some(6), "{}", errors(&output));
    assert!(errors(&output).contains("/completion"), "{}", errors(&output));
    assert!(place.server_is_gone());
}

#[test]
fn ctrl_c_ends_a_bench_that_waits() {
    let Some(place) = Place::new("hang") else { return };
    let mut bench = place.command().stderr(Stdio::piped()).spawn().unwrap();
    let start = Instant::now();
    while !place.folder.path().join("pid").exists() {
        assert!(start.elapsed() < Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(50));
    }
    std::thread::sleep(Duration::from_secs(2));
    Command::new("kill").args(["-INT", &bench.id().to_string()]).status().unwrap();
    assert_eq!(bench.wait().unwrap().code(), Some(6));
    assert!(start.elapsed() < Duration::from_mins(1));
    assert!(place.server_is_gone());
}
