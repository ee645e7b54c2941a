//! One cache for everybody, with the real programs: what `pull` wrote is read by the Python hub and by llama-server, and
//! what the Python hub wrote is taken over. The hub itself is `hub.py` on loopback.
//!
//! `.ci/fetch-gemma.sh` and `.ci/fetch-hf-client.sh` fetch what is needed; without it a test says so and passes.
#![allow(clippy::unwrap_used, reason = "a test helper may stop the test")]
#![allow(clippy::print_stderr, reason = "a skipped test says why")]

use std::io::BufRead as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use llama_doctor::host::Host;
use serde_json::Value;

const REPOSITORY: &str = "ggml-org/gemma-3-270m-GGUF";
const FILE: &str = "gemma-3-270m-q4_k_m.gguf";

fn cached(name: &str) -> Option<PathBuf> {
    let home = Host::Live.home()?;
    let cache = Host::Live.variable("LLAMA_DOCTOR_FIELD_CACHE").map(PathBuf::from);
    let path = cache.unwrap_or_else(|| home.join(".cache/llama-doctor-field")).join(name);
    if !path.exists() {
        eprintln!("skipped: {} is not there; see .ci/fetch-*.sh", path.display());
        return None;
    }
    Some(path)
}

/// The loopback hub, stopped when dropped.
struct Hub {
    process: Child,
    endpoint: String,
    home: tempfile::TempDir,
}

impl Hub {
    fn start(model: &Path) -> Self {
        // A port that was free a moment ago.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/field/hub.py");
        let mut process = Command::new("python3")
            .arg(script)
            .args([&port.to_string(), REPOSITORY])
            .arg(model)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        std::io::BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line.trim(), "ready");
        Self { process, endpoint: format!("http://127.0.0.1:{port}"), home: tempfile::tempdir().unwrap() }
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env("HF_ENDPOINT", &self.endpoint)
            .env("HF_HOME", self.home.path().join("hf"))
            .env("LLAMA_DOCTOR_HOME", self.home.path().join("doctor"))
            .env("HF_HUB_DISABLE_TELEMETRY", "1");
        command
    }

    fn pull(&self) -> Value {
        let ours = env!("CARGO_BIN_EXE_llama-doctor");
        let output = self.command(ours).args(["--json", "pull", REPOSITORY]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
#[ignore = "needs artifacts"]
fn the_python_hub_reads_what_we_wrote() {
    let (Some(model), Some(hf)) = (cached(&format!("models/{FILE}")), cached("hf-client/bin/hf")) else { return };
    let hub = Hub::start(&model);
    hub.pull();
    for arguments in [&["download", REPOSITORY, FILE][..], &["download", REPOSITORY]] {
        let output = hub.command(&hf).env("HF_HUB_OFFLINE", "1").args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let output = hub.command(&hf).args(["cache", "verify", REPOSITORY]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
#[ignore = "needs artifacts"]
fn we_take_over_what_the_python_hub_wrote() {
    let (Some(model), Some(hf)) = (cached(&format!("models/{FILE}")), cached("hf-client/bin/hf")) else { return };
    let hub = Hub::start(&model);
    let output = hub.command(&hf).args(["download", REPOSITORY, FILE]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let pulled = hub.pull();
    assert_eq!(pulled["models"][0]["files"][0]["fetched_bytes"], 0);
    let ours = env!("CARGO_BIN_EXE_llama-doctor");
    let output = hub.command(ours).args(["models", "remove", REPOSITORY]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "what hf brought is not ours to remove");
}

/// With llama.cpp's own program where one is: `server/bin/llama-server` in the field cache.
#[test]
#[ignore = "needs artifacts"]
fn llama_server_finds_what_we_wrote() {
    let (Some(model), Some(server)) = (cached(&format!("models/{FILE}")), cached("server/bin/llama-server")) else {
        return;
    };
    let hub = Hub::start(&model);
    hub.pull();
    let mut child = hub
        .command(server)
        .args(["--offline", "-hf", REPOSITORY, "--port", "0", "-c", "256", "--no-warmup"])
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let lines = std::io::BufReader::new(child.stderr.take().unwrap()).lines();
    let is_loaded = lines.map_while(Result::ok).any(|line| line.contains("model loaded"));
    let _ = child.kill();
    let _ = child.wait();
    assert!(is_loaded);
}
