//! Programs that pass for llama-server, a plan that starts them, and the `llama-doctor` that does.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_llama-doctor");
const PLAN: &str = include_str!("../launch/qwen2.5-14b.json");
const MODEL: &str = "/models/Qwen2.5-14B-Instruct-Q4_K_M.gguf";

/// A llama-server in Python that tells the buffers of the plan beside it, and behaves as its fault says:
/// `die`, `garbage` and `hang` when a completion is asked for, `slow` with a second for each completion, `loading` = never
/// ready, `deaf` = hangs, and hears no signal. Each start adds a line to `pids`.
const PYTHON: &str = r#"#!/usr/bin/env python3
import http.server, json, os, signal, sys, time
FAULT, HERE = "@FAULT@", os.path.dirname(os.path.abspath(__file__))
value = lambda flag: sys.argv[sys.argv.index(flag) + 1]
signal.signal(signal.SIGINT, signal.SIG_IGN if FAULT == "deaf" else lambda *_: os._exit(0))
if FAULT == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
with open(os.path.join(HERE, "pids"), "a") as file:
    file.write(f"{os.getpid()}\n")

def tell(line):
    print("0.00.000.001 I " + line, file=sys.stderr, flush=True)
for option in json.load(open(os.path.join(HERE, "plan.json")))["options"]:
    server = option["servers"][0]
    if server["cache_type_k"] == value("-ctk"):
        for device, parts in server["memory"].items():
            device = "CPU_Mapped" if device == "Host" else device
            for part, name in (("model", "load_tensors: %s model"), ("context", "llama_kv_cache: %s KV"), ("compute", "sched_reserve: %s compute")):
                if parts[part]:
                    tell(f"{name % device} buffer size = {parts[part] / 2**20:.2f} MiB")

class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_): pass
    def answer(self, value, status=200):
        body = json.dumps(value).encode()
        self.send_response(status); self.send_header("Content-Length", str(len(body))); self.end_headers(); self.wfile.write(body)
    def do_GET(self):
        if FAULT == "loading":
            return self.answer({"error": {"message": "Loading model"}}, 503)
        self.answer({"status": "ok"} if self.path == "/health" else {"default_generation_settings": {"n_ctx": 4096}})
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/tokenize":
            return self.answer({"tokens": [1, 2, 3]})
        if FAULT == "die":
            print("CUDA error: out of memory", file=sys.stderr, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        if FAULT == "garbage":
            self.wfile.write(b"\x00\x01 not http")
            return
        if FAULT in ("hang", "deaf"):
            time.sleep(600)
        time.sleep(1)
        count = asked["n_predict"]
        row = {"id": 7, "top_logprobs": [{"id": 7, "logprob": -0.1}, {"id": 8, "logprob": -3.0}]}
        timings = {"predicted_per_second": 50.0, "predicted_n": count, "prompt_per_second": 900.0, "prompt_ms": 12.0}
        self.answer({"content": " word", "timings": timings, "completion_probabilities": [row] * count})
http.server.ThreadingHTTPServer(("127.0.0.1", int(value("--port"))), Handler).serve_forever()
"#;

/// A folder with a model, a plan for it and a server. Deleted with this.
pub struct FakeServer {
    folder: tempfile::TempDir,
}

impl FakeServer {
    /// With a shell script of this body.
    pub fn shell(body: &str) -> Self {
        Self::new(&format!("#!/bin/sh\n{body}\n"))
    }

    /// With a Python program of this fault, where Python is.
    pub fn python(fault: &str) -> Option<Self> {
        if which::which("python3").is_err() {
            skip();
            return None;
        }
        Some(Self::new(&PYTHON.replace("@FAULT@", fault)))
    }

    fn new(program: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let fake = Self { folder };
        fs_err::write(fake.path("model.gguf"), b"GGUF").unwrap();
        fs_err::write(fake.path("plan.json"), PLAN.replace(MODEL, &fake.path("model.gguf").display().to_string()))
            .unwrap();
        fs_err::write(fake.path("llama-server"), program).unwrap();
        fs_err::set_permissions(fake.path("llama-server"), std::fs::Permissions::from_mode(0o755)).unwrap();
        fake
    }

    /// The plan's option once for each of these cache types.
    pub fn plan_options(&self, cache_types: &[&str]) {
        let mut plan: Value = serde_json::from_str(&fs_err::read_to_string(self.path("plan.json")).unwrap()).unwrap();
        let option = plan["options"][0].clone();
        let with = |cache_type: &&str| {
            let text = option.to_string().replace("\"q8_0\"", &format!("\"{cache_type}\""));
            serde_json::from_str::<Value>(&text).unwrap()
        };
        plan["options"] = cache_types.iter().map(with).collect();
        fs_err::write(self.path("plan.json"), plan.to_string()).unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `llama-doctor launch` of the plan.
    pub fn launch(&self, more: &[&str]) -> Command {
        let mut command = self.doctor("launch", more);
        command.arg("--out").arg(self.path("out")).env_remove("LLAMA_ARG_CTX_SIZE");
        if !more.contains(&"--port") {
            command.args(["--port", &free_port().to_string()]);
        }
        command
    }

    /// `llama-doctor bench` of the plan, in its short form.
    pub fn bench(&self, more: &[&str]) -> Command {
        let mut command = self.doctor("bench", more);
        command.args(["--quick", "--no-calibration", "--report"]).arg(self.path("bench"));
        command
    }

    fn doctor(&self, subcommand: &str, more: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.arg(subcommand).arg("--plan").arg(self.path("plan.json")).arg("--server");
        command.arg(self.path("llama-server")).arg("--home").arg(self.path("home")).args(more);
        command
    }

    /// The processes that wrote their number into this file, once there are so many.
    pub fn pids(&self, file: &str, count: usize) -> Vec<String> {
        let read = || fs_err::read_to_string(self.path(file)).unwrap_or_default();
        wait_until(|| read().matches('\n').count() >= count);
        read().lines().map(str::to_owned).collect()
    }

    /// The servers that were started so far and run still.
    pub fn running(&self) -> Vec<String> {
        let started = fs_err::read_to_string(self.path("pids")).unwrap_or_default();
        started.lines().filter(|pid| is_running(pid)).map(str::to_owned).collect()
    }
}

pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

pub fn wait_until(mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(30), "nothing happened for 30 s");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A zombie that nobody reaped does not run either.
pub fn is_running(pid: &str) -> bool {
    if !cfg!(target_os = "linux") {
        return Command::new("kill").args(["-0", pid]).stderr(Stdio::null()).status().unwrap().success();
    }
    let status = fs_err::read_to_string(Path::new("/proc").join(pid).join("stat"));
    status.is_ok_and(|text| !text.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z'))
}

/// `-INT`, `-KILL`, …
pub fn signal(child: &Child, name: &str) {
    Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
}

pub fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[expect(clippy::print_stderr, reason = "a skipped test says why")]
fn skip() {
    eprintln!("skipped: python3 is not here");
}
