//! Scripts, supervision and bench on a real llama-server with a real model (`.ci/fetch-server.sh`, `.ci/fetch-gemma.sh`).
//! Run with `cargo test --test field_server -- --ignored`.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]
#![expect(clippy::print_stdout, reason = "a test that is skipped says so")]
#![expect(clippy::disallowed_methods, reason = "the cache of field artifacts is named by the environment")]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use llama_doctor::fit::plan::Plan;
use llama_doctor::server::http::Caller;
use llama_doctor::server::log::LogFacts;
use llama_doctor::server::promise;
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_llama-doctor");

/// Nothing on a GPU: the real server here has none. The card is only there for the plan to name.
const ON_CPU: &[&str] = &["--gpu", "rtx-3090", "-ngl", "0", "--no-op-offload", "-c", "4096", "--offline"];

/// Ports that tests of this process took.
static TAKEN: AtomicU16 = AtomicU16::new(0);

struct Field {
    server: PathBuf,
    model: PathBuf,
    folder: tempfile::TempDir,
    port: u16,
}

impl Field {
    fn new() -> Option<Self> {
        let cache = std::env::var_os("LLAMA_DOCTOR_FIELD_CACHE")
            .map(PathBuf::from)
            .or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(".cache/llama-doctor-field")))?;
        let server = cache.join("server/bin/llama-server");
        let model = cache.join("models/gemma-3-270m-q4_k_m.gguf");
        for (path, script) in [(&server, "fetch-server.sh"), (&model, "fetch-gemma.sh")] {
            if !path.is_file() {
                println!("skipped: {} is not here; .ci/{script} brings it", path.display());
                return None;
            }
        }
        // Two neighbours, for launches of two servers; other numbers for each test of this process.
        let first = 20_000 + (std::process::id() % 30_000) as u16;
        let is_free = |port: u16| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok();
        let port = std::iter::repeat_with(|| first + 2 * TAKEN.fetch_add(1, Ordering::SeqCst))
            .find(|port| is_free(*port) && is_free(port + 1))?;
        Some(Self { server, model, folder: tempfile::tempdir().unwrap(), port })
    }

    fn doctor(&self, command: &str, models: usize, more: &[&str]) -> Command {
        let mut doctor = Command::new(PROGRAM);
        doctor.arg(command).args(vec![self.model.as_os_str(); models]).args(ON_CPU).arg("--server").arg(&self.server);
        doctor.arg("--home").arg(self.folder.path().join("home"));
        doctor.arg("--out").arg(self.folder.path()).args(["--port", &self.port.to_string()]).args(more);
        doctor
    }

    fn write(&self, models: usize, more: &[&str]) -> Value {
        let output = self.doctor("launch", models, &[more, &["--json"]].concat()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn start(&self, script: &str, more: &[&str]) -> Running {
        let log = self.folder.path().join("log");
        let out = fs_err::File::create(&log).unwrap().into_parts().0;
        let child = Command::new("sh")
            .arg(self.folder.path().join(script))
            .args(more)
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap();
        Running { child, log }
    }

    fn caller(&self, next: u16) -> Caller<'static> {
        let address = SocketAddr::from(([127, 0, 0, 1], self.port + next));
        Caller { address, limit: Duration::from_mins(3), give_up: &|| false }
    }

    fn wait_healthy(&self, next: u16, running: &mut Running) {
        let caller = Caller { limit: Duration::from_secs(2), ..self.caller(next) };
        let start = Instant::now();
        while !matches!(caller.get("/health"), Ok((200, _))) {
            assert!(running.child.try_wait().unwrap().is_none(), "{}", running.text());
            assert!(start.elapsed() < Duration::from_mins(3), "{}", running.text());
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Servers that still run with our model's folder on their command line.
    fn leftovers(&self) -> Vec<String> {
        let port = format!(" {}", self.port);
        let output = Command::new("ps").args(["-eo", "pid,args"]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().filter(|line| line.contains("llama-server") && line.contains(&port)).map(str::to_owned).collect()
    }
}

struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    fn text(&self) -> String {
        String::from_utf8_lossy(&fs_err::read(&self.log).unwrap()).into_owned()
    }

    fn signal(&mut self, name: &str) -> Option<i32> {
        Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn completion(caller: &Caller<'_>, model: &str) -> String {
    let body = json!({"model": model, "prompt": "Rivers of Europe:", "max_tokens": 8, "temperature": 0});
    caller.post_json("/v1/completions", &body).unwrap()["choices"][0]["text"].as_str().unwrap().to_owned()
}

#[test]
#[ignore = "needs the real server and model"]
fn the_script_starts_a_server_that_keeps_the_promise() {
    let Some(field) = Field::new() else { return };
    for cache_type in ["f16", "q8_0"] {
        let flags = ["-ctk", cache_type, "-ctv", cache_type];
        let mut fit = Command::new(PROGRAM);
        let output = fit.arg("fit").arg(&field.model).args(ON_CPU).args(flags).arg("--json").output().unwrap();
        let plan: Plan = serde_json::from_slice(&output.stdout).unwrap();
        let planned = &plan.options[0].servers[0];
        let answer = field.write(1, &[flags.as_slice(), &["--force"]].concat());
        assert_eq!(answer["servers"][0]["name"], "gemma-3-270m");
        let mut running = field.start("gemma-3-270m.sh", &["-lv", "4"]);
        field.wait_healthy(0, &mut running);
        assert!(!completion(&field.caller(0), "any").is_empty());
        assert_eq!(running.signal("-TERM"), Some(0), "{}", running.text());
        let facts = LogFacts::from_text(&running.text());
        let load = facts.load_of(field.model.to_str().unwrap()).unwrap();
        let promises = promise::compare(planned, load);
        assert_eq!(promises.len(), 4, "{promises:?}");
        for promise in &promises {
            // The log rounds to 0.01 MiB, once for each buffer.
            assert!(promise.difference().abs() < 30_000, "{promise:?}");
        }
        assert_eq!(promise::settings_differ(planned, &facts, load), Vec::<String>::new());
        assert_eq!(field.leftovers(), Vec::<String>::new());
    }
}

#[test]
#[ignore = "needs the real server and model"]
fn two_servers_from_one_script() {
    let Some(field) = Field::new() else { return };
    field.write(2, &["-ctk", "f16", "-ctv", "f16"]);
    let mut running = field.start("gemma-3-270m-and-gemma-3-270m-2.sh", &[]);
    field.wait_healthy(0, &mut running);
    field.wait_healthy(1, &mut running);
    assert!(!completion(&field.caller(1), "any").is_empty());
    assert_eq!(running.signal("-TERM"), Some(143), "{}", running.text());
    assert_eq!(field.leftovers(), Vec::<String>::new());
}

#[test]
#[ignore = "needs the real server and model"]
fn the_router_takes_the_preset() {
    let Some(field) = Field::new() else { return };
    field.write(1, &["--format", "preset", "-ctk", "f16", "-ctv", "f16"]);
    let mut running = field.start("gemma-3-270m-router.sh", &[]);
    field.wait_healthy(0, &mut running);
    let models = field.caller(0).get_json("/v1/models").unwrap();
    assert!(models.to_string().contains("gemma-3-270m"), "{models}");
    let start = Instant::now();
    let body = json!({"model": "gemma-3-270m", "prompt": "Rivers of Europe:", "max_tokens": 4});
    // The child that serves the model is still loading at first.
    while let Err(error) = field.caller(0).post_json("/v1/completions", &body) {
        assert!(start.elapsed() < Duration::from_mins(3), "{error}\n{}", running.text());
        std::thread::sleep(Duration::from_secs(1));
    }
    running.signal("-TERM");
}

#[test]
#[ignore = "needs the real server and model"]
fn launch_run_ends_with_ctrl_c() {
    let Some(field) = Field::new() else { return };
    let log = field.folder.path().join("doctor");
    let mut doctor = field.doctor("launch", 1, &["--run", "-ctk", "f16", "-ctv", "f16"]);
    let child =
        doctor.stdout(Stdio::null()).stderr(fs_err::File::create(&log).unwrap().into_parts().0).spawn().unwrap();
    let mut running = Running { child, log };
    let start = Instant::now();
    while !running.text().contains("Ctrl-C stops") {
        assert!(start.elapsed() < Duration::from_mins(3), "{}", running.text());
        std::thread::sleep(Duration::from_millis(200));
    }
    assert!(running.text().contains("ready after"), "{}", running.text());
    assert!(running.text().contains("+0.00 MiB"), "{}", running.text());
    assert_eq!(running.signal("-INT"), Some(0), "{}", running.text());
    assert_eq!(field.leftovers(), Vec::<String>::new());
}

#[test]
#[ignore = "needs the real server and model"]
fn bench_measures_compares_and_reports() {
    let Some(field) = Field::new() else { return };
    let report = field.folder.path().join("bench");
    let report_flag = report.to_str().unwrap();
    let flags = ["--quick", "--tokens", "8", "--json", "-ctk", "q8_0", "-ctv", "q8_0", "--report", report_flag];
    let output = field.doctor("bench", 1, &flags).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["schema"], "llama-doctor/bench/1");
    let run = &answer["runs"][0];
    assert_eq!(run["verdict"], "kept");
    assert!(run["measured"]["tokens_per_second"].as_f64().unwrap() > 0.0);
    assert!(run["measured"]["process_bytes"].as_u64().unwrap() > 200 << 20);
    assert!(run["measured"]["quality"]["agreement"].as_f64().unwrap() > 0.7, "{run}");
    assert_eq!(run["measured"]["memory"]["Host"]["context"], 27_577_549);
    for name in ["report.html", "report.md", "report.json"] {
        assert!(report.join(name).is_file());
    }
    assert_eq!(field.leftovers(), Vec::<String>::new());
    screenshot(&report.join("report.html"), &field.folder.path().join("page.png"));
}

/// Where a browser is: the page renders, and is not blank.
fn screenshot(page: &Path, image: &Path) {
    let Ok(browser) = which::which("chromium").or_else(|_| which::which("google-chrome")) else {
        println!("skipped: chromium is not here");
        return;
    };
    let status = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1000,1600"])
        .arg(format!("--screenshot={}", image.display()))
        .arg(format!("file://{}", page.display()))
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    // A blank page of this size compresses to less.
    assert!(fs_err::metadata(image).unwrap().len() > 20_000);
}
