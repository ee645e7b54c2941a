//! The header of one GGUF file, versions 2 and 3: metadata, tensor infos, and where the data begins.

use std::collections::{BTreeMap, HashSet};

use super::value::{Array, KEPT_ELEMENTS, KEPT_TEXT_BYTES, Value};
use super::{Bytes, GgufError, TensorType};

/// Bytes read at a time: a vocabulary of 260,000 tokens is a dozen reads.
pub(super) const WINDOW: usize = 512 << 10;
/// ggml's own limits (llama.cpp b11434 `ggml/src/gguf.cpp:20`, `ggml/include/ggml.h:228`).
const TEXT_LIMIT: u64 = 1 << 30;
const ARRAY_LIMIT: u64 = 1 << 30;
const TENSOR_NAME_LIMIT: u64 = 64;
const DEFAULT_ALIGNMENT: u64 = 32;
/// The fewest bytes that a metadata entry and a tensor info take: announced counts are held against the file's length.
const SMALLEST_ENTRY: u64 = 8 + 4 + 1;
const SMALLEST_TENSOR: u64 = 8 + 4 + 4 + 8;

/// What stands before the data of one file.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    pub version: u32,
    pub metadata: BTreeMap<String, Value>,
    pub tensors: Vec<Tensor>,
    /// Bytes; tensors begin at multiples of it.
    pub alignment: u64,
    /// Where the first tensor's bytes stand in the file.
    pub data_offset: u64,
}

/// One tensor's info: no data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    pub name: Box<str>,
    /// Elements by dimension, 1 where the file gives none.
    pub dims: [u64; 4],
    pub tensor_type: TensorType,
    /// From the start of the data, bytes.
    pub offset: u64,
    /// Bytes of the data, without padding.
    pub bytes: u64,
    /// Which file of a split model holds it, from 0.
    pub shard: u32,
}

impl Tensor {
    pub fn elements(&self) -> u64 {
        self.dims.iter().product()
    }
}

impl Header {
    /// Reads the header at the start of `bytes`. Data need not be there: [`Self::check_length`] asks for it.
    pub fn read(bytes: &dyn Bytes) -> Result<Self, GgufError> {
        let mut reader = Reader::new(bytes);
        let version = reader.magic_and_version()?;
        let tensor_count = reader.count("tensors", SMALLEST_TENSOR)?;
        let entry_count = reader.count("metadata entries", SMALLEST_ENTRY)?;

        let mut metadata = BTreeMap::new();
        for _ in 0..entry_count {
            let key = reader.key()?;
            let value = reader.value(&key)?;
            if metadata.contains_key(&key) {
                return Err(GgufError::DuplicateKey(key));
            }
            metadata.insert(key, value);
        }
        let alignment = alignment(&metadata)?;

        // Grown as tensors are really read: an announced count allocates nothing.
        let mut tensors = Vec::new();
        let mut names = HashSet::new();
        let mut expected_offset = 0_u64;
        for _ in 0..tensor_count {
            let tensor = reader.tensor(expected_offset)?;
            expected_offset = tensor
                .bytes
                .checked_next_multiple_of(alignment)
                .and_then(|padded| padded.checked_add(expected_offset))
                .ok_or_else(|| GgufError::BadDims(tensor.name.to_string()))?;
            if !names.insert(tensor.name.clone()) {
                return Err(GgufError::DuplicateTensor(tensor.name.into()));
            }
            tensors.push(tensor);
        }
        let data_offset = reader
            .position()
            .checked_next_multiple_of(alignment)
            .ok_or_else(|| GgufError::BadAlignment(alignment.to_string()))?;
        Ok(Self { version, metadata, tensors, alignment, data_offset })
    }

    /// Where the last tensor ends in the file, bytes; padding after it may be missing.
    pub fn announced_bytes(&self) -> u64 {
        let data = self.tensors.last().map_or(0, |last| last.offset.saturating_add(last.bytes));
        if data == 0 { 0 } else { self.data_offset.saturating_add(data) }
    }

    /// Fails when a file of `present` bytes lacks some of the announced data.
    pub fn check_length(&self, present: u64) -> Result<(), GgufError> {
        let announced = self.announced_bytes();
        if present < announced { Err(GgufError::DataCut { present, announced }) } else { Ok(()) }
    }
}

fn alignment(metadata: &BTreeMap<String, Value>) -> Result<u64, GgufError> {
    match metadata.get("general.alignment") {
        None => Ok(DEFAULT_ALIGNMENT),
        Some(Value::Unsigned(value)) if value.is_power_of_two() && *value <= 1 << 31 => Ok(*value),
        Some(Value::Unsigned(value)) => Err(GgufError::BadAlignment(value.to_string())),
        Some(_) => Err(GgufError::BadAlignment("of a type other than a number".to_owned())),
    }
}

/// A front-to-back reader over a window of the bytes.
struct Reader<'a> {
    bytes: &'a dyn Bytes,
    window: Vec<u8>,
    /// Where the window starts in the file, and where in the window the next byte is.
    window_start: u64,
    cursor: usize,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a dyn Bytes) -> Self {
        Self { bytes, window: Vec::new(), window_start: 0, cursor: 0 }
    }

    fn position(&self) -> u64 {
        self.window_start + self.cursor as u64
    }

    fn remaining(&self) -> u64 {
        self.bytes.len().saturating_sub(self.position())
    }

    fn need(&self, wanted: u64) -> Result<(), GgufError> {
        if wanted > self.remaining() {
            return Err(GgufError::HeaderCut { offset: self.position(), wanted, len: self.bytes.len() });
        }
        Ok(())
    }

    /// The next `N` bytes, where `N` is far below the window.
    fn take<const N: usize>(&mut self) -> Result<[u8; N], GgufError> {
        if let Some(taken) = self.window.get(self.cursor..).and_then(<[u8]>::first_chunk::<N>) {
            self.cursor += N;
            return Ok(*taken);
        }
        self.need(N as u64)?;
        self.refill()?;
        let taken = *self.window.first_chunk::<N>().ok_or(GgufError::Empty)?;
        self.cursor = N;
        Ok(taken)
    }

    fn refill(&mut self) -> Result<(), GgufError> {
        let start = self.position();
        let size = WINDOW.min(usize::try_from(self.bytes.len().saturating_sub(start)).unwrap_or(WINDOW));
        self.window.resize(size, 0);
        self.bytes.read_at(start, &mut self.window)?;
        self.window_start = start;
        self.cursor = 0;
        Ok(())
    }

    fn skip(&mut self, count: u64) -> Result<(), GgufError> {
        self.need(count)?;
        let left = (self.window.len() - self.cursor) as u64;
        if count <= left {
            self.cursor += count as usize;
        } else {
            self.window_start = self.position() + count;
            self.window.clear();
            self.cursor = 0;
        }
        Ok(())
    }

    /// `count` bytes, at most [`KEPT_TEXT_BYTES`] of them.
    fn take_vec(&mut self, count: u64) -> Result<Vec<u8>, GgufError> {
        self.need(count)?;
        let mut taken = Vec::with_capacity(count as usize);
        while (taken.len() as u64) < count {
            if self.cursor == self.window.len() {
                self.refill()?;
            }
            let wanted = (count as usize - taken.len()).min(self.window.len() - self.cursor);
            taken.extend_from_slice(&self.window[self.cursor..self.cursor + wanted]);
            self.cursor += wanted;
        }
        Ok(taken)
    }

    fn u32(&mut self) -> Result<u32, GgufError> {
        Ok(u32::from_le_bytes(self.take()?))
    }

    fn u64(&mut self) -> Result<u64, GgufError> {
        Ok(u64::from_le_bytes(self.take()?))
    }

    fn magic_and_version(&mut self) -> Result<u32, GgufError> {
        if self.bytes.is_empty() {
            return Err(GgufError::Empty);
        }
        self.refill()?;
        let start = &self.window[..self.window.len().min(64)];
        if !start.starts_with(b"GGUF") {
            let text = String::from_utf8_lossy(start);
            let lower = text.trim_start().to_ascii_lowercase();
            return Err(if lower.starts_with("version https://git-lfs") {
                GgufError::LfsPointer
            } else if lower.starts_with("<!doctype html") || lower.starts_with("<html") {
                GgufError::HtmlPage
            } else {
                GgufError::NotGguf { begins: text.chars().take(16).collect() }
            });
        }
        self.cursor = 4;
        match self.u32()? {
            version @ (2 | 3) => Ok(version),
            1 => Err(GgufError::Version1),
            version if version.trailing_zeros() >= 16 && version != 0 => Err(GgufError::BigEndian),
            version => Err(GgufError::UnknownVersion(version)),
        }
    }

    fn count(&mut self, what: &'static str, smallest: u64) -> Result<u64, GgufError> {
        let count = i64::from_le_bytes(self.take()?);
        let too_many = GgufError::TooMany { count, what };
        let Ok(value) = u64::try_from(count) else { return Err(too_many) };
        if value > self.remaining() / smallest { Err(too_many) } else { Ok(value) }
    }

    fn key(&mut self) -> Result<String, GgufError> {
        let length = self.u64()?;
        if length == 0 || length > u64::from(u16::MAX) {
            return Err(GgufError::BadKey);
        }
        String::from_utf8(self.take_vec(length)?).map_err(|_| GgufError::BadKey)
    }

    fn value(&mut self, key: &str) -> Result<Value, GgufError> {
        let kind = self.u32()?;
        match kind {
            8 => {
                let length = self.text_length(key)?;
                if length > KEPT_TEXT_BYTES {
                    self.skip(length)?;
                    return Ok(Value::OpaqueText(length));
                }
                Ok(String::from_utf8(self.take_vec(length)?).map_or(Value::OpaqueText(length), Value::Text))
            }
            9 => self.array(key),
            _ => self.scalar(key, kind),
        }
    }

    fn text_length(&mut self, key: &str) -> Result<u64, GgufError> {
        let bytes = self.u64()?;
        if bytes > TEXT_LIMIT {
            return Err(GgufError::LongText { key: key.to_owned(), bytes });
        }
        Ok(bytes)
    }

    fn scalar(&mut self, key: &str, kind: u32) -> Result<Value, GgufError> {
        Ok(match kind {
            0 => Value::Unsigned(u64::from(u8::from_le_bytes(self.take()?))),
            1 => Value::Signed(i64::from(i8::from_le_bytes(self.take()?))),
            2 => Value::Unsigned(u64::from(u16::from_le_bytes(self.take()?))),
            3 => Value::Signed(i64::from(i16::from_le_bytes(self.take()?))),
            4 => Value::Unsigned(u64::from(self.u32()?)),
            5 => Value::Signed(i64::from(i32::from_le_bytes(self.take()?))),
            6 => Value::Float(f64::from(f32::from_le_bytes(self.take()?))),
            7 => match self.take::<1>()? {
                [0] => Value::Bool(false),
                [1] => Value::Bool(true),
                _ => return Err(GgufError::BadBool(key.to_owned())),
            },
            10 => Value::Unsigned(self.u64()?),
            11 => Value::Signed(i64::from_le_bytes(self.take()?)),
            12 => Value::Float(f64::from_le_bytes(self.take()?)),
            id => return Err(GgufError::UnknownValueType { key: key.to_owned(), id }),
        })
    }

    fn array(&mut self, key: &str) -> Result<Value, GgufError> {
        let kind = self.u32()?;
        let len = self.u64()?;
        if len > ARRAY_LIMIT {
            return Err(GgufError::LongArray { key: key.to_owned(), count: len });
        }
        let element_bytes = match kind {
            8 => {
                for _ in 0..len {
                    let length = self.text_length(key)?;
                    self.skip(length)?;
                }
                return Ok(Value::Array(Array { len, numbers: Vec::new() }));
            }
            0 | 1 | 7 => 1,
            2 | 3 => 2,
            4..=6 => 4,
            10..=12 => 8,
            id => return Err(GgufError::UnknownValueType { key: key.to_owned(), id }),
        };
        if len > KEPT_ELEMENTS {
            self.skip(len * element_bytes)?;
            return Ok(Value::Array(Array { len, numbers: Vec::new() }));
        }
        let mut numbers = Vec::new();
        for _ in 0..len {
            let value = self.scalar(key, kind)?;
            numbers.push(value.as_f64().or_else(|| value.as_u64().map(|bit| bit as f64)).unwrap_or(0.0));
        }
        Ok(Value::Array(Array { len, numbers }))
    }

    fn tensor(&mut self, expected_offset: u64) -> Result<Tensor, GgufError> {
        let length = self.u64()?;
        if length >= TENSOR_NAME_LIMIT {
            return Err(GgufError::LongTensorName(length));
        }
        let name = String::from_utf8(self.take_vec(length)?).map_err(|_| GgufError::BadTensorName)?;
        let dim_count = self.u32()?;
        if dim_count > 4 {
            return Err(GgufError::TooManyDims { tensor: name, dims: dim_count });
        }
        let mut dims = [1_u64; 4];
        for dim in dims.iter_mut().take(dim_count as usize) {
            *dim = u64::try_from(i64::from_le_bytes(self.take()?)).map_err(|_| GgufError::BadDims(name.clone()))?;
        }
        let id = self.u32()?;
        let tensor_type = match TensorType::from_id(id) {
            None => return Err(GgufError::UnknownTensorType { tensor: name, id }),
            Some(removed) if removed.is_removed() => return Err(GgufError::RemovedTensorType { tensor: name, id }),
            Some(known) => known,
        };
        if dims[0] % tensor_type.block() != 0 {
            return Err(GgufError::BadRow { tensor: name, row: dims[0], block: tensor_type.block() });
        }
        let elements = dims.iter().try_fold(1_u64, |product, dim| product.checked_mul(*dim));
        let bytes = elements
            .filter(|elements| i64::try_from(*elements).is_ok())
            .and_then(|elements| (elements / tensor_type.block()).checked_mul(tensor_type.block_bytes()))
            .ok_or_else(|| GgufError::BadDims(name.clone()))?;
        let offset = self.u64()?;
        if offset != expected_offset {
            return Err(GgufError::BadOffset { tensor: name, offset, expected: expected_offset });
        }
        Ok(Tensor { name: name.into(), dims, tensor_type, offset, bytes, shard: 0 })
    }
}
