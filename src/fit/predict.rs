//! The bytes that llama.cpp will allocate for one model and one exact configuration, by buffer.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::FitError;
use super::architecture::GraphKind;
use super::build::{Build, Variant};
use super::checkpoint;
use super::context::Context;
use super::graph::allocator;
use super::graph::builder::{Batch, Builder};
use super::graph::cuda::CudaDevice;
use super::graph::kernels;
use super::graph::repeats::Layers;
use super::graph::scheduler::{self, Backend};
use super::graph::tensor::{Id, Op, Place};
use super::memory;
use super::model::Model;
use super::placement::Placement;
use super::settings::{CacheType, Device, FlashAttention, Settings};
use crate::units::Bytes;

/// What llama.cpp's memory breakdown shows for a device, bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Memory {
    pub model: u64,
    /// KV cache and recurrent state.
    pub context: u64,
    pub compute: u64,
}

impl Memory {
    pub fn total(&self) -> u64 {
        self.model + self.context + self.compute
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceMemory {
    /// `CUDA0`
    pub id: String,
    pub memory: Memory,
}

/// Host buffers by llama.cpp's name: `CPU_Mapped`, `CUDA_Host`, `CPU`.
pub type HostMemory = BTreeMap<&'static str, Memory>;

/// Where a layer is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerPlace {
    /// Index among the given devices.
    Device(usize),
    Host,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prediction {
    pub devices: Vec<DeviceMemory>,
    pub host: HostMemory,
    /// The pinned buffer for logits, part of no other figure.
    pub output_buffer: u64,
    /// KV cache of all layers, without padding.
    pub kv_bytes: u64,
    pub recurrent_bytes: u64,
    /// KV bytes that one more token of context costs; windows and states cost none.
    pub bytes_per_token: u64,
    /// Whether flash attention is used, `auto` resolved.
    pub flash_attention: bool,
    /// Every layer's flash attention runs where the layer is: false where the GPU has no kernel for the types.
    pub attention_stays: bool,
    /// As `-ngl` counts: layers plus one for the output.
    pub gpu_layers: u32,
    /// Tokens of all slots together, after llama.cpp's rounding.
    pub context: u64,
    /// The most tokens that one slot can hold.
    pub context_per_slot: u64,
    pub layers: Vec<LayerPlace>,
    /// The most that a GPU's compute buffer grows while the context fills, bytes.
    pub growth: u64,
    /// What the user should know about the figures.
    pub notes: Vec<String>,
}

/// Predicts one configuration. Milliseconds at most; no IO.
pub fn predict(model: &Model, settings: &Settings, devices: &[Device], build: Build) -> Result<Prediction, FitError> {
    let predictor = Predictor::new(model, settings.clone(), devices, build)?;
    predictor.at(settings.context, (settings.cache_type_k, settings.cache_type_v))
}

/// One model with one set of flags on given devices. What neither the context nor the cache types change is worked out once:
/// the placement, the weights by place, and which layers repeat.
#[derive(Debug)]
pub struct Predictor<'a> {
    model: &'a Model,
    part: Part,
    settings: Settings,
    devices: Vec<Device>,
    build: Build,
    pub(super) placement: Placement,
    layers: Vec<Layers>,
    /// Which of `layers` last proved that the others repeat.
    proven: AtomicUsize,
    weights: (memory::ByPlace, &'static str),
}

impl<'a> Predictor<'a> {
    pub fn new(model: &'a Model, mut settings: Settings, devices: &[Device], build: Build) -> Result<Self, FitError> {
        if model.architecture.style.refuses_flash_attention {
            settings.flash_attention = FlashAttention::Off;
        }
        let placement = Placement::new(model, &settings, devices)?;
        refuse_half_measured(model, &placement)?;
        let layers = Layers::candidates(model, &placement);
        let weights = memory::weights(model, &placement, settings.load_mode, settings.mtp);
        Ok(Self {
            model,
            part: Part::Layers,
            settings,
            devices: devices.to_vec(),
            build,
            placement,
            layers,
            proven: AtomicUsize::new(0),
            weights,
        })
    }

    /// The context that drafts with a model's own layers for multi-token prediction. With `loads`, the model is loaded for it;
    /// without, it is there already (llama.cpp b11434 `common/speculative.cpp:2590`).
    pub fn of_draft_head(
        model: &'a Model,
        settings: Settings,
        devices: &[Device],
        build: Build,
        loads: bool,
    ) -> Result<Self, FitError> {
        let mut head = Self::new(model, Settings { mtp: true, drafted_tokens: 0, ..settings }, devices, build)?;
        head.part = Part::DraftHead;
        if !loads {
            head.weights.0.clear();
        }
        Ok(head)
    }

    fn part_layers(&self) -> Range<u32> {
        match self.part {
            Part::Layers => 0..self.model.layers(),
            Part::DraftHead => self.model.layers()..self.model.layers_all,
        }
    }

    /// The flags, with this context and these types of K and V.
    pub(crate) fn settings_at(&self, context: u32, types: (CacheType, CacheType)) -> Settings {
        let settings = Settings { context, cache_type_k: types.0, cache_type_v: types.1, ..self.settings.clone() };
        if !settings.whole_inputs {
            return settings;
        }
        let parts = if settings.kv_unified { 1 } else { settings.parallel.max(1) };
        // llama.cpp stops where the rows to pool are not the rows of all slots alike.
        let batch = (context / parts).max(1).next_multiple_of(settings.parallel.max(1));
        Settings { batch, ubatch: batch, ..settings }
    }

    /// Predicts one context and pair of cache types.
    pub fn at(&self, tokens: u32, types: (CacheType, CacheType)) -> Result<Prediction, FitError> {
        let settings = &self.settings_at(tokens, types);
        let mut context = self.context(settings)?;
        check_types(self.model, &context)?;
        let quantized_v = context.kind_v.is_quantized();
        context.flash_attention = settings.flash_attention != FlashAttention::Off;
        if quantized_v && !context.flash_attention {
            return Err(FitError::QuantizedVNeedsFlashAttention);
        }
        // A quantized V forces flash attention on: then nothing is probed.
        let probes = settings.flash_attention == FlashAttention::Auto && !quantized_v;
        let mut compute = vec![0; self.placement.used.len() + 1];
        let mut attention_stays = true;
        let mut growth = 0;
        for variant in self.build.variants() {
            let replay = |context: &Context| {
                Replay {
                    model: self.model,
                    context,
                    placement: &self.placement,
                    settings,
                    devices: &self.devices,
                    variant: *variant,
                    layers: &self.layers,
                    part: self.part,
                    proven: &self.proven,
                }
                .run()
            };
            let mut result = replay(&context);
            if let Some(tensor) = result.missing {
                return Err(FitError::MissingTensor { tensor });
            }
            if probes && context.flash_attention && !result.attention_stays {
                context.flash_attention = false;
                result = replay(&context);
            }
            if !result.mixing_stays {
                let apart = Context { mixes_apart: true, ..context };
                let attention = result.attention_stays;
                result = replay(&apart);
                result.attention_stays = attention;
            }
            if self.model.architecture.graph == GraphKind::MinimaxM3 && context.chooses_blocks() {
                let full = replay(&Context { is_full: true, ..context });
                let each = full.peaks.iter().zip(&result.peaks).take(self.placement.used.len());
                growth = each.map(|(full, reserved)| full.saturating_sub(*reserved)).fold(growth, u64::max);
            }
            attention_stays &= result.attention_stays;
            compute.iter_mut().zip(result.peaks).for_each(|(most, peak)| *most = (*most).max(peak));
        }
        Ok(self.assemble(&Parts { context, compute, attention_stays, growth }))
    }

    /// Kernels that decoding one token starts, with `prediction`'s context and way of attention.
    pub(crate) fn kernels_of_one_token(&self, prediction: &Prediction) -> Result<u64, FitError> {
        let settings = &self.settings;
        let mut context = Context::new(self.model, settings)?;
        context.flash_attention = prediction.flash_attention;
        let variant = self.build.variants().first().copied().unwrap_or(Variant::B11434);
        let replay = Replay {
            model: self.model,
            context: &context,
            placement: &self.placement,
            settings,
            devices: &self.devices,
            variant,
            layers: &self.layers,
            proven: &self.proven,
            part: Part::Layers,
        };
        let one = Batch { tokens: 1, sequences: 1, outputs: 1 };
        Ok(kernels::of(&replay.described(one, &Layers::all(self.model)).graph))
    }

    /// One checkpoint of a sequence, bytes; of a draft's context, what it adds to one.
    pub(crate) fn checkpoint_bytes(
        &self,
        tokens: u32,
        types: (CacheType, CacheType),
        drafts: bool,
    ) -> Result<u64, FitError> {
        let settings = self.settings_at(tokens, types);
        let context = self.context(&settings)?;
        Ok(if drafts {
            checkpoint::draft_bytes(self.model, self.part_layers(), settings.swa_full, &context)
        } else {
            checkpoint::bytes(self.model, settings.swa_full, &context)
        })
    }

    pub(crate) fn weights_on(&self, device: usize) -> u64 {
        let slot = self.placement.used.iter().position(|used| usize::from(*used) == device);
        slot.map_or(0, |slot| at(&self.weights.0, Place::Device(slot as u8)))
    }

    /// Bytes of KV cache and recurrent state on each device. Flash attention is taken to be on unless the flags forbid it:
    /// for a first guess, where nothing is replayed yet.
    pub(crate) fn cache_bytes(&self, tokens: u32, types: (CacheType, CacheType)) -> Result<Vec<u64>, FitError> {
        let settings = self.settings_at(tokens, types);
        let mut context = self.context(&settings)?;
        context.flash_attention = settings.flash_attention != FlashAttention::Off;
        let (kv, _) = memory::kv_cache(self.model, self.part_layers(), &context, &self.placement);
        let (state, _) = self.state(&context);
        let mut bytes = vec![0; self.devices.len()];
        for (slot, index) in self.placement.used.iter().enumerate() {
            let place = Place::Device(slot as u8);
            bytes[*index as usize] = at(&kv, place) + at(&state, place);
        }
        Ok(bytes)
    }

    fn context(&self, settings: &Settings) -> Result<Context, FitError> {
        let mut context = Context::new(self.model, settings)?;
        if self.part == Part::DraftHead {
            context.state_snapshots = 0;
        }
        Ok(context)
    }

    /// Recurrent state by place, and in all: layers that only draft have none.
    fn state(&self, context: &Context) -> (memory::ByPlace, u64) {
        match self.part {
            Part::Layers => memory::recurrent_state(self.model, context, &self.placement),
            Part::DraftHead => (memory::ByPlace::new(), 0),
        }
    }

    fn assemble(&self, parts: &Parts) -> Prediction {
        let Self { model, devices, placement, weights: (weights, host_name), .. } = self;
        let Parts { context, compute, attention_stays, growth } = parts;
        let (kv, kv_bytes) = memory::kv_cache(model, self.part_layers(), context, placement);
        let (state, recurrent_bytes) = self.state(context);
        let mut device_memory: Vec<DeviceMemory> =
            devices.iter().map(|device| DeviceMemory { id: device.id.clone(), memory: Memory::default() }).collect();
        for (slot, index) in placement.used.iter().enumerate() {
            let place = Place::Device(slot as u8);
            device_memory[*index as usize].memory = Memory {
                model: at(weights, place),
                context: at(&kv, place) + at(&state, place),
                compute: compute[slot],
            };
        }
        let mut host = HostMemory::new();
        let without_gpu = placement.used.is_empty();
        let host_name = if without_gpu && *host_name == "CUDA_Host" { "CPU" } else { *host_name };
        host.entry(host_name).or_default().model += at(weights, Place::Host);
        host.entry(if without_gpu { "CPU" } else { "CUDA_Host" }).or_default().compute += compute[placement.used.len()];
        let host_context = at(&kv, Place::Host) + at(&state, Place::Host);
        if host_context > 0 {
            host.entry("CPU").or_default().context += host_context;
        }
        Prediction {
            devices: device_memory,
            host,
            output_buffer: output_buffer(model, context),
            kv_bytes,
            recurrent_bytes,
            bytes_per_token: memory::bytes_per_token(model, self.part_layers(), context),
            flash_attention: context.flash_attention,
            attention_stays: *attention_stays,
            gpu_layers: placement.gpu_layers,
            context: context.cells_total,
            context_per_slot: context.cells_per_sequence,
            layers: placement
                .layers
                .iter()
                .map(|place| match place {
                    Place::Device(slot) => LayerPlace::Device(placement.used[*slot as usize] as usize),
                    Place::Host => LayerPlace::Host,
                })
                .collect(),
            notes: self.build.note().into_iter().chain(self.model.architecture.notes()).chain(grows(*growth)).collect(),
            growth: *growth,
        }
    }
}

/// What a user should leave free where the reserved buffer is not the last word.
fn grows(bytes: u64) -> Option<String> {
    (bytes > 0).then(|| {
        format!(
            "llama.cpp reserves for an empty cache: while the context fills, it takes up to {} more on a GPU, which the plan counts; slots that share one cache take none",
            Bytes(bytes)
        )
    })
}

/// What is known to be off is not planned.
fn refuse_half_measured(model: &Model, placement: &Placement) -> Result<(), FitError> {
    let is_swin =
        model.architecture.style.norms_after_if_swin && model.whole("swin_norm").is_some_and(|flag| flag != 0);
    if is_swin && placement.layers.contains(&Place::Host) {
        return Err(FitError::Refused {
            name: model.architecture.name.clone(),
            why: "with norms after attention (`swin_norm`) is planned with all layers on GPUs only".to_owned(),
            instead: "give `-ngl all` and larger or more cards".to_owned(),
        });
    }
    Ok(())
}

/// Logits of each row that is put out, bytes; for embeddings, of each row of a batch and beside its embedding, though nothing
/// ever reads them (`src/llama-context.cpp:2142`).
fn output_buffer(model: &Model, context: &Context) -> u64 {
    if context.embeddings {
        return (model.vocabulary + model.whole("embedding_length_out").unwrap_or(model.embedding)) * context.batch * 4;
    }
    model.vocabulary * context.sequences * 4
}

fn at(by_place: &memory::ByPlace, place: Place) -> u64 {
    by_place.get(&place).copied().unwrap_or(0)
}

/// What of a model a context computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Layers,
    /// The layers for multi-token prediction alone, in a context of their own.
    DraftHead,
}

/// What one configuration adds to its [`Predictor`].
struct Parts {
    context: Context,
    compute: Vec<u64>,
    attention_stays: bool,
    /// The most that a GPU's compute buffer grows while the context fills, bytes.
    growth: u64,
}

fn check_types(model: &Model, context: &Context) -> Result<(), FitError> {
    if model.architecture.memory == super::architecture::Memory::None {
        return Ok(());
    }
    if model.is_latent() && context.kind_k != context.kind_v {
        return Err(FitError::UnequalTypes);
    }
    for layer in 0..model.layers() {
        for (kind, head) in [(context.kind_k, model.head_k_at(layer)), (context.kind_v, model.head_v_at(layer))] {
            if head % kind.block() != 0 {
                return Err(FitError::HeadNotInBlocks { cache: kind.name(), block: kind.block(), head });
            }
        }
    }
    Ok(())
}

/// The graphs that llama.cpp reserves, replayed for one variant.
struct Replay<'a> {
    model: &'a Model,
    context: &'a Context,
    placement: &'a Placement,
    settings: &'a Settings,
    devices: &'a [Device],
    variant: Variant,
    layers: &'a [Layers],
    proven: &'a AtomicUsize,
    part: Part,
}

#[derive(Default)]
struct Replayed {
    peaks: Vec<u64>,
    /// Every layer's flash attention runs where the layer is.
    attention_stays: bool,
    /// The same of the ops that mix residual streams.
    mixing_stays: bool,
    /// A weight that the file lacks: then nothing else was found out.
    missing: Option<String>,
}

impl Replay<'_> {
    /// A prompt's graph and one token's, as `sched_reserve` orders them: each buffer is as large as the larger one needs.
    fn run(&self) -> Replayed {
        let sequences = self.context.sequences;
        let tokens = self.context.cells_total.min(self.context.ubatch);
        let prompt = Batch {
            tokens: tokens.next_multiple_of(sequences),
            sequences,
            outputs: tokens.min(self.context.outputs_max),
        };
        let one = Batch { tokens: sequences, sequences, outputs: sequences };
        let mut first = self.reserve(prompt);
        let second = self.reserve(one);
        first.peaks.iter_mut().zip(&second.peaks).for_each(|(peak, other)| *peak = (*peak).max(*other));
        // llama.cpp probes with one token a sequence: host layers' work is not worth a GPU then.
        first.attention_stays = second.attention_stays;
        first.mixing_stays = second.mixing_stays;
        first
    }

    /// Replays one graph with as few layers as prove that the others only repeat: those that last did, first.
    fn reserve(&self, batch: Batch) -> Replayed {
        if self.part == Part::DraftHead {
            return self.reserve_head(batch);
        }
        let proven = self.proven.load(Ordering::Relaxed);
        for (index, layers) in self.layers.iter().enumerate().skip(proven) {
            if let Some(replayed) = self.reserve_layers(batch, layers) {
                self.proven.store(index, Ordering::Relaxed);
                return replayed;
            }
        }
        Replayed::default()
    }

    /// A head that is not described takes less than all layers and its two inputs.
    fn reserve_head(&self, batch: Batch) -> Replayed {
        let mut builder = self.builder(batch, &Layers::default());
        if builder.draft_head() {
            return self.replay(builder, &Layers::default()).unwrap_or_default();
        }
        let mut all = self.reserve_layers(batch, &Layers::all(self.model)).unwrap_or_default();
        let inputs = 4 * 4 * self.model.embedding * batch.tokens;
        all.peaks.iter_mut().for_each(|peak| *peak += inputs);
        all
    }

    fn builder(&self, batch: Batch, layers: &Layers) -> Builder<'_> {
        Builder::new(self.model, self.context, self.placement, self.variant.rules(), batch, &layers.built)
    }

    fn reserve_layers(&self, batch: Batch, layers: &Layers) -> Option<Replayed> {
        self.replay(self.described(batch, layers), layers)
    }

    /// The graph of these layers, as the architecture's block kind describes it.
    fn described(&self, batch: Batch, layers: &Layers) -> Builder<'_> {
        let mut builder = self.builder(batch, layers);
        match self.model.architecture.graph {
            GraphKind::Transformer | GraphKind::Encoder => builder.transformer(),
            GraphKind::Bert => builder.bert(),
            GraphKind::Deepseek2 => builder.deepseek2(),
            GraphKind::SparseLatent => builder.sparse_latent(),
            GraphKind::Mamba => builder.mamba(),
            GraphKind::Qwen3next => builder.qwen3next(),
            GraphKind::Hybrid => builder.hybrid(),
            GraphKind::FalconH1 => builder.falcon_h1(),
            GraphKind::NemotronH => builder.nemotron_h(),
            GraphKind::KimiLinear | GraphKind::Bailingmoe3 => builder.kimi_linear(),
            GraphKind::Rwkv => builder.rwkv(),
            GraphKind::KimiK3 => builder.kimi_k3(),
            GraphKind::HyV4 => builder.hy_v4(),
            GraphKind::Deepseek4 => builder.deepseek4(),
            GraphKind::Glm5Next => builder.glm5_next(),
            GraphKind::MinimaxM3 => builder.minimax_m3(),
            GraphKind::Gemma3n => builder.gemma3n(),
            GraphKind::Gemma4 => builder.gemma4(),
        }
        builder
    }

    fn replay(&self, mut builder: Builder<'_>, layers: &Layers) -> Option<Replayed> {
        let rules = self.variant.rules();
        if let Some(missing) = builder.missing {
            return Some(Replayed { missing: Some(missing), ..Replayed::default() });
        }
        let attention = std::mem::take(&mut builder.attention_nodes);
        let mixing = std::mem::take(&mut builder.mixing_nodes);
        let ends = std::mem::take(&mut builder.layer_ends);
        let equal_after: Vec<_> =
            layers.equal_after.iter().map(|(first, second)| (ends[*first], ends[*second])).collect();
        let backends: Vec<Backend> = self
            .placement
            .used
            .iter()
            .enumerate()
            .map(|(slot, index)| {
                Backend::Cuda(CudaDevice {
                    index: slot as u8,
                    compute_capability: self.devices[*index as usize].compute_capability,
                })
            })
            .chain([Backend::Host])
            .collect();
        let options = scheduler::Options {
            op_offload: self.settings.op_offload,
            copies: if self.placement.is_pipeline(self.settings) { scheduler::PIPELINE_COPIES } else { 1 },
            copies_unread_inputs: rules.copies_unread_inputs,
            fusions: rules.fusions,
        };
        let plan = scheduler::plan(builder.graph, &backends, options);
        let stays = |(id, layer): &(Id, u32)| {
            plan.assigned[*id as usize] == self.placement.backend_of(self.placement.layers[*layer as usize])
        };
        let attention_stays =
            attention.iter().all(|node| plan.tensors[node.0 as usize].op != Op::FlashAttention || stays(node));
        let mixing_stays = mixing.iter().all(stays);
        let peaks = allocator::peaks(&plan, &backends, &equal_after)?;
        Some(Replayed { peaks, attention_stays, mixing_stays, missing: None })
    }
}
