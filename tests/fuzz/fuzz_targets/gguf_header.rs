//! A header of any bytes is read or refused: no panic, no large allocation.
#![no_main]

use libfuzzer_sys::fuzz_target;
use llama_doctor::gguf::Header;

fuzz_target!(|data: &[u8]| {
    if let Ok(header) = Header::read(&data.to_vec()) {
        let _ = header.check_length(data.len() as u64);
    }
});
