//! Offloading to a device that is not the processor: the real server with its Vulkan backend on Mesa's software device
//! (`.ci/fetch-vulkan.sh`). Each buffer that was promised is compared with what the server says that it took.
//! Run with `cargo test --test field_vulkan -- --ignored`.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]
#![expect(clippy::print_stdout, reason = "a test that is skipped says so")]

mod support;

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use support::gguf::Gguf;

/// Mesa's compiler takes minutes for the matrix products of larger micro-batches, and does not finish flash attention.
const SMALL: &[&str] = &["-c", "512", "-np", "1", "-ub", "8", "-b", "8", "-fa", "off"];

fn bench(server: &Path, model: &Path, folder: &Path, more: &[&str]) -> Value {
    let mut doctor = Command::new(env!("CARGO_BIN_EXE_llama-doctor"));
    doctor.arg("bench").arg(model).arg("--server").arg(server).arg("--home").arg(folder.join("home"));
    doctor.args(["--gpu", "software:2GiB:8.6", "--offline", "--json", "--quick", "--tokens", "8", "--no-quality"]);
    doctor.args(SMALL).args(more).arg("--report").arg(folder.join("bench"));
    // The backend passes processors over unless they are named, and the compiled shaders are for the next time.
    doctor.env("GGML_VK_VISIBLE_DEVICES", "0").env("MESA_SHADER_CACHE_DIR", server.with_file_name("../shaders"));
    let output = doctor.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}\n{}", String::from_utf8_lossy(&output.stdout));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn bytes(promise: &Value, what: &str) -> u64 {
    promise[what].as_u64().unwrap()
}

#[test]
#[ignore = "needs the real server, its Vulkan backend and a Vulkan device"]
fn each_promised_buffer_is_on_the_device() {
    let Some(server) = support::field::artifact("vulkan/bin/llama-server") else { return };
    if !Path::new("/usr/share/vulkan/icd.d/lvp_icd.x86_64.json").exists() {
        println!("skipped: Mesa's software device is not here; .ci/fetch-vulkan.sh brings it");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("tiny.gguf");
    fs_err::write(&model, Gguf::runnable_llama().file()).unwrap();
    let all = ["-ngl", "99", "-ctk", "f16", "-ctv", "f16"];
    let two = ["-ngl", "2", "-ctk", "q8_0", "-ctv", "f16"];
    for (flags, layers) in [(all, "5 of 5"), (two, "2 of 5")] {
        let answer = bench(&server, &model, folder.path(), &flags);
        let run = &answer["runs"][0];
        assert_eq!(run["verdict"], "kept", "{run:#}");
        assert!(run["measured"]["tokens_per_second"].as_f64().unwrap() > 0.0);
        let settings = run["settings"].as_array().unwrap();
        let offloaded = settings.iter().find(|setting| setting["what"] == "layers on GPUs").unwrap();
        assert_eq!(offloaded["real"], layers);
        let promises = run["promises"].as_array().unwrap();
        let parts = |device: &str| promises.iter().filter(|promise| promise["device"] == device).count();
        assert_eq!(parts("CUDA0"), 3, "{promises:#?}");
        for promise in promises {
            let (promised, measured) = (bytes(promise, "promised_bytes"), bytes(promise, "measured_bytes"));
            // Of a part of the layers, Vulkan cuts the graph elsewhere than CUDA does: that is within the band.
            let exact = promise["part"] != "compute" || layers == "5 of 5";
            assert!(!exact || promised.abs_diff(measured) < 30_000, "{promise}");
        }
        let log =
            fs_err::read_to_string(folder.path().join(format!("bench/logs-A/{}.log", run["name"].as_str().unwrap())))
                .unwrap();
        assert!(log.contains("Vulkan0 model buffer size") && log.contains("Vulkan0 KV buffer size"), "{log}");
    }
}
