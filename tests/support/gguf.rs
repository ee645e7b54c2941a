//! Tiny GGUF files, written by hand so that no reader of ours takes part.

/// Collects entries and tensors, then writes a file.
#[derive(Default)]
pub struct Gguf {
    entries: Vec<Vec<u8>>,
    tensors: Vec<(String, Vec<u64>)>,
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

    /// A llama of four layers that llama-server loads and runs: random weights of F32, and a word for each byte.
    pub fn runnable_llama() -> Self {
        const WIDTH: u64 = 256;
        let control = ["<unk>", "<s>", "</s>"].map(str::to_owned);
        let bytes = (0..=255).map(|byte| format!("<0x{byte:02X}>"));
        let words: Vec<String> = control.into_iter().chain(bytes).chain(["\u{2581}".to_owned()]).collect();
        let count = words.len() as u64;
        // llama.cpp's kinds of tokens: 2 unknown, 3 control, 6 byte, 1 normal.
        let kinds = [2, 3, 3].into_iter().chain([6; 256]).chain([1]);
        let mut gguf = Self::default()
            .text("general.architecture", "llama")
            .text("general.name", "Tiny Llama")
            .u32("general.file_type", 0)
            .u32("llama.block_count", 4)
            .u32("llama.context_length", 4096)
            .u32("llama.embedding_length", WIDTH as u32)
            .u32("llama.feed_forward_length", 512)
            .u32("llama.attention.head_count", 4)
            .u32("llama.attention.head_count_kv", 2)
            .f32("llama.attention.layer_norm_rms_epsilon", 1e-5)
            .text("tokenizer.ggml.model", "llama")
            .texts("tokenizer.ggml.tokens", words)
            .numbers("tokenizer.ggml.scores", 6, (0..count).map(|_| 0.0_f32.to_le_bytes()))
            .numbers("tokenizer.ggml.token_type", 5, kinds.map(i32::to_le_bytes))
            .matrix("token_embd.weight", WIDTH, count)
            .tensor("output_norm.weight", WIDTH)
            .matrix("output.weight", WIDTH, count);
        for layer in 0..4 {
            let name = |part: &str| format!("blk.{layer}.{part}.weight");
            gguf = gguf
                .tensor(&name("attn_norm"), WIDTH)
                .matrix(&name("attn_q"), WIDTH, WIDTH)
                .matrix(&name("attn_k"), WIDTH, WIDTH / 2)
                .matrix(&name("attn_v"), WIDTH, WIDTH / 2)
                .matrix(&name("attn_output"), WIDTH, WIDTH)
                .tensor(&name("ffn_norm"), WIDTH)
                .matrix(&name("ffn_gate"), WIDTH, 512)
                .matrix(&name("ffn_up"), WIDTH, 512)
                .matrix(&name("ffn_down"), 512, WIDTH);
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

    pub fn f32(mut self, key: &str, value: f32) -> Self {
        self.entries.push(entry(key, 6, &value.to_le_bytes()));
        self
    }

    pub fn i32s(self, key: &str, count: u64) -> Self {
        self.numbers(key, 5, (0..count).map(|_| [1; 4]))
    }

    /// An array of numbers of four bytes: kind 5 = i32, 6 = f32.
    pub fn numbers(mut self, key: &str, kind: u32, values: impl IntoIterator<Item = [u8; 4]>) -> Self {
        let values: Vec<[u8; 4]> = values.into_iter().collect();
        let head = [&kind.to_le_bytes()[..], &(values.len() as u64).to_le_bytes()].concat();
        self.entries.push(entry(key, 9, &[head, values.concat()].concat()));
        self
    }

    /// A vector of `elements` f32.
    pub fn tensor(mut self, name: &str, elements: u64) -> Self {
        self.tensors.push((name.to_owned(), vec![elements]));
        self
    }

    /// A matrix of f32.
    pub fn matrix(mut self, name: &str, columns: u64, rows: u64) -> Self {
        self.tensors.push((name.to_owned(), vec![columns, rows]));
        self
    }

    pub fn header(&self) -> Vec<u8> {
        let mut bytes = b"GGUF\x03\0\0\0".to_vec();
        bytes.extend((self.tensors.len() as u64).to_le_bytes());
        bytes.extend((self.entries.len() as u64).to_le_bytes());
        bytes.extend(self.entries.concat());
        let mut offset = 0_u64;
        for (name, shape) in &self.tensors {
            bytes.extend(text(name));
            bytes.extend((shape.len() as u32).to_le_bytes());
            bytes.extend(shape.iter().flat_map(|elements| elements.to_le_bytes()));
            bytes.extend(0_u32.to_le_bytes());
            bytes.extend(offset.to_le_bytes());
            offset += padded_bytes(shape);
        }
        bytes
    }

    /// Header, padding and weights.
    pub fn file(&self) -> Vec<u8> {
        let mut bytes = self.header();
        bytes.resize(bytes.len().next_multiple_of(32), 0);
        let start = bytes.len();
        let data: u64 = self.tensors.iter().map(|(_, shape)| padded_bytes(shape)).sum();
        // Between -0.1 and 0.1, and no pattern that a matrix would cancel out.
        let weight = |index: u32| f64::from(index.wrapping_mul(2_654_435_761) as i32) / f64::from(i32::MAX) * 0.1;
        bytes.extend((0..data as u32 / 4).flat_map(|index| (weight(index) as f32).to_le_bytes()));
        debug_assert_eq!(bytes.len() - start, data as usize);
        bytes
    }
}

fn padded_bytes(shape: &[u64]) -> u64 {
    (shape.iter().product::<u64>() * 4).next_multiple_of(32)
}
