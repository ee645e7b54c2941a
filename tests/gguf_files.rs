//! Model files as they come: whole, split, cut, mislabelled, hostile.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fmt::Write as _;
use std::path::Path;

use llama_doctor::gguf::{Bytes as _, FileBytes, GgufError, Header, Model, Value};
use proptest::prelude::*;

/// Writes headers, right and wrong ones.
#[derive(Clone)]
struct Writer {
    version: u32,
    entries: Vec<(String, Vec<u8>)>,
    tensors: Vec<(String, Vec<u64>, u32)>,
}

impl Writer {
    fn new() -> Self {
        let writer = Self { version: 3, entries: Vec::new(), tensors: Vec::new() };
        writer.text("general.architecture", "llama")
    }

    fn entry(mut self, key: &str, value: Vec<u8>) -> Self {
        self.entries.push((key.to_owned(), value));
        self
    }

    fn text(self, key: &str, text: &str) -> Self {
        self.entry(key, [&8_u32.to_le_bytes()[..], &string(text)].concat())
    }

    fn u32(self, key: &str, value: u32) -> Self {
        self.entry(key, [4_u32.to_le_bytes(), value.to_le_bytes()].concat())
    }

    fn u16(self, key: &str, value: u16) -> Self {
        self.entry(key, [&2_u32.to_le_bytes()[..], &value.to_le_bytes()].concat())
    }

    fn texts(self, key: &str, count: usize) -> Self {
        let mut value = [9_u32.to_le_bytes(), 8_u32.to_le_bytes()].concat();
        value.extend((count as u64).to_le_bytes());
        for number in 0..count {
            value.extend(string(&number.to_string()));
        }
        self.entry(key, value)
    }

    fn tensor(mut self, name: &str, dims: &[u64], kind: u32) -> Self {
        self.tensors.push((name.to_owned(), dims.to_vec(), kind));
        self
    }

    fn header(&self) -> Vec<u8> {
        let mut bytes = b"GGUF".to_vec();
        bytes.extend(self.version.to_le_bytes());
        bytes.extend((self.tensors.len() as u64).to_le_bytes());
        bytes.extend((self.entries.len() as u64).to_le_bytes());
        for (key, value) in &self.entries {
            bytes.extend(string(key));
            bytes.extend(value);
        }
        let mut offset = 0_u64;
        for (name, dims, kind) in &self.tensors {
            bytes.extend(string(name));
            bytes.extend((dims.len() as u32).to_le_bytes());
            for dim in dims {
                bytes.extend(dim.to_le_bytes());
            }
            bytes.extend(kind.to_le_bytes());
            bytes.extend(offset.to_le_bytes());
            offset += (dims.iter().product::<u64>() * 4).next_multiple_of(32);
        }
        bytes
    }

    /// The header, padding and 32-bit floats for all tensors.
    fn file(&self) -> Vec<u8> {
        let mut bytes = self.header();
        bytes.resize(bytes.len().next_multiple_of(32), 0);
        let data: u64 =
            self.tensors.iter().map(|(_, dims, _)| (dims.iter().product::<u64>() * 4).next_multiple_of(32)).sum();
        bytes.resize(bytes.len() + data as usize, 0);
        bytes
    }
}

fn string(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

fn opened(name: &str, bytes: &[u8]) -> Result<Model, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs_err::write(&path, bytes).unwrap();
    Model::open(&path).map_err(|error| error.to_string())
}

#[test]
fn a_whole_file_is_read() {
    let file = Writer::new().texts("tokenizer.ggml.tokens", 70_000).tensor("token_embd.weight", &[64, 4], 0).file();
    let model = opened("model.gguf", &file).unwrap();
    assert_eq!(model.architecture(), Some("llama"));
    assert_eq!(model.parameters(), 256);
    let tokens = model.metadata["tokenizer.ggml.tokens"].as_array().unwrap();
    assert_eq!((tokens.len, tokens.numbers.len()), (70_000, 0));
    assert_eq!(model.file_bytes(), file.len() as u64);
}

#[test]
fn each_wrong_file_says_what_it_is() {
    let good = Writer::new().tensor("token_embd.weight", &[64, 4], 0);
    let mut big_endian = good.file();
    big_endian[4..8].copy_from_slice(&3_u32.to_be_bytes());
    let version = |version| Writer { version, ..good.clone() }.file();
    let cases: [(&str, Vec<u8>, &str); 16] = [
        ("empty", Vec::new(), "is empty"),
        ("pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n".to_vec(), "Git LFS pointer"),
        ("page", b"<!DOCTYPE html><html></html>".to_vec(), "HTML page"),
        ("other", b"PK\x03\x04 and so on".to_vec(), "not a GGUF file"),
        ("one", version(1), "version 1"),
        ("four", version(4), "version 4"),
        ("big", big_endian, "big-endian"),
        ("cut-header", good.header()[..50].to_vec(), "ends within its header"),
        ("cut-data", good.file()[..good.file().len() - 64].to_vec(), "is cut off"),
        ("type", Writer::new().tensor("a", &[32], 99).file(), "unknown tensor type 99"),
        ("removed", Writer::new().tensor("a", &[32], 4).file(), "has removed"),
        ("dims", Writer::new().tensor("a", &[32, 1, 1, 1, 1], 0).file(), "5 dimensions"),
        ("row", Writer::new().tensor("a", &[33], 8).file(), "not a multiple"),
        ("twice", Writer::new().tensor("a", &[8], 0).tensor("a", &[8], 0).file(), "twice"),
        ("alignment", Writer::new().u32("general.alignment", 48).file(), "power of two"),
        ("nameless", Writer { entries: Vec::new(), ..good.clone() }.file(), "no `general.architecture`"),
    ];
    let mut failures = String::new();
    for (name, bytes, expected) in cases {
        match opened(&format!("{name}.gguf"), &bytes) {
            Err(text) if text.contains(expected) && text.contains(name) => {}
            other => writeln!(failures, "{name}: {other:?}").unwrap(),
        }
    }
    assert_eq!(failures, "");
}

#[test]
fn announced_counts_allocate_nothing() {
    let mut bytes = b"GGUF".to_vec();
    bytes.extend(3_u32.to_le_bytes());
    bytes.extend(i64::MAX.to_le_bytes());
    bytes.extend(0_u64.to_le_bytes());
    assert!(matches!(Header::read(&bytes), Err(GgufError::TooMany { what: "tensors", .. })));
    let text = Writer::new().entry("x", [&8_u32.to_le_bytes()[..], &u64::MAX.to_le_bytes()].concat()).header();
    assert!(matches!(Header::read(&text), Err(GgufError::LongText { .. })));
    let array = [9_u32.to_le_bytes(), 4_u32.to_le_bytes()].concat();
    let array = Writer::new().entry("x", [&array[..], &(1_u64 << 40).to_le_bytes()].concat()).header();
    assert!(matches!(Header::read(&array), Err(GgufError::LongArray { .. })));
}

fn shard(number: u16, count: u16, tensors: u32) -> Writer {
    Writer::new().u16("split.no", number).u16("split.count", count).u32("split.tensors.count", tensors)
}

fn split(folder: &Path, number: u16, of: u16, writer: &Writer) -> std::path::PathBuf {
    let path = folder.join(format!("model-{:05}-of-{of:05}.gguf", number + 1));
    fs_err::write(&path, writer.file()).unwrap();
    path
}

#[test]
fn a_split_model_opens_by_any_part() {
    let folder = tempfile::tempdir().unwrap();
    split(folder.path(), 0, 2, &shard(0, 2, 2).tensor("token_embd.weight", &[8, 2], 0));
    let second = split(folder.path(), 1, 2, &shard(1, 2, 2).tensor("output.weight", &[8, 2], 0));
    let model = Model::open(&second).unwrap();
    assert_eq!(model.tensors.iter().map(|tensor| tensor.shard).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(model.shards.len(), 2);
}

#[test]
fn missing_and_wrong_parts_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let first = split(folder.path(), 0, 2, &shard(0, 2, 2).tensor("token_embd.weight", &[8, 2], 0));
    let missing = Model::open(&first).unwrap_err();
    assert!(missing.file.ends_with("model-00002-of-00002.gguf"), "{missing}");
    assert!(matches!(missing.error, GgufError::MissingShard { number: 2, count: 2 }));

    split(folder.path(), 1, 2, &shard(0, 2, 2).tensor("output.weight", &[8, 2], 0));
    assert!(matches!(Model::open(&first).unwrap_err().error, GgufError::WrongShard { number: 2, found: 1, .. }));

    split(folder.path(), 1, 2, &shard(1, 2, 2));
    assert!(matches!(Model::open(&first).unwrap_err().error, GgufError::ShardTensors { expected: 2, found: 1 }));

    let renamed = folder.path().join("renamed.gguf");
    fs_err::rename(&first, &renamed).unwrap();
    assert!(matches!(Model::open(&renamed).unwrap_err().error, GgufError::ShardName));
}

/// What the fuzz target in `tests/fuzz` checks, over its corpus and over cut and changed copies of it.
#[test]
fn the_fuzz_corpus_never_panics() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus/gguf_header");
    let mut seen = 0;
    for entry in fs_err::read_dir(corpus).unwrap() {
        let bytes = fs_err::read(entry.unwrap().path()).unwrap();
        for end in (0..=bytes.len()).step_by(7) {
            let _ = Header::read(&bytes[..end].to_vec());
            let mut changed = bytes.clone();
            if let Some(byte) = changed.get_mut(end) {
                *byte ^= 0xFF;
            }
            let _ = Header::read(&changed);
        }
        seen += 1;
    }
    assert!(seen >= 4);
}

#[test]
fn a_truth_header_reads_through_a_file() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/truth/headers/Qwen2.5-14B-Instruct-Q4_K_M.gguf");
    let bytes = FileBytes::open(&path).unwrap();
    let header = Header::read(&bytes).unwrap();
    assert_eq!(header.tensors.len(), 579);
    assert!(header.check_length(bytes.len()).is_err(), "headers alone are no model");
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = Header::read(&[b"GGUF\x03\0\0\0".as_slice(), &bytes].concat());
    }

    #[test]
    fn what_is_written_is_read(
        values in proptest::collection::btree_map("[a-z.]{1,20}", any::<u32>(), 0..20),
        rows in proptest::collection::vec(1_u64..50, 0..20),
    ) {
        let mut writer = Writer::new();
        for (key, value) in &values {
            writer = writer.u32(&format!("x.{key}"), *value);
        }
        for (number, row) in rows.iter().enumerate() {
            writer = writer.tensor(&format!("t{number}"), &[*row, 3], 0);
        }
        let file = writer.file();
        let header = Header::read(&file).unwrap();
        prop_assert_eq!(header.tensors.len(), rows.len());
        for (key, value) in &values {
            prop_assert_eq!(header.metadata[&format!("x.{key}")].as_u64(), Some(u64::from(*value)));
        }
        prop_assert!(matches!(header.metadata["general.architecture"], Value::Text(_)));
        prop_assert!(header.check_length(file.len() as u64).is_ok());
        prop_assert!(header.announced_bytes() <= file.len() as u64);
    }
}
