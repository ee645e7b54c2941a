//! Tokens a second, estimated from the bytes that one token reads, the bandwidths that read them, the kernels it starts and the
//! vocabulary it is chosen from. An estimate, never a promise.

use super::graph::tensor::Place;
use super::model::{Class, Model};
use super::placement::Placement;
use super::settings::{Device, Settings};
use super::{Build, Prediction, Predictor};
use crate::manifest::estimates;
use crate::units::ComputeCapability;

/// Tokens a second, with what the truth usually lies between.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Speed {
    pub decode: f64,
    pub prompt: f64,
    /// Factors around `decode`; prompts vary more.
    pub band: (f64, f64),
}

/// What the figures that the table was made from lie between.
const BAND: (f64, f64) = (0.6, 1.4);
/// How full the cache is taken to be, tokens: a chat of some length.
const TYPICAL_DEPTH: u64 = 4096;

/// What one device reads a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reader {
    pub capability: ComputeCapability,
    /// Peak bytes a second, where known.
    pub bandwidth: Option<u64>,
}

/// `None` where a device that is used has no known bandwidth, or a build copies weights back and forth.
pub fn estimate(
    model: &Model,
    settings: &Settings,
    devices: &[Device],
    readers: &[Reader],
    prediction: &Prediction,
) -> Option<Speed> {
    // Experts that are copied to the host for each token take as long as the bus does: nothing here knows it.
    if model.architecture.experts.precise_down {
        return None;
    }
    let predictor = Predictor::new(model, settings.clone(), devices, Build::NEWEST).ok()?;
    let kernels = predictor.kernels_of_one_token(prediction).ok()? as f64;
    let placement = &predictor.placement;
    let tables = estimates::speeds();
    let read = bytes_read(model, placement, settings.mtp);
    let depth = TYPICAL_DEPTH.min(prediction.context) as f64;
    let cache = prediction.bytes_per_token as f64 * depth;
    let all: f64 = read.iter().sum::<f64>().max(1.0);
    // A prompt's batch reads every expert, and knows only afterwards which.
    let sparse = if model.whole("expert_used_count").unwrap_or(0) > 0 { tables.prompt.experts } else { 1.0 };
    let (mut decode, mut prompt) = (model.vocabulary as f64 * tables.host.sampling_ns * 1e-9, 0.0);
    for (slot, weights) in read.iter().enumerate().filter(|(_, bytes)| **bytes > 0.0) {
        let bytes = weights + cache * weights / all;
        let Some(index) = placement.used.get(slot) else {
            let reading = bytes / (tables.host.bandwidth_gb_s * 1e9);
            decode += reading;
            prompt += reading / tables.host.prompt_ratio;
            continue;
        };
        let reader = readers.get(*index as usize)?;
        let row = estimates::row(&tables.card, reader.capability, |row| row.capability)?;
        let reading = bytes / (reader.bandwidth? as f64 * row.efficiency);
        let starts = kernels * weights / all * row.kernel_us * 1e-6;
        decode += reading + starts;
        prompt +=
            reading / (row.prompt_ratio * sparse) + starts * tables.prompt.kernel_factor / f64::from(settings.ubatch);
    }
    Some(Speed { decode: 1.0 / decode, prompt: 1.0 / prompt, band: BAND })
}

/// Bytes of weights that decoding one token reads, by the placement's slots; the last entry is host memory.
/// Of experts, only as many as are used; of the input table, one row.
fn bytes_read(model: &Model, placement: &Placement, mtp: bool) -> Vec<f64> {
    let experts = model.whole("expert_count").unwrap_or(0) as f64;
    let used = model.whole("expert_used_count").unwrap_or(0) as f64;
    let host = placement.used.len();
    let slot = |place| match place {
        Place::Device(device) => usize::from(device),
        Place::Host => host,
    };
    let mut read = vec![0.0; host + 1];
    for (weight, place) in model.weights.iter().zip(&placement.weights) {
        let part = match weight.class {
            Class::Input => 0.0,
            Class::Layer(layer) if layer >= model.layers() && !mtp => 0.0,
            _ if weight.dims[2] > 1 && experts > 0.0 => used / experts,
            _ => 1.0,
        };
        read[slot(*place)] += weight.bytes as f64 * part;
    }
    if model.output_is_tied()
        && let Some(table) = model.weight("token_embd.weight")
    {
        read[slot(placement.output)] += table.bytes as f64;
    }
    read
}
