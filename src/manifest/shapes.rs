//! `manifests/shapes.toml`: what a GGUF header says, in a form of one line a tensor, unfolded into a header again.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

use crate::gguf::{Array, Model, Shard, Tensor, TensorType, Value};

/// The tensors of one model in all quantizations that are known.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    pub name: String,
    architecture: String,
    /// Keys without the architecture's name.
    metadata: BTreeMap<String, toml::Value>,
    /// `output.weight 5120x152064` or `blk.0-3,7.attn_norm.weight 5120 f32`; without a type it depends on the quantization.
    tensors: Vec<String>,
    quantization: Vec<Quantization>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Quantization {
    name: String,
    /// `general.file_type`
    file_type: u64,
    /// The type of most tensors, then the others: `blk.0-3.attn_v.weight q6_K`.
    types: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    shape: Vec<Shape>,
}

/// Parsed once, when a model of the catalogue is asked for; `tests/manifests.rs` unfolds every shape.
#[expect(clippy::expect_used, reason = "the file is embedded and a test parses it")]
static SHAPES: LazyLock<Vec<Shape>> = LazyLock::new(|| {
    toml::from_str::<File>(include_str!("../../manifests/shapes.toml")).expect("manifests/shapes.toml parses").shape
});

/// Sorted by name.
pub fn all() -> &'static [Shape] {
    &SHAPES
}

pub fn by_name(name: &str) -> Option<&'static Shape> {
    all().iter().find(|shape| shape.name == name)
}

/// What a vocabulary takes in a header, bytes a token: texts, types and merges of Qwen2.5's 152,064 take 5.9 MB.
const HEADER_BYTES_PER_TOKEN: u64 = 39;
/// GGUF's default, bytes.
const ALIGNMENT: u64 = 32;

/// One line: which layers (none = the tensor stands outside the layers), and the name there.
struct Line<'a> {
    layers: Option<Vec<u32>>,
    name: &'a str,
    rest: &'a str,
}

impl Shape {
    pub fn quantizations(&self) -> Vec<&str> {
        self.quantization.iter().map(|one| one.name.as_str()).collect()
    }

    /// The header of the file `file_name`: exact but for the file's length, which a vocabulary's texts decide.
    /// `None` for an unknown quantization, or a shape that is none.
    pub fn model(&self, quantization: &str, file_name: &str) -> Option<Model> {
        let quantization = self.quantization.iter().find(|one| one.name == quantization)?;
        let types = Types::parse(&quantization.types)?;
        let tensors = self.tensors(&types)?;
        let vocabulary =
            tensors.iter().find(|tensor| &*tensor.name == "token_embd.weight").map_or(0, |one| one.dims[1]);
        let data_offset = (vocabulary * HEADER_BYTES_PER_TOKEN).next_multiple_of(ALIGNMENT);
        let data = tensors.last().map_or(0, |last| last.offset + last.bytes);
        let shard = Shard { name: file_name.to_owned(), file_bytes: data_offset + data, data_offset };
        Some(Model { metadata: self.metadata(quantization.file_type), tensors, shards: vec![shard] })
    }

    fn metadata(&self, file_type: u64) -> BTreeMap<String, Value> {
        let own = self.metadata.iter().map(|(key, value)| (format!("{}.{key}", self.architecture), converted(value)));
        let general = [
            ("general.architecture".to_owned(), Value::Text(self.architecture.clone())),
            ("general.file_type".to_owned(), Value::Unsigned(file_type)),
        ];
        own.chain(general).collect()
    }

    /// In the file's order: first those outside the layers, then layer by layer.
    fn tensors(&self, types: &Types<'_>) -> Option<Vec<Tensor>> {
        let lines = self.tensors.iter().map(|text| Line::parse(text)).collect::<Option<Vec<Line<'_>>>>()?;
        let layers =
            lines.iter().filter_map(|line| line.layers.as_ref()?.iter().max()).max().map_or(0, |last| last + 1);
        let mut file = Vec::new();
        let mut offset = 0;
        for layer in std::iter::once(None).chain((0..layers).map(Some)) {
            for line in &lines {
                let here = match (layer, &line.layers) {
                    (None, None) => true,
                    (Some(layer), Some(layers)) => layers.contains(&layer),
                    _ => false,
                };
                if here {
                    let tensor = line.tensor(layer, types, offset)?;
                    offset += tensor.bytes.next_multiple_of(ALIGNMENT);
                    file.push(tensor);
                }
            }
        }
        Some(file)
    }
}

impl<'a> Line<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (name, rest) = text.split_once(' ')?;
        let Some(block) = name.strip_prefix("blk.") else { return Some(Self { layers: None, name, rest }) };
        let (layers, name) = block.split_once('.')?;
        Some(Self { layers: Some(numbers(layers)?), name, rest })
    }

    fn tensor(&self, layer: Option<u32>, types: &Types<'_>, offset: u64) -> Option<Tensor> {
        let (sizes, fixed) = self.rest.split_once(' ').map_or((self.rest, None), |(sizes, fixed)| (sizes, Some(fixed)));
        let mut dims = [1; 4];
        for (index, size) in sizes.split('x').enumerate() {
            *dims.get_mut(index)? = size.parse().ok()?;
        }
        let tensor_type = match fixed {
            Some(name) => type_named(name)?,
            None => types.of(layer, self.name),
        };
        let elements: u64 = dims.iter().product();
        let name = layer.map_or_else(|| self.name.to_owned(), |layer| format!("blk.{layer}.{}", self.name));
        let bytes = elements / tensor_type.block() * tensor_type.block_bytes();
        Some(Tensor { name: name.into(), dims, tensor_type, offset, bytes, shard: 0 })
    }
}

/// Which tensors of one quantization have which type.
struct Types<'a> {
    most: TensorType,
    others: Vec<(Line<'a>, TensorType)>,
}

impl<'a> Types<'a> {
    fn parse(texts: &'a [String]) -> Option<Self> {
        let (most, others) = texts.split_first()?;
        let others = others.iter().map(|text| {
            let line = Line::parse(text)?;
            let tensor_type = type_named(line.rest)?;
            Some((line, tensor_type))
        });
        Some(Self { most: type_named(most)?, others: others.collect::<Option<_>>()? })
    }

    fn of(&self, layer: Option<u32>, name: &str) -> TensorType {
        let is_it = |line: &Line<'_>| {
            line.name == name
                && match (layer, &line.layers) {
                    (None, None) => true,
                    (Some(layer), Some(layers)) => layers.contains(&layer),
                    _ => false,
                }
        };
        self.others.iter().find(|(line, _)| is_it(line)).map_or(self.most, |(_, tensor_type)| *tensor_type)
    }
}

/// `0-3,7`
fn numbers(text: &str) -> Option<Vec<u32>> {
    let mut all = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        all.extend(first.parse::<u32>().ok()?..=last.parse::<u32>().ok()?);
    }
    Some(all)
}

fn type_named(name: &str) -> Option<TensorType> {
    (0..64).filter_map(TensorType::from_id).find(|one| one.name() == name)
}

fn converted(value: &toml::Value) -> Value {
    let number = |value: &toml::Value| match value {
        toml::Value::Integer(number) => *number as f64,
        toml::Value::Float(number) => *number,
        toml::Value::Boolean(bit) => f64::from(u8::from(*bit)),
        _ => 0.0,
    };
    match value {
        toml::Value::Integer(number) => u64::try_from(*number).map_or(Value::Signed(*number), Value::Unsigned),
        toml::Value::Float(number) => Value::Float(*number),
        toml::Value::Boolean(bit) => Value::Bool(*bit),
        toml::Value::Array(values) => {
            Value::Array(Array { len: values.len() as u64, numbers: values.iter().map(number).collect() })
        }
        other => Value::Text(other.as_str().unwrap_or_default().to_owned()),
    }
}
