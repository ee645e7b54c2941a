//! What one server needs at one context, device by device: its model, its draft model, its projector and the process around them.

use super::graph::tensor::Place;
use super::overhead::{self, OverheadPart};
use super::placement::Placement;
use super::settings::{CacheType, Device, GpuLayers, Settings};
use super::{Build, FitError, Memory, Model, Prediction, predict};

/// A server to be planned: everything but the figures that the search decides.
#[derive(Debug, Clone)]
pub struct Server<'a> {
    pub model: &'a Model,
    /// With the context and the cache types that a search overwrites.
    pub settings: Settings,
    pub draft: Option<Draft<'a>>,
    /// VRAM of a multimodal projector, bytes: weights, and an estimate of its compute buffer.
    pub projector: Option<Memory>,
}

#[derive(Debug, Clone)]
pub struct Draft<'a> {
    pub model: &'a Model,
    pub cache_type_k: CacheType,
    pub cache_type_v: CacheType,
    pub gpu_layers: GpuLayers,
}

/// What a configuration of one server takes.
#[derive(Debug, Clone)]
pub struct Need {
    pub settings: Settings,
    pub prediction: Prediction,
    pub draft: Option<Prediction>,
    /// In the order of the devices.
    pub devices: Vec<DeviceNeed>,
    pub host: Memory,
    pub overhead: Vec<OverheadPart>,
}

#[derive(Debug, Clone, Copy, Default)]
pub struct DeviceNeed {
    pub memory: Memory,
    pub overhead: u64,
}

impl DeviceNeed {
    pub fn total(&self) -> u64 {
        self.memory.total() + self.overhead
    }
}

impl Server<'_> {
    /// The need of `settings`, which is this server's own with some of it decided.
    pub fn need(&self, settings: &Settings, devices: &[Device], build: Build) -> Result<Need, FitError> {
        let prediction = predict(self.model, settings, devices, build)?;
        let draft = self.draft.as_ref().map(|draft| draft.predict(settings, devices, build)).transpose()?;
        let mut host = Memory::default();
        for memory in prediction.host.values().chain(draft.iter().flat_map(|draft| draft.host.values())) {
            add(&mut host, *memory);
        }
        let main = main_device(self.model, settings, devices)?;
        let mut needs = Vec::with_capacity(devices.len());
        let mut parts = Vec::new();
        for (index, device) in devices.iter().enumerate() {
            let mut need = DeviceNeed { memory: prediction.devices[index].memory, overhead: 0 };
            if let Some(draft) = &draft {
                add(&mut need.memory, draft.devices[index].memory);
            }
            if let (Some(projector), true) = (self.projector, Some(index) == main) {
                add(&mut need.memory, projector);
            }
            if need.memory.total() > 0 {
                let own = match device.measured_overhead {
                    Some(bytes) => vec![overhead::measured(&device.id, bytes)],
                    None => {
                        overhead::of_process(&device.id, device.compute_capability, self.model, settings, &prediction)
                    }
                };
                need.overhead = own.iter().map(|part| part.bytes.0).sum();
                parts.extend(own);
            }
            needs.push(need);
        }
        Ok(Need { settings: settings.clone(), prediction, draft, devices: needs, host, overhead: parts })
    }
}

impl Draft<'_> {
    /// llama-server gives the draft model a context of its own, as long as the target's
    /// (llama.cpp b11434 `common/speculative.cpp:2527`).
    fn predict(&self, target: &Settings, devices: &[Device], build: Build) -> Result<Prediction, FitError> {
        let settings = Settings {
            cache_type_k: self.cache_type_k,
            cache_type_v: self.cache_type_v,
            gpu_layers: self.gpu_layers,
            cpu_moe_layers: 0,
            tensor_overrides: Vec::new(),
            mtp_draft_tokens: 0,
            outputs_max: None,
            ..target.clone()
        };
        predict(self.model, &settings, devices, build)
    }
}

fn add(sum: &mut Memory, more: Memory) {
    sum.model += more.model;
    sum.context += more.context;
    sum.compute += more.compute;
}

/// The device of the first layer on a GPU: there a projector is loaded.
fn main_device(model: &Model, settings: &Settings, devices: &[Device]) -> Result<Option<usize>, FitError> {
    let placement = Placement::new(model, settings, devices)?;
    let first = placement.layers.iter().chain([&placement.output]).find_map(|place| match place {
        Place::Device(slot) => placement.used.get(usize::from(*slot)).map(|index| usize::from(*index)),
        Place::Host => None,
    });
    Ok(first)
}
