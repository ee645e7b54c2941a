//! Which device each layer and each tensor goes to (llama.cpp b11434 `src/llama-model.cpp:1550`, `llama-model-loader.cpp:1166`).

use regex_lite::Regex;

use super::FitError;
use super::graph::tensor::Place;
use super::model::{Class, Model, Weight};
use super::settings::{Device, GpuLayers, Settings, SplitMode};
use crate::gguf::TensorType;

/// What `-ncmoe N` keeps in host memory for the first N layers: names with one of these, and one of those behind it
/// (`common/common.h:1224`).
const EXPERT_PROJECTIONS: [&str; 4] = ["up", "down", "gate", "gate_up"];
const EXPERT_KINDS: [&str; 2] = ["_exps", "_chexps"];

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Placement {
    /// The devices that take part, by their index among all; a [`Place::Device`] counts in this list.
    pub(crate) used: Vec<u8>,
    pub(crate) layers: Vec<Place>,
    pub(crate) output: Place,
    /// By tensor.
    pub(crate) weights: Vec<Place>,
    /// As `-ngl` counts: layers plus one for the output.
    pub(crate) gpu_layers: u32,
    pub(crate) everything_offloaded: bool,
    pub(crate) has_overrides: bool,
    pub(crate) cache_on_gpu: bool,
    pub(crate) op_offload: bool,
}

impl Placement {
    pub(crate) fn new(model: &Model, settings: &Settings, devices: &[Device]) -> Result<Self, FitError> {
        let used = used_devices(settings, devices)?;
        let all = model.layers_all + 1;
        let asked = match settings.gpu_layers {
            GpuLayers::Auto | GpuLayers::All => all,
            GpuLayers::Count(count) => count,
        };
        let gpu_layers = if used.is_empty() { 0 } else { asked.min(all) };
        let first = all - gpu_layers;
        let points = split_points(settings, devices, &used)?;
        let place = |layer: u32| {
            if layer < first {
                return Place::Host;
            }
            // llama.cpp compares in single precision.
            let at = (layer - first) as f32 / gpu_layers as f32;
            let index = points.iter().position(|point| at < *point).unwrap_or(points.len() - 1);
            Place::Device(index as u8)
        };
        let layers: Vec<Place> = (0..model.layers_all).map(place).collect();
        let output = place(model.layers_all);
        let overrides = overrides(settings, devices, &used)?;
        let weights = model
            .weights
            .iter()
            .map(|weight| {
                let by_layer = match weight.class {
                    Class::Input => Place::Host,
                    Class::Layer(layer) => layers[layer as usize],
                    Class::EveryDevice => layers[0],
                    Class::Output => output,
                };
                let chosen = overrides.iter().find(|(pattern, _)| pattern.is_match(&weight.name));
                let wanted = match chosen {
                    Some((_, place)) => *place,
                    None if is_cpu_moe(weight, settings.cpu_moe_layers) => Place::Host,
                    None => by_layer,
                };
                if runs_on_gpu(weight) { wanted } else { Place::Host }
            })
            .collect();
        Ok(Self {
            everything_offloaded: asked > model.layers_all && !used.is_empty(),
            used,
            layers,
            output,
            weights,
            gpu_layers,
            has_overrides: !overrides.is_empty() || settings.cpu_moe_layers > 0,
            cache_on_gpu: settings.kv_offload,
            op_offload: settings.op_offload,
        })
    }

    pub(crate) fn host_backend(&self) -> i8 {
        self.used.len() as i8
    }

    pub(crate) fn backend_of(&self, place: Place) -> i8 {
        match place {
            Place::Device(device) => device as i8,
            Place::Host => self.host_backend(),
        }
    }

    /// Where a layer's cache lives.
    pub(crate) fn cache_place(&self, layer: u32) -> Place {
        if self.cache_on_gpu { self.layers[layer as usize] } else { Place::Host }
    }

    /// Several GPUs work as a pipeline (`src/llama-context.cpp:431`).
    pub(crate) fn is_pipeline(&self, settings: &Settings) -> bool {
        self.used.len() > 1
            && settings.split_mode == SplitMode::Layer
            && self.everything_offloaded
            && self.cache_on_gpu
            && !self.has_overrides
    }
}

/// Whether a weight holds experts of one of the first `layers` layers.
fn is_cpu_moe(weight: &Weight, layers: u32) -> bool {
    matches!(weight.class, Class::Layer(layer) if layer < layers)
        && weight.name.split(".ffn_").skip(1).any(|rest| {
            EXPERT_PROJECTIONS.iter().any(|projection| {
                let kind = rest.strip_prefix(projection);
                kind.is_some_and(|kind| EXPERT_KINDS.iter().any(|name| kind.starts_with(name)))
            })
        })
}

/// Weights that CUDA cannot multiply stay in host memory.
fn runs_on_gpu(weight: &Weight) -> bool {
    !matches!(weight.kind, TensorType::TQ1_0 | TensorType::TQ2_0)
}

fn used_devices(settings: &Settings, devices: &[Device]) -> Result<Vec<u8>, FitError> {
    if devices.len() > 16 {
        return Err(FitError::TooManyDevices(devices.len()));
    }
    if settings.split_mode == SplitMode::None && !devices.is_empty() {
        let main = settings.main_gpu;
        return if (main as usize) < devices.len() {
            Ok(vec![main as u8])
        } else {
            Err(FitError::NoSuchDevice { name: format!("CUDA{main}") })
        };
    }
    Ok((0..devices.len() as u8).collect())
}

/// Cumulative shares of the devices, by `-ts` or by free memory.
fn split_points(settings: &Settings, devices: &[Device], used: &[u8]) -> Result<Vec<f32>, FitError> {
    if used.is_empty() {
        return Ok(vec![1.0]);
    }
    let given = &settings.tensor_split;
    if given.len() > devices.len() {
        return Err(FitError::TensorSplit { given: given.len(), devices: devices.len() });
    }
    let by_free_memory = given.iter().all(|share| *share == 0.0);
    let shares: Vec<f32> = used
        .iter()
        .enumerate()
        .map(|(index, device)| {
            if by_free_memory {
                devices[*device as usize].free.0 as f32
            } else {
                given.get(index).copied().unwrap_or(0.0)
            }
        })
        .collect();
    let mut sum = 0.0_f32;
    let mut points: Vec<f32> = shares
        .iter()
        .map(|share| {
            sum += share;
            sum
        })
        .collect();
    if sum <= 0.0 || !sum.is_finite() {
        return Ok((1..=used.len()).map(|index| index as f32 / used.len() as f32).collect());
    }
    for point in &mut points {
        *point /= sum;
    }
    Ok(points)
}

fn overrides(settings: &Settings, devices: &[Device], used: &[u8]) -> Result<Vec<(Regex, Place)>, FitError> {
    let mut all = Vec::new();
    for one in &settings.tensor_overrides {
        let place = if one.buffer == "CPU" {
            Place::Host
        } else {
            let index = used.iter().position(|device| devices[*device as usize].id == one.buffer);
            let index = index.ok_or_else(|| FitError::NoSuchDevice { name: one.buffer.clone() })?;
            Place::Device(index as u8)
        };
        let pattern = Regex::new(&one.pattern)
            .map_err(|error| FitError::Pattern { pattern: one.pattern.clone(), error: error.to_string() })?;
        all.push((pattern, place));
    }
    Ok(all)
}
