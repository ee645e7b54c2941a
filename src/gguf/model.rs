//! A model as its file, or as all files of a split one: the first part's metadata and every part's tensors.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::{Bytes, FileBytes, GgufError, Header, OpenError, Tensor, Value};

/// The name of one part of a split model: `PREFIX-00001-of-00003.gguf`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardName {
    pub prefix: String,
    /// From 1.
    pub number: u32,
    pub count: u32,
}

impl ShardName {
    /// `None` for a name that is not of that form (llama.cpp b11434 `src/llama.cpp:545`).
    pub fn parse(file_name: &str) -> Option<Self> {
        let stem = file_name.strip_suffix(".gguf")?;
        let (rest, count) = stem.rsplit_once("-of-")?;
        let (prefix, number) = rest.rsplit_once('-')?;
        let five_digits = |text: &str| {
            (text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse::<u32>().ok())?
        };
        let (number, count) = (five_digits(number)?, five_digits(count)?);
        (1..=count).contains(&number).then(|| Self { prefix: prefix.to_owned(), number, count })
    }

    /// The file name of part `number` of the same model.
    pub fn sibling(&self, number: u32) -> String {
        format!("{}-{number:05}-of-{:05}.gguf", self.prefix, self.count)
    }
}

/// One file of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    pub name: String,
    pub file_bytes: u64,
    pub data_offset: u64,
}

/// The headers of a whole model.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    pub metadata: BTreeMap<String, Value>,
    pub tensors: Vec<Tensor>,
    pub shards: Vec<Shard>,
}

impl Model {
    /// Opens a model by any of its files and checks that all data is there.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let file = path.display().to_string();
        let folder = path.parent().unwrap_or(Path::new(""));
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let read = |name: &str| FileBytes::open(&folder.join(name)).map(|bytes| (bytes.len(), bytes));
        let (length, bytes) = read(&name).map_err(|error| OpenError { file: file.clone(), error: error.into() })?;
        let header = Header::read(&bytes)
            .and_then(|header| header.check_length(length).map(|()| header))
            .map_err(|error| OpenError { file: file.clone(), error })?;
        if split_count(&header) <= 1 {
            return Self::join(vec![(name, length, header)]);
        }
        let Some(shard_name) = ShardName::parse(&name) else {
            return Err(OpenError { file, error: GgufError::ShardName });
        };
        let mut parts = Vec::new();
        for number in 1..=shard_name.count {
            let sibling = shard_name.sibling(number);
            let shown = folder.join(&sibling).display().to_string();
            let part = read(&sibling).map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => GgufError::MissingShard { number, count: shard_name.count },
                _ => error.into(),
            });
            let part = part.and_then(|(length, bytes)| {
                let header = Header::read(&bytes)?;
                header.check_length(length)?;
                Ok((sibling, length, header))
            });
            parts.push(part.map_err(|error| OpenError { file: shown, error })?);
        }
        Self::join(parts)
    }

    /// Joins the headers of all parts, in order, each with its file's name and length in bytes.
    /// A model in one file is one part. Lengths are not checked against the data.
    pub fn join(parts: Vec<(String, u64, Header)>) -> Result<Self, OpenError> {
        let count = parts.len() as u32;
        let mut model = Self { metadata: BTreeMap::new(), tensors: Vec::new(), shards: Vec::new() };
        for (index, (name, file_bytes, header)) in parts.into_iter().enumerate() {
            let index = index as u32;
            let found_count = split_count(&header);
            let found = header.metadata.get("split.no").and_then(Value::as_u32).unwrap_or(0);
            if count > 1 && (found != index || found_count != count) {
                let error =
                    GgufError::WrongShard { number: index + 1, count, found: found.saturating_add(1), found_count };
                return Err(OpenError { file: name, error });
            }
            model.shards.push(Shard { name, file_bytes, data_offset: header.data_offset });
            model.tensors.extend(header.tensors.into_iter().map(|tensor| Tensor { shard: index, ..tensor }));
            if index == 0 {
                model.metadata = header.metadata;
            }
        }
        let first = model.shards.first().map(|shard| shard.name.clone()).unwrap_or_default();
        let expected = model.metadata.get("split.tensors.count").and_then(Value::as_u64);
        let found = model.tensors.len() as u64;
        if let Some(expected) = expected.filter(|expected| count > 1 && *expected != found) {
            return Err(OpenError { file: first, error: GgufError::ShardTensors { expected, found } });
        }
        if model.architecture().is_none() {
            return Err(OpenError { file: first, error: GgufError::NoArchitecture });
        }
        Ok(model)
    }

    /// `general.architecture`
    pub fn architecture(&self) -> Option<&str> {
        self.metadata.get("general.architecture").and_then(Value::as_text)
    }

    /// Bytes of all files.
    pub fn file_bytes(&self) -> u64 {
        self.shards.iter().map(|shard| shard.file_bytes).sum()
    }

    pub fn parameters(&self) -> u64 {
        self.tensors.iter().map(Tensor::elements).fold(0, u64::saturating_add)
    }
}

fn split_count(header: &Header) -> u32 {
    header.metadata.get("split.count").and_then(Value::as_u32).unwrap_or(1)
}
