//! The last link of the proof: a token really computed on one device.
//!
//! libllama takes its parameters by value, in structures that grow from version to version. Its own functions fill them
//! in, and a structure larger than theirs holds every version: all calling conventions that we run on pass structures of
//! this size in memory, and what lies behind the callee's own fields is never read.

use std::ffi::{CString, c_char, c_int};
use std::path::Path;
use std::time::Instant;

use super::{Library, Pointer, begin, symbol, tell};
use crate::probe::{Event, Token};

/// `llama_model_params` and `llama_context_params` of b11434 are 96 and 168 bytes (`include/llama.h`).
#[repr(C, align(16))]
#[derive(Clone, Copy)]
struct Parameters([u64; 64]);

/// `llama_batch` of b11434 is 56 bytes.
#[repr(C, align(16))]
#[derive(Clone, Copy)]
struct Batch([u64; 16]);

/// More than any model has layers.
const ALL_LAYERS: u64 = 999;
/// An ordinary token that every vocabulary has.
const ANY_TOKEN: c_int = 1;

/// Computes one token of `model` on `device` and tells what came of it. `pointer` is ggml's own for the device; none for the
/// processor.
pub(super) fn compute(llama: &Library, model: &Path, device: &str, pointer: Option<Pointer>) {
    begin(&format!("computing a token on {device}"));
    let start = Instant::now();
    let computed = decode(llama, model, pointer);
    let milliseconds = start.elapsed().as_millis() as u64;
    let (token, problem) = match computed {
        Ok(token) => (Some(token), None),
        Err(problem) => (None, Some(problem.to_owned())),
    };
    tell(&Event::Token(Token {
        device: device.to_owned(),
        model: model.to_owned(),
        token,
        milliseconds,
        problem,
        layers_on_device: None,
    }));
}

#[expect(unsafe_code, reason = "calls libllama's C interface, include/llama.h of b11434")]
fn decode(llama: &Library, model: &Path, device: Option<Pointer>) -> Result<u32, &'static str> {
    const OLD: &str = "this version's libllama has other functions than those that are known";
    let path =
        CString::new(model.to_string_lossy().as_bytes()).map_err(|_| "the model's path cannot be told to libllama")?;
    // A list that ends with nothing.
    let devices = [device.unwrap_or(std::ptr::null()), std::ptr::null()];
    // SAFETY: the signatures are those of the header. They are the same since December 2024; older libraries lack the names.
    // `devices` and `token` live until the calls that read them are over.
    unsafe {
        type Defaults = unsafe extern "C" fn() -> Parameters;
        type WithParameters<T> = unsafe extern "C" fn(T, Parameters) -> Pointer;
        let model_defaults: Defaults = *symbol(llama, b"llama_model_default_params\0").ok_or(OLD)?;
        let model_load: WithParameters<*const c_char> = *symbol(llama, b"llama_model_load_from_file\0").ok_or(OLD)?;
        let context_defaults: Defaults = *symbol(llama, b"llama_context_default_params\0").ok_or(OLD)?;
        let context_new: WithParameters<Pointer> = *symbol(llama, b"llama_init_from_model\0").ok_or(OLD)?;
        let batch_of: unsafe extern "C" fn(*mut c_int, c_int) -> Batch =
            *symbol(llama, b"llama_batch_get_one\0").ok_or(OLD)?;
        let decode: unsafe extern "C" fn(Pointer, Batch) -> c_int = *symbol(llama, b"llama_decode\0").ok_or(OLD)?;
        let logits_of: unsafe extern "C" fn(Pointer, c_int) -> *const f32 =
            *symbol(llama, b"llama_get_logits_ith\0").ok_or(OLD)?;
        let vocabulary_of: unsafe extern "C" fn(Pointer) -> Pointer =
            *symbol(llama, b"llama_model_get_vocab\0").ok_or(OLD)?;
        let tokens_of: unsafe extern "C" fn(Pointer) -> c_int = *symbol(llama, b"llama_vocab_n_tokens\0").ok_or(OLD)?;

        let mut parameters = model_defaults();
        // {devices*, tensor_buft_overrides*, i32 n_gpu_layers, …}, both lists empty by default.
        if parameters.0[..2] != [0, 0] {
            return Err("this version's parameters of a model are not those that are known");
        }
        if device.is_some() {
            parameters.0[0] = devices.as_ptr() as u64;
            parameters.0[2] = parameters.0[2] & !0xffff_ffff | ALL_LAYERS;
        } else {
            parameters.0[2] &= !0xffff_ffff;
        }
        let model = model_load(path.as_ptr(), parameters);
        if model.is_null() {
            return Err("the model was not loaded");
        }
        let context = context_new(model, context_defaults());
        if context.is_null() {
            return Err("no context could be made");
        }
        let mut token = ANY_TOKEN;
        if decode(context, batch_of(&raw mut token, 1)) != 0 {
            return Err("the computation failed");
        }
        let (logits, count) = (logits_of(context, -1), tokens_of(vocabulary_of(model)));
        if logits.is_null() || count < 2 {
            return Err("the computation gave no result");
        }
        let best = likeliest(std::slice::from_raw_parts(logits, count as usize));
        for (name, pointer) in [(b"llama_free\0".as_slice(), context), (b"llama_model_free\0", model)] {
            if let Some(free) = symbol::<unsafe extern "C" fn(Pointer)>(llama, name) {
                free(pointer);
            }
        }
        best
    }
}

/// The likeliest token; results that no computation gives are none.
fn likeliest(logits: &[f32]) -> Result<u32, &'static str> {
    if logits.iter().any(|value| value.is_nan()) {
        return Err("the result is not a number");
    }
    // A device that computes nothing leaves its memory as it was.
    if logits.iter().all(|value| value.to_bits() == logits[0].to_bits()) {
        return Err("nothing was computed: every token came out alike");
    }
    let best = logits.iter().enumerate().max_by(|(_, one), (_, other)| one.total_cmp(other));
    best.map(|(index, _)| index as u32).ok_or("the computation gave no result")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_that_no_computation_gives_are_refused() {
        assert_eq!(likeliest(&[0.5, 3.0, -1.0]), Ok(1));
        assert!(likeliest(&[0.0, 0.0, 0.0]).is_err());
        assert!(likeliest(&[0.0, f32::NAN]).is_err());
        assert!(likeliest(&[0.0, f32::INFINITY]).is_ok());
    }
}
