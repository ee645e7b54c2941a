//! What one server needs at one context, device by device: its model, its draft model, its projector and the process around them.

use super::checkpoint::{HostGrowth, Limits};
use super::overhead::{self, OverheadPart};
use super::predict::Predictor;
use super::projector::ProjectorMemory;
use super::settings::{CacheType, Device, GpuLayers, Settings};
use super::{Build, FitError, Memory, Model, Prediction};
use crate::units::Bytes;

/// A server to be planned: everything but the figures that the search decides.
#[derive(Debug, Clone)]
pub struct Server<'a> {
    pub model: &'a Model,
    /// With the context and the cache types that a search overwrites.
    pub settings: Settings,
    pub draft: Option<Draft<'a>>,
    /// A multimodal projector, on the first device.
    pub projector: Option<ProjectorMemory>,
    pub limits: Limits,
}

#[derive(Debug, Clone)]
pub struct Draft<'a> {
    pub model: &'a Model,
    pub means: DraftMeans,
    pub cache_type_k: CacheType,
    pub cache_type_v: CacheType,
    pub gpu_layers: GpuLayers,
}

/// How a draft is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DraftMeans {
    /// By a smaller model.
    Model,
    /// By layers for multi-token prediction that lie in a file of their own.
    HeadOfItsOwn,
    /// By the main model's own such layers.
    HeadOfTheModel,
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
    /// RAM beyond that, with use.
    pub host_growth: HostGrowth,
    /// Of `devices`, what the projector takes of the first.
    pub projector: Memory,
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

/// A server with one set of flags on given devices, to be asked for many contexts.
#[derive(Debug)]
pub struct Needs<'a> {
    main: Predictor<'a>,
    draft: Option<(Predictor<'a>, (CacheType, CacheType))>,
    projector: Option<ProjectorMemory>,
    limits: Limits,
    devices: Vec<Device>,
    demands: overhead::Demands,
}

impl<'a> Server<'a> {
    /// With `settings`, which are this server's own with some of them decided.
    pub fn needs(&self, settings: &Settings, devices: &[Device], build: Build) -> Result<Needs<'a>, FitError> {
        let main = Predictor::new(self.model, settings.clone(), devices, build)?;
        let draft = self.draft.as_ref().map(|draft| draft.predictor(settings, devices, build)).transpose()?;
        Ok(Needs {
            demands: overhead::Demands::of(self.model),
            main,
            draft,
            projector: self.projector.clone(),
            limits: self.limits,
            devices: devices.to_vec(),
        })
    }
}

impl Needs<'_> {
    /// What one context with these cache types takes.
    pub fn at(&self, tokens: u32, types: (CacheType, CacheType)) -> Result<Need, FitError> {
        let settings = self.main.settings_at(tokens, types);
        let prediction = self.main.at(tokens, types)?;
        let draft = self.draft.as_ref().map(|(draft, own)| draft.at(tokens, *own)).transpose()?;
        let mut host = Memory::default();
        for memory in prediction.host.values().chain(draft.iter().flat_map(|draft| draft.host.values())) {
            add(&mut host, *memory);
        }
        if let Some(projector) = &self.projector {
            add(&mut host, projector.host);
        }
        let mut needs = Vec::with_capacity(self.devices.len());
        let mut parts = Vec::new();
        for (index, device) in self.devices.iter().enumerate() {
            let mut need = DeviceNeed { memory: prediction.devices[index].memory, overhead: 0 };
            if let Some(draft) = &draft {
                add(&mut need.memory, draft.devices[index].memory);
            }
            if let (Some(projector), 0) = (&self.projector, index) {
                add(&mut need.memory, projector.device);
            }
            if need.memory.total() > 0 {
                let mut own = match device.measured_overhead {
                    Some(bytes) => vec![overhead::measured(&device.id, bytes)],
                    None => self.demands.of_process(&device.id, device.compute_capability, &settings, &prediction),
                };
                own.extend((prediction.growth > 0).then(|| overhead::growing(&device.id, prediction.growth)));
                need.overhead = own.iter().map(|part| part.bytes.0).sum();
                parts.extend(own);
            }
            needs.push(need);
        }
        Ok(Need {
            host_growth: self.host_growth(tokens, types)?,
            projector: self.projector.as_ref().map_or_else(Memory::default, |projector| projector.device),
            settings,
            prediction,
            draft,
            devices: needs,
            host,
            overhead: parts,
        })
    }

    fn host_growth(&self, tokens: u32, types: (CacheType, CacheType)) -> Result<HostGrowth, FitError> {
        let mut each = self.main.checkpoint_bytes(tokens, types, false)?;
        if let (Some((draft, own)), true) = (&self.draft, each > 0) {
            each += draft.checkpoint_bytes(tokens, *own, true)?;
        }
        let slots = self.main.settings_at(tokens, types).parallel;
        Ok(HostGrowth {
            checkpoint_bytes: Bytes(each),
            checkpoints: if each > 0 { self.limits.checkpoints.saturating_mul(slots) } else { 0 },
            prompt_cache_bytes: self.limits.prompt_cache.map(Bytes),
        })
    }

    /// Bytes of cache on each device, without a look at anything else.
    pub(crate) fn cache_bytes(&self, tokens: u32, types: (CacheType, CacheType)) -> Result<Vec<u64>, FitError> {
        let mut bytes = self.main.cache_bytes(tokens, types)?;
        if let Some((draft, own)) = &self.draft {
            bytes.iter_mut().zip(draft.cache_bytes(tokens, *own)?).for_each(|(sum, more)| *sum += more);
        }
        Ok(bytes)
    }

    /// Bytes of weights on one device, a projector's included.
    pub(crate) fn weights_on(&self, device: usize) -> u64 {
        let draft = self.draft.as_ref().map_or(0, |(draft, _)| draft.weights_on(device));
        let projector = self.projector.as_ref().filter(|_| device == 0).map_or(0, |memory| memory.device.model);
        self.main.weights_on(device) + draft + projector
    }
}

impl<'a> Draft<'a> {
    /// llama-server gives a draft a context of its own, as long as the target's, with a row of logits for each slot
    /// (llama.cpp b11434 `common/speculative.cpp:2527`).
    fn predictor(
        &self,
        target: &Settings,
        devices: &[Device],
        build: Build,
    ) -> Result<(Predictor<'a>, (CacheType, CacheType)), FitError> {
        let types = (self.cache_type_k, self.cache_type_v);
        let settings = Settings {
            gpu_layers: self.gpu_layers,
            cpu_moe_layers: 0,
            tensor_overrides: Vec::new(),
            drafted_tokens: 0,
            mtp: false,
            outputs_max: None,
            ..target.clone()
        };
        let predictor = match self.means {
            DraftMeans::Model => Predictor::new(self.model, settings, devices, build)?,
            DraftMeans::HeadOfItsOwn => Predictor::of_draft_head(self.model, settings, devices, build, true)?,
            // It lies where the model lies.
            DraftMeans::HeadOfTheModel => {
                let placed = Settings {
                    gpu_layers: target.gpu_layers,
                    cpu_moe_layers: target.cpu_moe_layers,
                    tensor_overrides: target.tensor_overrides.clone(),
                    ..settings
                };
                Predictor::of_draft_head(self.model, placed, devices, build, false)?
            }
        };
        Ok((predictor, types))
    }
}

fn add(sum: &mut Memory, more: Memory) {
    sum.model += more.model;
    sum.context += more.context;
    sum.compute += more.compute;
}
