//! A file that lacks a tensor its architecture cannot do without is refused by the tensor's name.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;

use llama_doctor::fit::build::Build;
use llama_doctor::fit::settings::{Device, Settings};
use llama_doctor::fit::{self, FitError};
use llama_doctor::gguf::{Header, Model};
use llama_doctor::units::{Bytes, MIB};

/// A header of `tests/truth/` in which `from` is called `to`, as long.
fn renamed(header: &str, from: &str, to: &str) -> Model {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/truth/headers").join(header);
    let mut bytes = fs_err::read(path).unwrap();
    for at in 0..bytes.len() - from.len() {
        if bytes[at..].starts_with(from.as_bytes()) {
            bytes[at..at + from.len()].copy_from_slice(to.as_bytes());
        }
    }
    let header = Header::read(&bytes).unwrap();
    Model::join(vec![("model.gguf".to_owned(), u64::try_from(bytes.len()).unwrap(), header)]).unwrap()
}

#[test]
fn a_missing_tensor_is_named() {
    let device = Device {
        id: "CUDA0".to_owned(),
        compute_capability: "8.9".parse().unwrap(),
        total: Bytes(24_000 * MIB),
        free: Bytes(24_000 * MIB),
        measured_overhead: None,
    };
    for (header, from, to, lacking) in [
        ("DeepSeek-V2-Lite-Q4_K_M.gguf", "attn_k_b", "attn_k_x", "blk.0.attn_k_b.weight"),
        ("own/DeepSeek-V4-Flash-Q4_K_M.gguf", "hc_ffn_base", "hc_ffn_basx", "blk.0.hc_ffn_base.weight"),
        ("own/GLM-5.3-Flash-Q4_K_M.gguf", "ssm_dt.bias", "ssm_dt.bixs", "blk.0.ssm_dt.bias"),
        ("Mamba-2.8B-Q4_K_M.gguf", "ssm_conv1d.weight", "ssm_conv1x.weight", "blk.0.ssm_conv1d.weight"),
    ] {
        let model = fit::Model::new(&renamed(header, from, to)).unwrap();
        let error =
            fit::predict(&model, &Settings::default(), std::slice::from_ref(&device), Build::NEWEST).unwrap_err();
        assert_eq!(error, FitError::MissingTensor { tensor: lacking.to_owned() }, "{header}");
    }
}
