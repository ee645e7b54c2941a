//! What only Windows' loader reads: API sets, side-by-side manifests, the functions that DLLs want and have.
#![no_main]

use libfuzzer_sys::fuzz_target;
use llama_doctor::binary::{self, side_by_side};
use llama_doctor::loader::windows::api_sets::ApiSets;

fuzz_target!(|bytes: &[u8]| {
    if let Some(sets) = ApiSets::read(bytes) {
        let _ = sets.host("api-ms-win-crt-heap-l1-1-0.dll");
    }
    let _ = side_by_side::dependent_assemblies(bytes);
    if !bytes.starts_with(b"MZ") {
        return;
    }
    let path = std::path::PathBuf::from(format!("/dev/shm/llama-doctor-fuzz-{}", std::process::id()));
    if std::fs::write(&path, bytes).is_ok() {
        let _ = binary::section(&path, b".apiset");
        let _ = binary::imported_functions(&path, "KERNEL32.dll");
        let _ = binary::exported_names(&path);
    }
});
