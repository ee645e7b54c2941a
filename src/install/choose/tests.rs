//! The rule, over the names of real releases.

use super::*;
use crate::host::facts::{Fact, Facts, Origin};
use crate::manifest::gpus::simulated;

fn release(tag: &str, names: &[&str]) -> Release {
    let artifact =
        |name: &&str| Artifact { name: name.replace("TAG", tag), url: String::new(), size: Some(1), sha256: None };
    Release { tag: tag.to_owned(), artifacts: names.iter().map(artifact).collect(), unfinished: Vec::new() }
}

/// b11434's files for x64, and the arm64 ones that matter.
fn today() -> Release {
    release(
        "b11434",
        &[
            "cudart-llama-TAG-bin-ubuntu-cuda-12.8-x64.tar.gz",
            "cudart-llama-TAG-bin-ubuntu-cuda-13.4-arm64.tar.gz",
            "cudart-llama-TAG-bin-ubuntu-cuda-13.4-x64.tar.gz",
            "cudart-llama-bin-win-cuda-12.4-x64.zip",
            "cudart-llama-bin-win-cuda-13.4-x64.zip",
            "llama-TAG-bin-ubuntu-cuda-12.8-x64.tar.gz",
            "llama-TAG-bin-ubuntu-cuda-13.4-arm64.tar.gz",
            "llama-TAG-bin-ubuntu-cuda-13.4-x64.tar.gz",
            "llama-TAG-bin-ubuntu-rocm-10.0-x64.tar.gz",
            "llama-TAG-bin-ubuntu-vulkan-arm64.tar.gz",
            "llama-TAG-bin-ubuntu-vulkan-x64.tar.gz",
            "llama-TAG-bin-ubuntu-x64.tar.gz",
            "llama-TAG-bin-ubuntu-arm64.tar.gz",
            "llama-TAG-bin-win-cpu-x64.zip",
            "llama-TAG-bin-win-cuda-12.4-x64.zip",
            "llama-TAG-bin-win-cuda-13.4-x64.zip",
            "llama-TAG-bin-win-vulkan-x64.zip",
            "llama-TAG-ui.tar.gz",
        ],
    )
}

fn machine(card: &str, driver: &str, libc: &str) -> Machine {
    let mut facts = Facts::default();
    facts.host.architecture = "x86_64".to_owned();
    if libc == "windows" {
        facts.host.operating_system = OperatingSystem::Windows;
    } else {
        facts.host.libc = Fact::known(libc.to_owned(), Origin::OperatingSystem);
    }
    if !driver.is_empty() {
        facts.driver.version = Fact::known(driver.parse().unwrap(), Origin::Nvml);
    }
    let gpus = if card.is_empty() { Vec::new() } else { vec![simulated(card, 0).unwrap()] };
    Machine::new(&facts, gpus)
}

fn chosen(card: &str, driver: &str, libc: &str) -> String {
    choose(&today(), Wanted::Auto, &machine(card, driver, libc))
        .map_or_else(|error| error.to_string(), |choice| choice.backend)
}

#[test]
fn each_card_gets_what_runs_natively_and_else_what_its_driver_compiles() {
    let glibc = "glibc 2.39";
    for (card, driver, expected) in [
        // Native in both: the newest that the driver runs.
        ("rtx-3090", "570.124.06", "cuda-12.8"),
        ("rtx-3090", "580.65.06", "cuda-13.4"),
        ("rtx-4090", "580.65.06", "cuda-13.4"),
        ("rtx-5090", "570.124.06", "cuda-12.8"),
        ("rtx-5090", "560.35.03", "vulkan"),
        ("rtx-5090", "580.65.06", "cuda-13.4"),
        // Never native: 13.4 only with a driver of 13.4.
        ("rtx-2080-ti", "580.65.06", "cuda-12.8"),
        ("tesla-t4", "610.43.02", "cuda-12.8"),
        ("tesla-t4", "616.00", "cuda-13.4"),
        ("h100-pcie", "580.65.06", "cuda-12.8"),
        // CUDA 13 dropped Pascal.
        ("gtx-1080-ti", "580.65.06", "cuda-12.8"),
        // Compressed code needs 550, PTX 8.7 needs 570.
        ("rtx-3090", "535.104.05", "vulkan"),
        ("rtx-3090", "550.54.15", "cuda-12.8"),
        ("gtx-1080-ti", "550.54.15", "vulkan"),
    ] {
        assert_eq!(chosen(card, driver, glibc), expected, "{card} with {driver}");
    }
}

#[test]
fn windows_has_its_own_toolkits() {
    assert_eq!(chosen("rtx-3090", "551.61", "windows"), "cuda-12.4");
    assert_eq!(chosen("rtx-3090", "580.88", "windows"), "cuda-12.4", "the table knows no Windows driver of 13.0");
    assert_eq!(chosen("rtx-5090", "572.61", "windows"), "cuda-12.4");
    // Not compressed: an old driver is enough where the code is native.
    assert_eq!(chosen("rtx-3090", "528.33", "windows"), "cuda-12.4");
    assert_eq!(chosen("gtx-1080-ti", "528.33", "windows"), "vulkan");
}

#[test]
fn an_old_c_library_is_named_with_its_ways_out() {
    let machine = machine("rtx-3090", "580.65.06", "glibc 2.36");
    let choice = choose(&today(), Wanted::Auto, &machine).unwrap();
    assert_eq!(choice.backend, "vulkan");
    let row = choice.rejected.iter().find(|row| row.name.contains("cuda-12.8")).unwrap();
    assert_eq!(row.why, "needs glibc 2.39, and this system has glibc 2.36");
    let ways = choice.warnings.join("\n");
    assert!(
        ways.contains("conda-forge") && ways.contains("ARCHITECTURES=86") && ways.contains("image needs glibc"),
        "{ways}"
    );
    let error = chosen("rtx-3090", "580.65.06", "glibc 2.31");
    assert!(error.contains("needs glibc 2.35"), "{error}");
    assert!(chosen("rtx-3090", "580.65.06", "musl 1.2").contains("has musl"));
}

#[test]
fn an_old_cpp_library_is_named_before_the_download() {
    let with = |libstdcxx: &str| {
        let machine = machine("rtx-3090", "580.65.06", "glibc 2.39");
        Machine { libstdcxx: Some(libstdcxx.to_owned()), ..machine }
    };
    assert_eq!(choose(&today(), Wanted::Auto, &with("3.4.33")).unwrap().backend, "cuda-13.4");
    let choice = choose(&today(), Wanted::Auto, &with("3.4.30")).unwrap();
    assert_eq!(choice.backend, "vulkan");
    let row = choice.rejected.iter().find(|row| row.name.contains("cuda-12.8")).unwrap();
    assert_eq!(row.why, "needs libstdc++ with GLIBCXX_3.4.32, and the loader finds one up to GLIBCXX_3.4.30");
    assert!(choice.warnings.join(" ").contains("an image needs libstdc++"), "{:?}", choice.warnings);
    assert!(choose_image(Wanted::Auto, &with("3.4.30")).is_err());
    let asked = choose(&today(), Wanted::CudaMajor(12), &with("3.4.30")).unwrap();
    assert!(asked.warnings[0].contains("GLIBCXX_3.4.32"), "{:?}", asked.warnings);
    for old in ["3.4.29", "none"] {
        let error = choose(&today(), Wanted::Auto, &with(old)).unwrap_err().to_string();
        assert!(error.contains("needs libstdc++"), "{error}");
    }
}

/// A machine recorded by `check --save`, and what is chosen for it.
#[test]
fn recorded_machines_get_what_their_libraries_allow() {
    for (recorded, backend, why) in [
        (include_str!("../../../tests/machines/debian-12.json"), "vulkan", "needs glibc 2.39"),
        (
            include_str!("../../../tests/machines/conda-old-libstdcxx.json"),
            "vulkan",
            "needs libstdc++ with GLIBCXX_3.4.32",
        ),
        (include_str!("../../../tests/machines/healthy-linux-desktop.json"), "cuda-13.4", "is of a newer toolkit"),
    ] {
        let facts: Facts = serde_json::from_str(recorded).unwrap();
        let machine = Machine::new(&facts, facts.gpus.clone());
        let choice = choose(&today(), Wanted::Auto, &machine).unwrap();
        assert_eq!(choice.backend, backend, "{:?}", choice.reason);
        let row = choice.rejected.iter().find(|row| row.name.contains("cuda-12.8")).unwrap();
        assert!(row.why.contains(why), "{}", row.why);
    }
}

#[test]
fn without_a_gpu_the_cpu_computes_and_without_a_driver_the_modest_build_wins() {
    assert_eq!(chosen("", "", "glibc 2.39"), "cpu");
    let choice = choose(&today(), Wanted::Auto, &machine("rtx-3090", "", "glibc 2.39")).unwrap();
    assert_eq!(choice.backend, "cuda-12.8");
    assert!(choice.reason[0].contains("none was found"), "{:?}", choice.reason);
}

#[test]
fn an_asked_for_backend_is_taken_with_a_warning() {
    let machine = machine("gtx-1080-ti", "580.65.06", "glibc 2.39");
    let choice = choose(&today(), Wanted::CudaMajor(13), &machine).unwrap();
    assert_eq!(choice.backend, "cuda-13.4");
    assert!(choice.warnings[0].contains("CUDA 13 dropped Pascal"), "{:?}", choice.warnings);
    let choice = choose(&today(), Wanted::Cpu, &machine).unwrap();
    assert_eq!(choice.warnings, ["`--backend cpu` was asked for; without it cuda-12.8 would be installed"]);
}

#[test]
fn the_runtime_is_of_the_same_toolkit() {
    let choice = choose(&today(), Wanted::Auto, &machine("rtx-3090", "570.124.06", "glibc 2.39")).unwrap();
    assert_eq!(choice.runtime.unwrap().name, "cudart-llama-b11434-bin-ubuntu-cuda-12.8-x64.tar.gz");
    let choice = choose(&today(), Wanted::Auto, &machine("rtx-3090", "551.61", "windows")).unwrap();
    assert_eq!(choice.runtime.unwrap().name, "cudart-llama-bin-win-cuda-12.4-x64.zip");
}

#[test]
fn before_september_2026_linux_had_no_cuda() {
    let old = release("b10353", &["llama-TAG-bin-ubuntu-x64.tar.gz", "llama-TAG-bin-ubuntu-vulkan-x64.tar.gz"]);
    let machine = machine("rtx-3090", "580.65.06", "glibc 2.39");
    let choice = choose(&old, Wanted::Auto, &machine).unwrap();
    assert_eq!(choice.backend, "vulkan");
    assert!(choice.reason.iter().any(|reason| reason.contains("has no CUDA build")), "{:?}", choice.reason);
    assert!(choice.warnings.iter().any(|way| way.contains("--container")), "{:?}", choice.warnings);
    assert!(choose(&old, Wanted::Cuda, &machine).is_err());
    assert!(!is_complete(&old, Wanted::Auto, &machine));
    assert!(is_complete(&today(), Wanted::Auto, &machine));
}

#[test]
fn a_file_on_its_way_makes_a_release_incomplete() {
    let machine = machine("rtx-3090", "580.65.06", "glibc 2.39");
    let mut half = today();
    let at = half
        .artifacts
        .iter()
        .position(|artifact| artifact.name.starts_with("cudart") && artifact.name.contains("12.8"))
        .unwrap();
    half.artifacts.remove(at);
    assert!(!is_complete(&half, Wanted::Auto, &machine));
    assert!(is_complete(&half, Wanted::Cpu, &machine));
}
