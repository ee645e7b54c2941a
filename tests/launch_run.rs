//! `launch` and `launch --run` as a user runs them, with servers that fail, hang and die.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Output, Stdio};
use std::time::Duration;

use support::fake_server::{FakeServer, errors, is_running, signal, wait_until};

fn run(fake: &FakeServer, more: &[&str]) -> Output {
    fake.launch(more).output().unwrap()
}

fn start(fake: &FakeServer) -> Child {
    fake.launch(&["--run"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn scripts_are_written_and_an_edit_is_kept() {
    let fake = FakeServer::shell("exit 0");
    let output = run(&fake, &["--format", "sh,cmd,ps1", "--json"]);
    assert!(output.status.success(), "{}", errors(&output));
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["schema"], "llama-doctor/launch/1");
    assert_eq!(answer["files"].as_array().unwrap().len(), 3);
    assert_eq!(answer["files"][0]["state"], "new");
    let script = fake.path("out/qwen2.5-14b-instruct.sh");
    assert_eq!(fs_err::metadata(&script).unwrap().permissions().mode() & 0o777, 0o755);
    let mut text = fs_err::read_to_string(&script).unwrap();
    text = text.replace("-ub 512", "-ub 256");
    fs_err::write(&script, &text).unwrap();
    let output = run(&fake, &["--format", "sh,cmd"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        errors(&output).contains("was changed by hand") && errors(&output).contains("--force"),
        "{}",
        errors(&output)
    );
    assert_eq!(fs_err::read_to_string(&script).unwrap(), text);
    assert!(run(&fake, &["--force"]).status.success());
    assert!(fs_err::read_to_string(&script).unwrap().contains("-ub 512"));
}

#[test]
fn what_cannot_work_is_refused_with_the_way_out() {
    let fake = FakeServer::shell("exit 0");
    let output = run(&fake, &["--host", "0.0.0.0"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(errors(&output).contains("--api-key-file"), "{}", errors(&output));
    let output = run(&fake, &["--server", "/nowhere/llama-server"]);
    assert_eq!(output.status.code(), Some(2), "{}", errors(&output));
    fs_err::write(fake.path("plan.json"), "{}").unwrap();
    let output = run(&fake, &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(errors(&output).contains("is not a plan"));
}

#[test]
fn overrides_are_reported() {
    let fake = FakeServer::shell("exit 0");
    let output = fake.launch(&[]).env("LLAMA_ARG_CTX_SIZE", "1").output().unwrap();
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
        let output = run(&FakeServer::shell(&body), &["--run"]);
        assert_eq!(output.status.code(), Some(6), "{}", errors(&output));
        assert!(errors(&output).contains(said), "{}", errors(&output));
        assert!(errors(&output).contains("its log: "));
    }
}

#[test]
fn a_taken_port_is_named_before_anything_starts() {
    let fake = FakeServer::shell("echo started > \"${0%/*}/pid\"");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let output = run(&fake, &["--run", "--port", &port]);
    assert_eq!(output.status.code(), Some(6));
    assert!(errors(&output).contains(&format!("port {port} of 127.0.0.1 is taken")), "{}", errors(&output));
    assert!(!fake.path("pid").exists());
}

/// A server that never becomes ready, with a child of its own.
const HANGS: &str =
    "sleep 601 &\necho $! > \"${0%/*}/child\"\necho $$ > \"${0%/*}/pid\"\ntrap '' INT TERM\nwhile :; do sleep 1; done";

#[test]
fn a_hanging_server_is_killed_with_its_children() {
    for kind in ["-INT", "-TERM"] {
        let fake = FakeServer::shell(HANGS);
        let mut doctor = start(&fake);
        let pid = fake.pids("pid", 1).remove(0);
        signal(&doctor, kind);
        std::thread::sleep(Duration::from_millis(600));
        // The second signal cuts the patience short.
        signal(&doctor, kind);
        assert_eq!(doctor.wait().unwrap().code(), Some(6));
        assert!(!is_running(&pid));
        let grandchild = fs_err::read_to_string(fake.path("child")).unwrap();
        wait_until(|| !is_running(grandchild.trim()));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_server_does_not_outlive_our_crash() {
    let fake = FakeServer::shell("echo $$ > \"${0%/*}/pid\"\nexec sleep 600");
    let mut doctor = start(&fake);
    let pid = fake.pids("pid", 1).remove(0);
    signal(&doctor, "-KILL");
    doctor.wait().unwrap();
    wait_until(|| !is_running(&pid));
}
