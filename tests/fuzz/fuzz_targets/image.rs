//! ELF, PE and the CUDA code in them.
#![no_main]

use std::io::Cursor;

use libfuzzer_sys::fuzz_target;
use llama_doctor::binary::{self, Depth};

fuzz_target!(|bytes: &[u8]| {
    for depth in [Depth::Links, Depth::Sampled, Depth::Everything] {
        let _ = binary::read(Cursor::new(bytes), depth);
    }
});
