//! How long the doctor takes: to look at this machine without its builds, and to judge a recorded one.
//! The promise is 150 ms for both together; asking NVML alone is the yardstick.

use std::hint::black_box;
use std::path::Path;

use criterion::{Criterion, criterion_group, criterion_main};
use llama_doctor::check::Selection;
use llama_doctor::check::machine::Diagnosis;
use llama_doctor::host::Host;
use llama_doctor::host::facts::Facts;

fn check(criterion: &mut Criterion) {
    criterion.bench_function("observe this machine", |bencher| {
        bencher.iter(|| llama_doctor::host::observe(black_box(&Host::Live), Path::new("/nonexistent")));
    });
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/machines/healthy-with-build.json");
    if let Ok(facts) = Facts::load(&path) {
        criterion.bench_function("judge a recorded machine", |bencher| {
            bencher.iter(|| Diagnosis::of(black_box(&facts), &Selection::default()));
        });
    }
    criterion.bench_function("ask NVML alone", |bencher| {
        bencher.iter(|| nvml_wrapper::Nvml::init().and_then(|nvml| nvml.device_count()).unwrap_or(0));
    });
}

criterion_group!(benches, check);
criterion_main!(benches);
