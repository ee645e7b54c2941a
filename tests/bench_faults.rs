//! `bench` with servers that die, talk nonsense, hang or are slow: a diagnosis in bounded time, and no process left behind.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::fake_server::{FakeServer, errors, signal, wait_until};

#[test]
fn a_server_that_dies_is_explained() {
    let Some(fake) = FakeServer::python("die") else { return };
    let output = fake.bench(&["--no-quality"]).output().unwrap();
    assert_eq!(output.status.code(), Some(6), "{}", errors(&output));
    assert!(errors(&output).contains("ran out of VRAM while it worked"), "{}", errors(&output));
    assert!(fake.running().is_empty());
}

#[test]
fn a_server_that_talks_nonsense_is_named() {
    let Some(fake) = FakeServer::python("garbage") else { return };
    let output = fake.bench(&["--no-quality"]).output().unwrap();
    assert_eq!(output.status.code(), Some(6), "{}", errors(&output));
    assert!(errors(&output).contains("/completion"), "{}", errors(&output));
    assert!(fake.running().is_empty());
}

#[test]
fn a_server_that_hangs_costs_no_more_than_the_time_limit() {
    let Some(fake) = FakeServer::python("hang") else { return };
    let start = Instant::now();
    let output = fake.bench(&["--no-quality", "--time-limit", "0.1", "--json"]).output().unwrap();
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    assert_eq!(output.status.code(), Some(6), "{}", errors(&output));
    assert!(errors(&output).contains("the time was up") && errors(&output).contains("--time-limit"));
    // Its memory was compared all the same.
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["runs"][0]["verdict"], "kept", "{answer}");
    assert_eq!(answer["runs"][0]["measured"]["skipped"][0], "speed, and memory at work: the time was up");
    assert!(fake.path("bench/report.html").is_file());
    assert!(fake.running().is_empty());
}

#[test]
fn a_server_that_never_becomes_ready_costs_no_more_either() {
    let Some(fake) = FakeServer::python("loading") else { return };
    let start = Instant::now();
    let output = fake.bench(&["--time-limit", "0.1"]).output().unwrap();
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    assert_eq!(output.status.code(), Some(6), "{}", errors(&output));
    assert!(errors(&output).contains("was not ready after"), "{}", errors(&output));
    assert!(fake.running().is_empty());
}

#[test]
fn a_slow_sweep_reports_what_it_measured_in_its_time() {
    let Some(fake) = FakeServer::python("slow") else { return };
    fake.plan_options(&["f16", "q8_0", "q4_0"]);
    let start = Instant::now();
    let output = fake.bench(&["--sweep", "--time-limit", "0.5"]).output().unwrap();
    assert!(start.elapsed() < Duration::from_mins(1), "{:?}", start.elapsed());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{text}\n{}", errors(&output));
    // Three requests of a second each time the first; the comparison of 48 places and the needle takes longer than there is.
    assert!(text.contains("cut short, the time was up") || text.contains("likeness to f16: the time was up"), "{text}");
    assert!(text.contains("\nA ") && text.contains("50.0"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80 || line.contains('/')), "{text}");
    let report: Value = serde_json::from_slice(&fs_err::read(fake.path("bench/report.json")).unwrap()).unwrap();
    let left_out = report["not_measured"].as_array().map_or(0, Vec::len);
    assert_eq!(report["runs"].as_array().unwrap().len() + left_out, 3, "{report}");
    assert!(fake.running().is_empty());
}

#[test]
fn a_crash_costs_one_configuration_of_a_sweep_and_not_the_others() {
    let Some(fake) = FakeServer::python("slow") else { return };
    fake.plan_options(&["f16", "q8_0"]);
    let server = fs_err::read_to_string(fake.path("llama-server")).unwrap();
    let server = server.replace("time.sleep(1)\n", "if value(\"-ctk\") == \"q8_0\": os.abort()\n");
    fs_err::write(fake.path("llama-server"), server).unwrap();
    let output = fake.bench(&["--sweep", "--no-quality", "--json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(6), "{}", errors(&output));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["runs"][0]["verdict"], "kept");
    assert_eq!(answer["not_measured"][0]["config"], "B");
    assert!(answer["not_measured"][0]["why"].as_str().unwrap().contains("ended with"), "{answer}");
    assert!(fake.running().is_empty());
}

/// When a signal comes: before the server is ready, during a measurement, during a later configuration of a sweep.
const MOMENTS: [(&str, usize); 3] = [("loading", 1), ("hang", 1), ("slow", 2)];

#[cfg(target_os = "linux")]
#[test]
fn no_signal_leaves_a_server_behind() {
    for (fault, servers) in MOMENTS {
        for kind in ["-INT", "-TERM", "-HUP", "-KILL"] {
            let Some(fake) = FakeServer::python(fault) else { return };
            fake.plan_options(&["f16", "q4_0"]);
            let mut command = fake.bench(&["--sweep", "--no-quality"]);
            let mut doctor = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            fake.pids("pids", servers);
            std::thread::sleep(Duration::from_millis(700));
            let start = Instant::now();
            signal(&doctor, kind);
            let code = doctor.wait().unwrap().code();
            assert_eq!(code, if kind == "-KILL" { None } else { Some(6) }, "{fault} {kind}");
            assert!(start.elapsed() < Duration::from_secs(10), "{fault} {kind}: {:?}", start.elapsed());
            wait_until(|| fake.running().is_empty());
            // What was measured before is kept.
            assert_eq!(fake.path("bench/report.md").is_file(), servers > 1 && kind != "-KILL", "{fault} {kind}");
        }
    }
}

#[test]
fn a_server_that_hears_no_signal_is_killed() {
    let Some(fake) = FakeServer::python("deaf") else { return };
    let mut command = fake.bench(&["--no-quality"]);
    let mut doctor = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    fake.pids("pids", 1);
    std::thread::sleep(Duration::from_millis(700));
    signal(&doctor, "-TERM");
    std::thread::sleep(Duration::from_millis(700));
    // The second signal cuts the patience short.
    signal(&doctor, "-TERM");
    assert_eq!(doctor.wait().unwrap().code(), Some(6));
    wait_until(|| fake.running().is_empty());
}
