//! How long planning takes in process: a header unfolded, and every default cache type searched on one GPU.
//! The promise is 2 ms for both together.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use llama_doctor::fit::checkpoint::Limits;
use llama_doctor::fit::choice::{DEFAULT_KERNELS, pairs};
use llama_doctor::fit::need::Server;
use llama_doctor::fit::search::{Asked, Budget, Search, Wish};
use llama_doctor::fit::settings::{Device, FlashAttention, Settings};
use llama_doctor::fit::{Build, Model};
use llama_doctor::manifest::models;
use llama_doctor::units::{Bytes, ComputeCapability, MIB};

fn fit(criterion: &mut Criterion) {
    for name in ["qwen2.5-14b-instruct", "qwen2.5-72b-instruct", "qwen3-30b-a3b"] {
        let Ok(file) = models::file(name, None) else { continue };
        criterion.bench_function(&format!("{name}: read the shape"), |bencher| {
            bencher.iter(|| Model::new(black_box(&file.model)));
        });
        let Ok(model) = Model::new(&file.model) else { continue };
        let wish = Wish {
            server: Server {
                model: &model,
                settings: Settings::default(),
                draft: None,
                projector: None,
                limits: Limits::default(),
            },
            context: None,
            min_context: 0,
            weight: 1.0,
            choose_layers: false,
            choose_cpu_moe: false,
        };
        let memory = Bytes(file.model.file_bytes() + 6000 * MIB);
        let device = Device {
            id: "CUDA0".to_owned(),
            compute_capability: ComputeCapability::new(8, 6),
            total: memory,
            free: memory,
            measured_overhead: None,
        };
        let budgets = [Budget { device, usable: memory.0 }];
        criterion.bench_function(&format!("{name}: search all types"), |bencher| {
            bencher.iter(|| {
                let Ok(search) = Search::new(&[black_box(&wish)], &budgets, Build::NEWEST) else { return };
                for types in pairs(None, None, FlashAttention::Auto, DEFAULT_KERNELS) {
                    black_box(search.largest(Asked { types, beyond_training: true })).ok();
                }
            });
        });
    }
}

criterion_group!(benches, fit);
criterion_main!(benches);
