//! What can be wrong with a GGUF file, each in its own words.

use std::io;

use thiserror::Error;

/// What is wrong with one file; [`OpenError`] adds which.
#[derive(Debug, Error)]
pub enum GgufError {
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error("is empty")]
    Empty,
    #[error("is a Git LFS pointer, not the file that it points to")]
    LfsPointer,
    #[error("is an HTML page, not a GGUF file: a download answered with a web page")]
    HtmlPage,
    #[error("is not a GGUF file: it begins with {begins:?}")]
    NotGguf { begins: String },
    #[error("is GGUF version 1, which llama.cpp no longer reads")]
    Version1,
    #[error("is a big-endian GGUF file, which llama.cpp does not read on this machine")]
    BigEndian,
    #[error("is GGUF version {0}: versions 2 and 3 are known")]
    UnknownVersion(u32),
    #[error("ends within its header: {wanted} more bytes were expected at offset {offset} of {len}")]
    HeaderCut { offset: u64, wanted: u64, len: u64 },
    #[error("is cut off: {present} bytes are there, the header announces {announced}")]
    DataCut { present: u64, announced: u64 },
    #[error("announces {count} {what}, more than the file can hold")]
    TooMany { count: i64, what: &'static str },
    #[error("has a metadata key that is empty or not text")]
    BadKey,
    #[error("has the metadata key `{0}` twice")]
    DuplicateKey(String),
    #[error("has an unknown value type {id} at metadata key `{key}`")]
    UnknownValueType { key: String, id: u32 },
    #[error("has a value that is not a boolean at metadata key `{0}`")]
    BadBool(String),
    #[error("has a text of {bytes} bytes at metadata key `{key}`: at most 1 GiB is allowed")]
    LongText { key: String, bytes: u64 },
    #[error("has an array of {count} elements at metadata key `{key}`: at most 2^30 are allowed")]
    LongArray { key: String, count: u64 },
    #[error("has `general.alignment` {0}: a power of two is required")]
    BadAlignment(String),
    #[error("has a tensor name of {0} bytes: llama.cpp allows 63")]
    LongTensorName(u64),
    #[error("has a tensor whose name is not text")]
    BadTensorName,
    #[error("has the tensor `{0}` twice")]
    DuplicateTensor(String),
    #[error("has {dims} dimensions at tensor `{tensor}`: at most 4 are allowed")]
    TooManyDims { tensor: String, dims: u32 },
    #[error("has impossible dimensions at tensor `{0}`")]
    BadDims(String),
    #[error("has the unknown tensor type {id} at `{tensor}`: the file is newer than what is known here, or damaged")]
    UnknownTensorType { tensor: String, id: u32 },
    #[error("has tensor `{tensor}` in the type {id}, which llama.cpp has removed: the model must be converted again")]
    RemovedTensorType { tensor: String, id: u32 },
    #[error("has rows of {row} elements at tensor `{tensor}`, not a multiple of the block of {block}")]
    BadRow { tensor: String, row: u64, block: u64 },
    #[error("has tensor `{tensor}` at offset {offset} instead of {expected}")]
    BadOffset { tensor: String, offset: u64, expected: u64 },
    #[error(
        "is part of a split model, but its name does not end in `-00001-of-00002.gguf`: the parts keep their names"
    )]
    ShardName,
    #[error("is missing: part {number} of {count}")]
    MissingShard { number: u32, count: u32 },
    #[error("says that it is part {found} of {found_count}, its name says part {number} of {count}")]
    WrongShard { number: u32, count: u32, found: u32, found_count: u32 },
    #[error("belongs to a split model of {expected} tensors, but the parts hold {found}")]
    ShardTensors { expected: u64, found: u64 },
    #[error("has no `general.architecture`")]
    NoArchitecture,
}

/// A [`GgufError`] and the file it is about.
#[derive(Debug, Error)]
#[error("`{file}` {error}")]
pub struct OpenError {
    pub file: String,
    pub error: GgufError,
}
