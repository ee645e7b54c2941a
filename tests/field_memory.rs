//! What a real llama-server keeps in RAM beside a plan: the draft's context, and a checkpoint of a full slot
//! (`.ci/fetch-server.sh`, `.ci/fetch-gemma.sh`). Run with `cargo test --test field_memory -- --ignored`.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]
#![expect(clippy::print_stdout, reason = "a test that is skipped says so")]
#![expect(clippy::disallowed_methods, reason = "the cache of field artifacts is named by the environment")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use llama_doctor::fit::plan::{Plan, PlanServer};
use llama_doctor::units::MIB;

struct Running {
    child: Child,
    log: PathBuf,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn artifacts() -> Option<(PathBuf, PathBuf)> {
    let cache = std::env::var_os("LLAMA_DOCTOR_FIELD_CACHE")
        .map(PathBuf::from)
        .or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(".cache/llama-doctor-field")))?;
    let (server, model) = (cache.join("server/bin/llama-server"), cache.join("models/gemma-3-270m-q4_k_m.gguf"));
    if server.is_file() && model.is_file() {
        return Some((server, model));
    }
    println!("skipped: {} or {} is not here", server.display(), model.display());
    None
}

/// A server that listens, with everything in its log.
fn start(server: &Path, arguments: &[&str]) -> Running {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let out = fs_err::File::create(&log).unwrap().into_parts().0;
    let child = Command::new(server)
        .args(arguments)
        .args(["-lv", "5", "--no-warmup", "-fit", "off", "--port", &port.to_string()])
        .stdout(out.try_clone().unwrap())
        .stderr(out)
        .spawn()
        .unwrap();
    let running = Running { child, log, port, _folder: folder };
    running.wait_for("server is listening", "listening on");
    running
}

impl Running {
    fn text(&self) -> String {
        String::from_utf8_lossy(&fs_err::read(&self.log).unwrap()).into_owned()
    }

    fn wait_for(&self, what: &str, line: &str) {
        let start = Instant::now();
        while !self.text().contains(line) {
            assert!(start.elapsed() < Duration::from_mins(3), "{what}: {}", self.text());
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn complete(&self, prompt: &str) {
        let body = serde_json::json!({ "prompt": prompt, "n_predict": 1 }).to_string();
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let head = format!(
            "POST /completion HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

fn planned(model: &Path, more: &[&str]) -> PlanServer {
    let home = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_llama-doctor"))
        .arg("fit")
        .arg(model)
        .args([
            "--gpu",
            "rtx-3090",
            "-ngl",
            "0",
            "--no-op-offload",
            "-ctk",
            "f16",
            "-ctv",
            "f16",
            "--json",
            "--offline",
        ])
        .args(more)
        .arg("--home")
        .arg(home.path())
        .output()
        .unwrap();
    let plan: Plan = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    plan.options[0].servers[0].clone()
}

/// The sizes in MiB that follow `what` in the log.
fn sizes(log: &str, what: &str) -> Vec<f64> {
    log.lines()
        .filter_map(|line| line.split_once(what)?.1.trim_start_matches([' ', '=']).split(' ').next()?.parse().ok())
        .collect()
}

#[test]
#[ignore = "needs a real server and model"]
fn a_checkpoint_of_a_full_slot() {
    let Some((server, model)) = artifacts() else { return };
    let file = model.display().to_string();
    let running = start(&server, &["-m", &file, "-c", "8192", "-np", "1"]);
    running.complete(&"The quick brown fox jumps over the lazy dog. ".repeat(200));
    running.wait_for("a second checkpoint", "context checkpoint 2 of 32");
    let checkpoints: Vec<f64> = running
        .text()
        .lines()
        .filter(|line| line.contains("created context checkpoint"))
        .filter_map(|line| line.rsplit_once("size = ")?.1.split(' ').next()?.parse().ok())
        .collect();
    let growth = planned(&model, &["-c", "8192", "-np", "1"]).host_growth;
    let most = checkpoints.iter().copied().fold(0.0, f64::max);
    assert!(
        (most - growth.checkpoint_bytes.0 as f64 / MIB as f64).abs() < 0.001,
        "{checkpoints:?}, planned {growth:?}"
    );
    assert_eq!(growth.checkpoints, 32);
}

#[test]
#[ignore = "needs a real server and model"]
fn a_draft_model_has_a_context_of_its_own() {
    let Some((server, model)) = artifacts() else { return };
    let file = model.display().to_string();
    let draft = ["-md", &file, "--spec-type", "draft-simple", "-ngld", "0", "-c", "4096"];
    let running = start(&server, &[&["-m", file.as_str()], &draft[..]].concat());
    let log = running.text();
    let server = planned(&model, &draft);
    let host = server.memory["Host"];
    let mib = |bytes: u64| bytes as f64 / MIB as f64;
    let cache: f64 = sizes(&log, "CPU KV buffer size").iter().sum();
    assert!((cache - mib(host.context.0)).abs() < 0.02, "{cache} MiB of cache, planned {}", host.context);
    let compute = sizes(&log, "CPU compute buffer size");
    assert_eq!(compute.len(), 2, "{compute:?}");
    assert!((compute.iter().sum::<f64>() - mib(host.compute.0)).abs() < 0.02, "{compute:?}, planned {}", host.compute);
    assert!(log.contains("n_outputs_max         = 16"), "four slots of one token and three drafted ones");
    assert!(server.arguments.windows(2).any(|pair| pair == ["--spec-type", "draft-simple"]), "{:?}", server.arguments);
}
