//! What a server takes beyond what it reserved. Measured with the rig's `decode=-1`: llama.cpp b11434, MiniMax-M3 of
//! `tests/truth/recipes`, one slot of 32,768 tokens, took 318.8 MiB more on the GPU (beside cuBLAS's 32) once 32,767 of
//! them were there, the last of them in a batch of 511. Said is what a whole batch at the very end would take.

use std::path::Path;

use llama_doctor::fit;
use llama_doctor::fit::build::Build;
use llama_doctor::fit::checkpoint::Limits;
use llama_doctor::fit::need::Server;
use llama_doctor::fit::settings::{Device, Settings};
use llama_doctor::gguf::{Bytes as _, FileBytes, Header, Model};
use llama_doctor::units::{Bytes, MIB};

#[test]
fn a_buffer_that_grows_is_said_to() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/truth/headers/own/MiniMax-M3-Q4_K_M.gguf");
    let bytes = FileBytes::open(&path).unwrap();
    let header = Header::read(&bytes).unwrap();
    let model = Model::join(vec![("model.gguf".to_owned(), bytes.len(), header)]).unwrap();
    let model = fit::Model::new(&model).unwrap();
    let device = Device {
        id: "CUDA0".to_owned(),
        compute_capability: "9.0".parse().unwrap(),
        total: Bytes(80_000 * MIB),
        free: Bytes(80_000 * MIB),
        measured_overhead: None,
    };
    let one = Settings { context: 32_768, parallel: 1, kv_unified: false, ..Settings::default() };
    let alone = fit::predict(&model, &one, std::slice::from_ref(&device), Build::NEWEST).unwrap();
    assert!(alone.notes.iter().any(|note| note.contains("up to 320.7 MiB more")), "{:?}", alone.notes);
    assert_eq!(alone.growth / MIB, 320);
    let shared = Settings { context: 32_768, ..Settings::default() };
    let shared = fit::predict(&model, &shared, std::slice::from_ref(&device), Build::NEWEST).unwrap();
    assert!(shared.notes.is_empty(), "{:?}", shared.notes);
    assert_eq!(shared.growth, 0);

    // A plan leaves room for it, so that a context that is recommended can also be filled.
    let charged = |settings: &Settings| {
        let server = Server {
            model: &model,
            settings: settings.clone(),
            draft: None,
            projector: None,
            limits: Limits::default(),
        };
        let needs = server.needs(settings, std::slice::from_ref(&device), Build::NEWEST).unwrap();
        needs.at(32_768, (settings.cache_type_k, settings.cache_type_v)).unwrap().devices[0].overhead
    };
    let difference = charged(&one) - charged(&Settings { context: 32_768, ..Settings::default() });
    assert_eq!(difference, alone.growth);
}
