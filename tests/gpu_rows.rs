//! What a real card's llama-server logged, predicted: `tests/gpu/h200.jsonl`, written by `tests/gpu/measure.py` on an H200.
//!
//! The log prints MiB with two decimals a buffer, so a sum of three is good to 0.02 MiB. `overhead` must not be promised too low.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic, and shows its worst row")]

use std::path::Path;

use llama_doctor::fit::overhead::Demands;
use llama_doctor::fit::settings::{CacheType, Device, FlashAttention, GpuLayers, Settings};
use llama_doctor::fit::speed::{self, Reader};
use llama_doctor::fit::{self, Build};
use llama_doctor::gguf::{Bytes as _, FileBytes, Header, Model};
use llama_doctor::units::{Bytes, ComputeCapability, MIB};

const H200: ComputeCapability = ComputeCapability::new(9, 0);
const LOG_ROUNDING_MIB: f64 = 0.02;

fn shape(name: &str) -> fit::Model {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/truth/headers")).join(name);
    let bytes = FileBytes::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let header = Header::read(&bytes).unwrap();
    fit::Model::new(&Model::join(vec![(name.to_owned(), bytes.len(), header)]).unwrap()).unwrap()
}

#[test]
fn a_real_card_allocates_what_is_predicted() {
    let rows = fs_err::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gpu/h200.jsonl")).unwrap();
    let device = Device {
        id: "CUDA0".to_owned(),
        compute_capability: H200,
        total: Bytes(143_771 * MIB),
        free: Bytes(143_000 * MIB),
        measured_overhead: None,
    };
    let mut worst = 0.0_f64;
    let mut slimmest = f64::MAX;
    for line in rows.lines() {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let kind: CacheType = row["cache_type"].as_str().unwrap().parse().unwrap();
        let model = shape(row["model"].as_str().unwrap());
        let settings = Settings {
            context: row["context"].as_u64().unwrap() as u32,
            cache_type_k: kind,
            cache_type_v: kind,
            flash_attention: FlashAttention::On,
            gpu_layers: GpuLayers::All,
            ..Settings::default()
        };
        let prediction = fit::predict(&model, &settings, std::slice::from_ref(&device), Build::NEWEST).unwrap();
        let predicted = prediction.devices[0].memory.total();
        let logged = &row["buffers_mib"]["CUDA0"];
        let measured: f64 =
            ["model", "context", "compute"].iter().map(|part| logged[part].as_f64().unwrap_or(0.0)).sum();
        let off = predicted as f64 / MIB as f64 - measured;
        assert!(off.abs() <= LOG_ROUNDING_MIB, "{line}\nis predicted {off:+.2} MiB off");
        worst = worst.max(off.abs());

        let promised: u64 =
            Demands::of(&model).of_process("CUDA0", H200, &settings, &prediction).iter().map(|part| part.bytes.0).sum();
        let process = row["process_after_generation"].as_u64().unwrap();
        let spare = (predicted + promised) as f64 / MIB as f64 - process as f64 / MIB as f64;
        assert!(spare >= 0.0, "{line}\nneeds {:.1} MiB more than was promised", -spare);
        slimmest = slimmest.min(spare);
    }
    println!(
        "{} rows; largest difference {worst:.3} MiB; least spare overhead {slimmest:.1} MiB",
        rows.lines().count()
    );
}

/// Peak bandwidth of an H200's memory, bytes a second (`manifests/gpus.toml`).
const H200_BANDWIDTH: u64 = 4_800_000_000_000;

#[test]
fn a_real_card_is_about_as_fast_as_estimated() {
    let rows = fs_err::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gpu/h200-speed.jsonl")).unwrap();
    let device = Device {
        id: "CUDA0".to_owned(),
        compute_capability: H200,
        total: Bytes(143_771 * MIB),
        free: Bytes(143_000 * MIB),
        measured_overhead: None,
    };
    let readers = [Reader { capability: H200, bandwidth: Some(H200_BANDWIDTH) }];
    for line in rows.lines() {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let name = row["model"].as_str().unwrap();
        let model = shape(name);
        // The cache held 16 tokens at first and 272 at last.
        let settings = Settings { context: 256, gpu_layers: GpuLayers::All, ..Settings::default() };
        let devices = std::slice::from_ref(&device);
        let prediction = fit::predict(&model, &settings, devices, Build::NEWEST).unwrap();
        let speed = speed::estimate(&model, &settings, devices, &readers, &prediction).unwrap();
        let decode = row["tokens_per_second"].as_f64().unwrap() / speed.decode;
        let prompt = row["prompt_tokens_per_second"].as_f64().unwrap() / speed.prompt;
        println!("{name:40} {:7.1} tokens/s, measured {decode:4.2} of it; prompts {prompt:4.2}", speed.decode);
        let (low, high) = speed.band;
        assert!((low..=high).contains(&decode), "{name} decodes {decode:.2} of its estimate");
        assert!((0.4..=2.0).contains(&prompt), "{name} reads prompts {prompt:.2} of its estimate");
    }
    assert_eq!(rows.lines().count(), 15);
}

#[test]
fn no_speed_is_estimated_where_weights_are_copied_to_the_host() {
    let model = shape("own/Mistral-Small-4-Q4_K_M.gguf");
    let device = Device {
        id: "CUDA0".to_owned(),
        compute_capability: H200,
        total: Bytes(143_771 * MIB),
        free: Bytes(143_000 * MIB),
        measured_overhead: None,
    };
    let settings = Settings { context: 4096, gpu_layers: GpuLayers::All, ..Settings::default() };
    let devices = std::slice::from_ref(&device);
    let prediction = fit::predict(&model, &settings, devices, Build::NEWEST).unwrap();
    let readers = [Reader { capability: H200, bandwidth: Some(H200_BANDWIDTH) }];
    assert_eq!(speed::estimate(&model, &settings, devices, &readers, &prediction), None);
}
