//! What the constant texts of a library tell: the ggml backends linked into it, and how they were configured.

use object::read::ReadRef;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A section of constants that is larger than this is searched in its first part only.
const MOST_BYTES: u64 = 64 << 20;
const CHUNK_BYTES: u64 = 1 << 20;
/// Longer than any text that we look for.
const OVERLAP_BYTES: u64 = 512;

/// Texts that a backend's source prints and nothing else does, and the backend (llama.cpp b11434, `ggml/src/`).
const BACKEND_TEXTS: &[(&[u8], &str)] = &[
    (b"ggml_cuda_init", "CUDA"),
    (b"GGML_VK_VISIBLE_DEVICES", "Vulkan"),
    // Names of source files in its assertions.
    (b"ggml-cpu/", "CPU"),
    (b"ggml-cpu\\", "CPU"),
    (b"ggml_metal_init", "Metal"),
    (b"ggml_sycl_init", "SYCL"),
    (b"ggml_opencl: ", "OpenCL"),
];

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Texts {
    /// Backends whose messages are in the file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backends: Vec<String>,
    /// The K and V cache types that have fast attention kernels: `q8_0-q8_0,f16-f16`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fa_quants: Option<String>,
    /// `b11434-515e855`, as `/props` of a server prints it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_info: Option<String>,
    /// `0.6.0-dev`, as libllama is versioned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub llama_version: Option<String>,
}

/// Adds what the section at `offset` tells. A section that cannot be read tells nothing: its owner is parsed anyway.
pub(super) fn search<'data, R: ReadRef<'data>>(data: R, offset: u64, size: u64, texts: &mut Texts) {
    let size = size.min(MOST_BYTES);
    let mut done = 0;
    while done < size {
        let length = (CHUNK_BYTES + OVERLAP_BYTES).min(size - done);
        let Ok(chunk) = data.read_bytes_at(offset.saturating_add(done), length) else { return };
        search_chunk(chunk, texts);
        done += CHUNK_BYTES;
    }
}

fn search_chunk(chunk: &[u8], texts: &mut Texts) {
    for (text, backend) in BACKEND_TEXTS {
        if !texts.backends.iter().any(|known| known == backend) && memchr::memmem::find(chunk, text).is_some() {
            texts.backends.push((*backend).to_owned());
        }
    }
    if texts.fa_quants.is_none() {
        // The text follows its key in `ggml_backend_cuda_get_features`; linkers may reorder, so look for the shape too.
        texts.fa_quants = memchr::memmem::find_iter(chunk, b"f16-f16").find_map(|at| {
            let text = enclosing_text(chunk, at)?;
            is_type_pairs(text).then(|| text.to_owned())
        });
    }
    if texts.build_info.is_none() {
        texts.build_info = memchr::memmem::find_iter(chunk, b"\0b").find_map(|at| {
            let text = enclosing_text(chunk, at + 1)?;
            is_build_info(text).then(|| text.to_owned())
        });
    }
}

fn enclosing_text(chunk: &[u8], at: usize) -> Option<&str> {
    let start = chunk[..at].iter().rposition(|byte| *byte == 0).map_or(0, |zero| zero + 1);
    let length = chunk[at..].iter().take(400).position(|byte| *byte == 0)? + at - start;
    std::str::from_utf8(chunk.get(start..start + length)?).ok()
}

/// `q4_0-q4_0,f16-f16`
fn is_type_pairs(text: &str) -> bool {
    let is_type = |name: &str| !name.is_empty() && name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_');
    text.split(',').all(|pair| pair.split_once('-').is_some_and(|(key, value)| is_type(key) && is_type(value)))
}

/// `b11434-515e855`
fn is_build_info(text: &str) -> bool {
    text.strip_prefix('b').and_then(|rest| rest.split_once('-')).is_some_and(|(number, commit)| {
        (1..=6).contains(&number.len())
            && number.bytes().all(|c| c.is_ascii_digit())
            && (7..=12).contains(&commit.len())
            && commit.bytes().all(|c| c.is_ascii_hexdigit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_told_apart() {
        assert!(is_type_pairs("q4_0-q4_0,q8_0-q8_0,f16-f16,bf16-bf16"));
        assert!(!is_type_pairs("f16-f16 is fast"));
        assert!(is_build_info("b11434-515e855"));
        assert!(!is_build_info("bert-base"));
    }

    #[test]
    fn a_section_of_constants_tells_its_backends() {
        let data: &[u8] = b"x\0ggml_cuda_init: found\0FA_QUANTS\0q8_0-q8_0,f16-f16\0b11434-515e855\0";
        let mut texts = Texts::default();
        search(data, 0, data.len() as u64, &mut texts);
        assert_eq!(texts.backends, ["CUDA"]);
        assert_eq!(texts.fa_quants.as_deref(), Some("q8_0-q8_0,f16-f16"));
        assert_eq!(texts.build_info.as_deref(), Some("b11434-515e855"));
        // A section that claims more than the file has is survived.
        search(data, 10, u64::MAX, &mut texts);
    }
}
