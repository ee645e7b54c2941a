//! `/etc/ld.so.cache`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use llama_doctor::loader::ld_cache;

fuzz_target!(|bytes: &[u8]| {
    let _ = ld_cache::read(bytes);
});
