//! How long a header takes to read, and a model to plan.
#![expect(clippy::unwrap_used, reason = "a benchmark may panic")]

use std::path::Path;

use criterion::{Criterion, criterion_group, criterion_main};
use llama_doctor::fit::settings::{CacheType, Device, Settings};
use llama_doctor::fit::{self, Build};
use llama_doctor::gguf::{Bytes as _, FileBytes, Header, Model};
use llama_doctor::units::{Bytes, GIB};

fn header(name: &str) -> Model {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/truth/headers").join(name);
    let bytes = FileBytes::open(&path).unwrap();
    let header = Header::read(&bytes).unwrap();
    Model::join(vec![(name.to_owned(), bytes.len(), header)]).unwrap()
}

/// A header with a vocabulary of 260,000 tokens.
fn large_header() -> Vec<u8> {
    let mut bytes = b"GGUF\x03\0\0\0".to_vec();
    bytes.extend(0_u64.to_le_bytes());
    bytes.extend(1_u64.to_le_bytes());
    bytes.extend(3_u64.to_le_bytes());
    bytes.extend(b"tok");
    bytes.extend([9, 0, 0, 0, 8, 0, 0, 0]);
    bytes.extend(260_000_u64.to_le_bytes());
    for number in 0..260_000 {
        let token = format!("token{number}");
        bytes.extend((token.len() as u64).to_le_bytes());
        bytes.extend(token.as_bytes());
    }
    bytes
}

fn benches(criterion: &mut Criterion) {
    let large = large_header();
    criterion.bench_function("header, 260,000 tokens", |bench| bench.iter(|| Header::read(&large).unwrap()));
    let device = Device {
        id: "CUDA0".to_owned(),
        compute_capability: "8.6".parse().unwrap(),
        total: Bytes(24 * GIB),
        free: Bytes(24 * GIB),
        measured_overhead: None,
    };
    for name in
        ["Qwen2.5-14B-Instruct-Q4_K_M.gguf", "Qwen3-Next-80B-A3B-Q4_K_M.gguf", "Llama-3.3-70B-Instruct-Q4_K_M.gguf"]
    {
        let gguf = header(name);
        criterion.bench_function(&format!("model, {name}"), |bench| bench.iter(|| fit::Model::new(&gguf).unwrap()));
        let model = fit::Model::new(&gguf).unwrap();
        for cache in [CacheType::F16, CacheType::Q8_0] {
            let settings = Settings { context: 32768, cache_type_k: cache, cache_type_v: cache, ..Settings::default() };
            criterion.bench_function(&format!("predict, {name}, {cache}"), |bench| {
                bench.iter(|| fit::predict(&model, &settings, std::slice::from_ref(&device), Build::NEWEST).unwrap());
            });
        }
    }
}

criterion_group!(group, benches);
criterion_main!(group);
