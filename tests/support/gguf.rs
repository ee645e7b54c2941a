//! Tiny GGUF files, written by hand so that no reader of ours takes part.

/// Collects entries and tensors, then writes a file.
#[derive(Default)]
pub struct Gguf {
    entries: Vec<Vec<u8>>,
    tensors: Vec<(String, u64)>,
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

fn entry(key: &str, kind: u32, value: &[u8]) -> Vec<u8> {
    [&text(key)[..], &kind.to_le_bytes(), value].concat()
}

impl Gguf {
    /// A llama of two layers that the planner can plan with, with random-free small weights.
    pub fn llama() -> Self {
        let mut gguf = Self::default()
            .text("general.architecture", "llama")
            .text("general.name", "Tiny Llama")
            .u32("general.file_type", 7)
            .u32("llama.block_count", 2)
            .u32("llama.context_length", 4096)
            .u32("llama.embedding_length", 64)
            .u32("llama.feed_forward_length", 128)
            .u32("llama.attention.head_count", 4)
            .u32("llama.attention.head_count_kv", 2)
            .text("tokenizer.ggml.model", "gpt2")
            .tensor("token_embd.weight", 64 * 64)
            .tensor("output_norm.weight", 64);
        for layer in 0..2 {
            for name in ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"] {
                gguf = gguf.tensor(&format!("blk.{layer}.{name}.weight"), 64 * 64);
            }
        }
        gguf
    }

    pub fn text(mut self, key: &str, value: &str) -> Self {
        self.entries.push(entry(key, 8, &text(value)));
        self
    }

    pub fn u32(mut self, key: &str, value: u32) -> Self {
        self.entries.push(entry(key, 4, &value.to_le_bytes()));
        self
    }

    pub fn u16(mut self, key: &str, value: u16) -> Self {
        self.entries.push(entry(key, 2, &value.to_le_bytes()));
        self
    }

    pub fn texts(mut self, key: &str, values: impl IntoIterator<Item = String>) -> Self {
        let values: Vec<Vec<u8>> = values.into_iter().map(|value| text(&value)).collect();
        let head = [&8_u32.to_le_bytes()[..], &(values.len() as u64).to_le_bytes()].concat();
        self.entries.push(entry(key, 9, &[head, values.concat()].concat()));
        self
    }

    pub fn i32s(mut self, key: &str, count: u64) -> Self {
        let head = [&5_u32.to_le_bytes()[..], &count.to_le_bytes()].concat();
        self.entries.push(entry(key, 9, &[head, vec![1; count as usize * 4]].concat()));
        self
    }

    /// A vector of `elements` f32.
    pub fn tensor(mut self, name: &str, elements: u64) -> Self {
        self.tensors.push((name.to_owned(), elements));
        self
    }

    pub fn header(&self) -> Vec<u8> {
        let mut bytes = b"GGUF\x03\0\0\0".to_vec();
        bytes.extend((self.tensors.len() as u64).to_le_bytes());
        bytes.extend((self.entries.len() as u64).to_le_bytes());
        bytes.extend(self.entries.concat());
        let mut offset = 0_u64;
        for (name, elements) in &self.tensors {
            bytes.extend(text(name));
            bytes.extend(1_u32.to_le_bytes());
            bytes.extend(elements.to_le_bytes());
            bytes.extend(0_u32.to_le_bytes());
            bytes.extend(offset.to_le_bytes());
            offset += (elements * 4).next_multiple_of(32);
        }
        bytes
    }

    /// Header, padding and weights.
    pub fn file(&self) -> Vec<u8> {
        let mut bytes = self.header();
        bytes.resize(bytes.len().next_multiple_of(32), 0);
        let start = bytes.len();
        let data: u64 = self.tensors.iter().map(|(_, elements)| (elements * 4).next_multiple_of(32)).sum();
        bytes.extend((0..data as usize).map(|index| (index.wrapping_mul(2_654_435_761) >> 7) as u8));
        debug_assert_eq!(bytes.len() - start, data as usize);
        bytes
    }
}
