//! A build that crashes, hangs or cannot be loaded is told as such, with the step it happened in.
//!
//! The libraries are written in C here and compiled with `cc`; without one the tests say so and pass.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test helper may stop the test")]
#![allow(clippy::print_stderr, reason = "a skipped test says why")]

mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use llama_doctor::build::examine::{Machinery, examine};
use llama_doctor::build::prove::prove;
use llama_doctor::build::verdict::Driver;
use llama_doctor::build::{BackendState, Build};
use llama_doctor::host::Host;
use llama_doctor::probe::{self, Outcome, ProbeReport, Wanted};
use support::llama::{BASE, GGML, LLAMA, compile};

/// Builds a llama.cpp of these parts, and runs it.
fn probed(memory: &[&str], cuda: &str, cuda_flags: &[&str], limit: Duration) -> Option<(Build, ProbeReport)> {
    let folder = tempfile::tempdir().unwrap();
    let ok = compile(folder.path(), "libggml-base.so", BASE, memory)
        && compile(folder.path(), "libggml.so", GGML, &[])
        && compile(folder.path(), "libllama.so", LLAMA, &[])
        && compile(folder.path(), "libggml-cuda.so", cuda, cuda_flags);
    if !ok {
        return None;
    }
    let machinery = Machinery { host: &Host::Live, gpus: &[], driver: Driver::default(), processor: &[] };
    let mut build = examine(folder.path(), &machinery).unwrap();
    let wanted = Wanted { deadline: limit, model: None };
    let report = probe::run_with(Path::new(env!("CARGO_BIN_EXE_llama-doctor")), &build, &wanted);
    prove(&mut build, &report, &machinery);
    Some((build, report))
}

const LONG: Duration = Duration::from_mins(1);

#[test]
fn a_good_build_lists_its_device() {
    let Some((build, report)) = probed(&[], "int x;", &[], LONG) else { return };
    assert_eq!(report.outcome, Outcome::Finished);
    assert_eq!(report.log, ["hello from ggml"]);
    assert_eq!(build.system_info.as_deref(), Some("CUDA : ARCHS = 860 | "));
    assert_eq!((build.devices[0].name.as_str(), build.devices[0].total_bytes), ("CUDA0", 2 << 20));
    assert_eq!(build.backend("CUDA").unwrap().api_version, Some(3));
}

#[test]
fn the_loaders_own_words_are_kept() {
    let Some((build, report)) = probed(&[], "extern int nowhere; int *x(void) { return &nowhere; }", &[], LONG) else {
        return;
    };
    assert_eq!(report.outcome, Outcome::Finished);
    let cuda = build.backend("CUDA").unwrap();
    assert_eq!(cuda.state, BackendState::Blocked);
    assert!(cuda.reason.contains("undefined symbol: nowhere"), "{}", cuda.reason);
}

#[test]
fn a_crash_tells_its_step() {
    let crash = "__attribute__((constructor)) static void die(void) { *(volatile int *)0 = 1; }";
    let Some((build, report)) = probed(&[], crash, &[], LONG) else { return };
    let expected = Outcome::Crashed {
        with: "signal 11 (segmentation fault)".to_owned(),
        during: "loading libggml-cuda.so".to_owned(),
    };
    assert_eq!(report.outcome, expected);
    let cuda = build.backend("CUDA").unwrap();
    assert_eq!(cuda.state, BackendState::Blocked);
    assert_eq!(cuda.reason, "the process died of signal 11 (segmentation fault) while loading libggml-cuda.so");
}

#[test]
fn a_crash_on_the_card_itself_is_no_working_card() {
    let Some((build, report)) = probed(&["-DMEMORY=__builtin_trap()"], "int x;", &[], LONG) else { return };
    assert!(matches!(&report.outcome, Outcome::Crashed { during, .. } if during == "asking CUDA0 for its memory"));
    assert_eq!(build.backend("CUDA").unwrap().state, BackendState::Blocked);
}

#[test]
fn a_hang_ends_at_the_deadline() {
    let start = Instant::now();
    let hang = "#include <unistd.h>\n__attribute__((constructor)) static void hang(void) { for (;;) sleep(100); }";
    let Some((build, report)) = probed(&[], hang, &[], Duration::from_secs(2)) else { return };
    assert_eq!(report.outcome, Outcome::TimedOut { during: "loading libggml-cuda.so".to_owned() });
    assert_eq!(build.backend("CUDA").unwrap().state, BackendState::Blocked);
    assert!(start.elapsed() < Duration::from_secs(40));
}
