//! A model as the planner needs it: hyperparameters that decide sizes, and tensors by the layer they belong to.

use std::collections::HashMap;

use super::FitError;
use super::architecture::{self, Architecture, Memory};
use super::graph::encoder::Pooling;
use super::refusal;
use crate::gguf::{self, TensorType, Value};

/// A model's shape, independent of any setting. Cheap to keep, shared by every prediction.
#[derive(Debug)]
pub struct Model {
    /// `general.architecture`, or what `--assume` put in its place.
    pub architecture: &'static Architecture,
    /// Repeating layers, multi-token-prediction layers included: the count that `-ngl` knows.
    pub layers_all: u32,
    /// Multi-token-prediction layers at the end.
    pub layers_mtp: u32,
    pub train_context: u32,
    pub vocabulary: u64,
    pub(crate) embedding: u64,
    pub(crate) heads: Vec<u64>,
    pub(crate) kv_heads: Vec<u64>,
    pub(crate) head_k: u64,
    pub(crate) head_v: u64,
    pub(crate) head_k_window: u64,
    pub(crate) head_v_window: u64,
    /// Cells of a sliding window; 0 without.
    pub(crate) window: u64,
    /// Layers that see the window only.
    pub(crate) windowed: Vec<bool>,
    /// Layers with recurrent state.
    pub(crate) recurrent: Vec<bool>,
    pub(crate) weights: Vec<Weight>,
    pub(crate) layer_weights: Vec<HashMap<Box<str>, u32>>,
    pub(crate) other_weights: HashMap<Box<str>, u32>,
    /// Bytes before the data in each file, and of each file.
    numbers: HashMap<String, Numbers>,
}

/// A metadata value that is a number, or one for each layer.
#[derive(Debug, Clone)]
enum Numbers {
    One(f64),
    Each(Vec<f64>),
}

/// Where llama.cpp puts a tensor: with the input (always host memory), with a layer, or with the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    Input,
    Layer(u32),
    /// Small factors that every device with layers has once.
    EveryDevice,
    Output,
}

#[derive(Debug, Clone)]
pub(crate) struct Weight {
    pub(crate) name: Box<str>,
    pub(crate) class: Class,
    pub(crate) kind: TensorType,
    pub(crate) dims: [u64; 4],
    pub(crate) bytes: u64,
    /// First byte in its file's data.
    pub(crate) offset: u64,
    pub(crate) shard: u32,
}

/// Input-layer tensors (llama.cpp b11434 `src/llama-arch.cpp:750`).
const INPUT: [&str; 6] = [
    "token_embd.weight",
    "token_embd.scale",
    "position_embd.weight",
    "token_types.weight",
    "per_layer_token_embd.weight",
    "token_embd_masked.weight",
];
/// Tensors without a layer's number in their name that go with the first layer (`src/llama-arch.cpp:754`, `:958`).
const FIRST_LAYER: [&str; 4] =
    ["token_embd_norm.weight", "token_embd_norm.bias", "per_layer_model_proj.weight", "per_layer_proj_norm.weight"];
const EVERY_DEVICE: [&str; 3] = ["rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"];

impl Model {
    /// Reads a model of a known architecture.
    pub fn new(gguf: &gguf::Model) -> Result<Self, FitError> {
        let name = gguf.architecture().unwrap_or_default();
        let architecture = architecture::find(name).ok_or_else(|| refusal::reason(name))?;
        Self::of(gguf, name, architecture)
    }

    /// Reads a model as if it were of architecture `assumed`; its metadata keys keep the file's own prefix.
    pub fn assuming(gguf: &gguf::Model, assumed: &str) -> Result<Self, FitError> {
        let architecture =
            architecture::find(assumed).ok_or_else(|| FitError::UnknownArchitecture { name: assumed.to_owned() })?;
        Self::of(gguf, gguf.architecture().unwrap_or_default(), architecture)
    }

    fn of(gguf: &gguf::Model, prefix: &str, architecture: &'static Architecture) -> Result<Self, FitError> {
        let numbers = numbers(gguf, prefix);
        let missing = |key: &str| FitError::MissingKey { key: format!("{prefix}.{key}") };
        let whole = |key: &str| numbers.get(key).map(|numbers| numbers.at(0) as u64);
        if whole("decision.block_count").is_some_and(|count| count > 0) {
            return Err(FitError::Refused {
                name: architecture.name.clone(),
                why: "with a decision head is not modelled".to_owned(),
                instead: "start it with `llama-server`: its log says what it allocates".to_owned(),
            });
        }
        let layers_all =
            whole("block_count").filter(|count| (1..=1024).contains(count)).ok_or_else(|| missing("block_count"))?;
        let loops = if architecture.style.loops { whole("num_loops").unwrap_or(1).clamp(1, 1024) } else { 1 };
        let layers_all = layers_all * loops;
        let layers_mtp = whole("nextn_predict_layers").unwrap_or(0).min(layers_all - 1);
        let embedding =
            whole("embedding_length").filter(|value| *value > 0).ok_or_else(|| missing("embedding_length"))?;
        let each = |key: &str, default: u64| -> Vec<u64> {
            let found = numbers.get(key);
            (0..layers_all as usize).map(|layer| found.map_or(default, |numbers| numbers.at(layer) as u64)).collect()
        };
        let heads = each("attention.head_count", 0);
        let first_heads = heads[0];
        let kv_heads = match numbers.get("attention.head_count_kv") {
            Some(_) => each("attention.head_count_kv", 0),
            None => heads.clone(),
        };
        let default_head = embedding.checked_div(first_heads).unwrap_or(0);
        let head_k = whole("attention.key_length").unwrap_or(default_head);
        let head_v = whole("attention.value_length").unwrap_or(default_head);
        if first_heads == 0 && architecture.memory != Memory::Recurrent && heads.iter().all(|heads| *heads == 0) {
            return Err(missing("attention.head_count"));
        }

        let mut model = Self {
            architecture,
            layers_all: layers_all as u32,
            layers_mtp: layers_mtp as u32,
            train_context: whole("context_length").ok_or_else(|| missing("context_length"))?.min(u64::from(u32::MAX))
                as u32,
            vocabulary: 0,
            embedding,
            heads,
            kv_heads,
            head_k,
            head_v,
            head_k_window: whole("attention.key_length_swa").unwrap_or(head_k),
            head_v_window: whole("attention.value_length_swa").unwrap_or(head_v),
            window: 0,
            windowed: vec![false; layers_all as usize],
            recurrent: vec![false; layers_all as usize],
            weights: Vec::with_capacity(gguf.tensors.len()),
            layer_weights: vec![HashMap::new(); layers_all as usize],
            other_weights: HashMap::new(),
            numbers,
        };
        model.take_tensors(gguf);
        model.vocabulary = model
            .weight("output.weight")
            .or_else(|| model.weight("token_embd.weight"))
            .map(|weight| weight.dims[1])
            .ok_or_else(|| FitError::MissingTensor { tensor: "token_embd.weight".to_owned() })?;
        architecture.windows(&mut model);
        architecture.recurrence(&mut model);
        Ok(model)
    }

    /// How often all layers are passed.
    pub(crate) fn loops(&self) -> u32 {
        if self.architecture.style.loops { self.whole("num_loops").unwrap_or(1).clamp(1, 1024) as u32 } else { 1 }
    }

    /// Whether a pass of all layers ends here, another follows, and a norm stands between.
    pub(crate) fn ends_loop(&self, layer: u32) -> bool {
        let each = self.layers_all / self.loops();
        let skips = self.whole("skip_loop_final_norm").is_some_and(|flag| flag != 0);
        self.loops() > 1 && (layer + 1).is_multiple_of(each) && layer + 1 < self.layers_all && !skips
    }

    fn take_tensors(&mut self, gguf: &gguf::Model) {
        for tensor in &gguf.tensors {
            let name = &*tensor.name;
            let index = self.weights.len() as u32;
            let layer = name.strip_prefix("blk.").and_then(|rest| {
                let (number, suffix) = rest.split_once('.')?;
                Some((number.parse::<u32>().ok().filter(|number| *number < self.layers_all)?, suffix))
            });
            let class = if let Some((layer, suffix)) = layer {
                let each = self.layers_all / self.loops();
                for pass in (layer..self.layers_all).step_by(each as usize) {
                    self.layer_weights[pass as usize].insert(suffix.into(), index);
                }
                Class::Layer(layer)
            } else {
                self.other_weights.insert(name.into(), index);
                if INPUT.contains(&name) {
                    Class::Input
                } else if EVERY_DEVICE.contains(&name) {
                    Class::EveryDevice
                } else if FIRST_LAYER.contains(&name) && !self.architecture.style.misnames_output_norm {
                    Class::Layer(0)
                } else {
                    Class::Output
                }
            };
            self.weights.push(Weight {
                name: tensor.name.clone(),
                class,
                kind: tensor.tensor_type,
                dims: tensor.dims,
                bytes: tensor.bytes,
                offset: tensor.offset,
                shard: tensor.shard,
            });
        }
    }

    /// Whether a layer has positions where every n-th has none.
    pub(crate) fn ropes_by_number(&self, layer: u32) -> bool {
        let without_windows = self.architecture.style.temperature_without_rope && self.window == 0;
        let interval = if without_windows {
            u64::from(self.layers())
        } else {
            self.whole("no_rope_layer_interval").unwrap_or(4).max(1)
        };
        !u64::from(layer + 1).is_multiple_of(interval)
    }

    /// Layers that a normal context computes.
    pub fn layers(&self) -> u32 {
        self.layers_all - self.layers_mtp
    }

    pub(crate) fn weight(&self, name: &str) -> Option<&Weight> {
        self.other_weights.get(name).map(|index| &self.weights[*index as usize])
    }

    /// A metadata number under the architecture's prefix.
    pub(crate) fn number(&self, key: &str) -> Option<f64> {
        self.numbers.get(key).map(|numbers| numbers.at(0))
    }

    pub(crate) fn whole(&self, key: &str) -> Option<u64> {
        self.number(key).map(|number| number as u64)
    }

    /// A metadata number of one layer; the same for all where the file gives one.
    pub(crate) fn whole_at(&self, key: &str, layer: u32) -> Option<u64> {
        self.number_at(key, layer).map(|number| number as u64)
    }

    pub(crate) fn number_at(&self, key: &str, layer: u32) -> Option<f64> {
        self.numbers.get(key).map(|numbers| numbers.at(layer as usize))
    }

    /// The values of an array with one entry a layer.
    pub(crate) fn each(&self, key: &str) -> Option<&[f64]> {
        match self.numbers.get(key) {
            Some(Numbers::Each(values)) => Some(values),
            _ => None,
        }
    }

    pub(crate) fn head_k_at(&self, layer: u32) -> u64 {
        if self.windowed[layer as usize] { self.head_k_window } else { self.head_k }
    }

    pub(crate) fn head_v_at(&self, layer: u32) -> u64 {
        if self.windowed[layer as usize] { self.head_v_window } else { self.head_v }
    }

    /// Output and input share one tensor: it exists twice when the output is on a GPU.
    pub(crate) fn output_is_tied(&self) -> bool {
        self.weight("output.weight").is_none() && !self.architecture.style.needs_no_output
    }

    pub(crate) fn layer_weight(&self, layer: u32, name: &str) -> Option<&Weight> {
        self.layer_weights[layer as usize].get(name).map(|index| &self.weights[*index as usize])
    }

    /// How embeddings of an input become one.
    pub(crate) fn pooling(&self) -> Pooling {
        // ModernBERT takes the mean where the file does not say.
        let mean =
            self.whole("classifier.pooling_type").map_or(self.architecture.name == "modern-bert", |kind| kind == 1);
        match self.whole("pooling_type") {
            Some(1) => Pooling::Mean,
            Some(2 | 3) => Pooling::Row,
            Some(4) => Pooling::Rank { mean },
            _ => Pooling::None,
        }
    }

    /// Puts out scores, not embeddings.
    pub fn reranks(&self) -> bool {
        matches!(self.pooling(), Pooling::Rank { .. })
    }

    /// Tokens see earlier ones only.
    pub(crate) fn is_causal(&self) -> bool {
        !self.architecture.style.never_causal && self.whole("attention.causal").is_none_or(|flag| flag != 0)
    }
}

impl Numbers {
    fn at(&self, index: usize) -> f64 {
        match self {
            Self::One(value) => *value,
            Self::Each(values) => values.get(index).or(values.last()).copied().unwrap_or(0.0),
        }
    }
}

fn numbers(gguf: &gguf::Model, prefix: &str) -> HashMap<String, Numbers> {
    gguf.metadata
        .iter()
        .filter_map(|(key, value)| {
            let key = key.strip_prefix(prefix)?.strip_prefix('.')?.to_owned();
            let numbers = match value {
                Value::Array(array) if !array.numbers.is_empty() => Numbers::Each(array.numbers.clone()),
                Value::Bool(value) => Numbers::One(f64::from(u8::from(*value))),
                other => Numbers::One(other.as_f64()?),
            };
            Some((key, numbers))
        })
        .collect()
}
