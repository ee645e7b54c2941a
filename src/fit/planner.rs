//! From models, wishes and GPUs to the plan: every option searched, compared, and one recommended.

use std::collections::BTreeMap;
use std::panic::resume_unwind;

use super::choice::{self, Preference};
use super::need::Need;
use super::plan::{LimitedBy, MemoryParts, Plan, PlanDevice, PlanModel, PlanOption, PlanServer, SCHEMA};
use super::search::{Asked, Budget, Found, Search, Wish};
use super::settings::{CacheType, Device, FlashAttention};
use super::speed::{self, Reader};
use super::{Build, FitError, Model};
use crate::host::facts::GpuOrigin;
use crate::script::arguments::{self, Location, ServerRequest};
use crate::units::{BuildTag, Bytes, GIB, grouped};

/// A GPU of the plan.
#[derive(Debug, Clone)]
pub struct PlanGpu {
    pub name: String,
    pub origin: GpuOrigin,
    pub device: Device,
    pub reserve: Bytes,
    /// What the operating system keeps from any one process, bytes.
    pub kept: u64,
    pub bandwidth: Option<u64>,
}

/// A model of the plan, and how its server is started.
#[derive(Debug)]
pub struct PlannedModel<'a> {
    pub shown: PlanModel,
    pub wish: Wish<'a>,
    pub location: Location,
    pub mmproj: Option<String>,
    pub draft: Option<Location>,
    pub more_arguments: Vec<String>,
}

/// Everything that a plan follows from.
#[derive(Debug)]
pub struct Question<'a> {
    pub models: Vec<PlannedModel<'a>>,
    pub gpus: Vec<PlanGpu>,
    pub build: Build,
    pub build_tag: Option<BuildTag>,
    pub cache_type_k: Option<CacheType>,
    pub cache_type_v: Option<CacheType>,
    /// RAM that programs may take, where the plan is for a machine that is known.
    pub ram_available: Option<Bytes>,
    /// The build's `FA_QUANTS`.
    pub kernels: String,
    pub preference: Preference,
    /// Whether the plan shows its arithmetic.
    pub explain: bool,
}

/// What llama-server itself would not go below (`--fit-ctx`, b11434 `common/common.h:490`), tokens.
pub(crate) const SHORT: u64 = 4096;

/// The first port of a plan; further servers take the next ones.
const FIRST_PORT: u16 = 8080;

/// Searches of their own take together as long as the longest: the results in the order of what was asked.
pub(crate) fn side_by_side<A: Sync, R: Send>(asked: &[A], search: impl Fn(&A) -> R + Sync) -> Vec<R> {
    std::thread::scope(|scope| {
        let searches: Vec<_> = asked.iter().map(|one| scope.spawn(|| search(one))).collect();
        searches.into_iter().map(|one| one.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    })
}

impl Question<'_> {
    pub fn answer(&self) -> Result<Plan, FitError> {
        let flash_attention =
            self.models.first().map_or(FlashAttention::Auto, |one| one.wish.server.settings.flash_attention);
        let pairs = choice::pairs(self.cache_type_k, self.cache_type_v, flash_attention, &self.kernels);
        let wishes: Vec<&Wish<'_>> = self.models.iter().map(|model| &model.wish).collect();
        let budgets = self.budgets();
        let search = Search::new(&wishes, &budgets, self.build)?;
        let mut options = Vec::new();
        let mut all_found = Vec::new();
        let mut refused = None;
        for searched in side_by_side(&pairs, |types| self.option(&search, *types)) {
            match searched {
                Ok(Some((option, found))) => {
                    options.push(option);
                    all_found.push(found);
                }
                Ok(None) => {}
                // A pair that the model cannot have is no option, unless nothing else is left.
                Err(error @ (FitError::HeadNotInBlocks { .. } | FitError::QuantizedVNeedsFlashAttention))
                    if pairs.len() > 1 =>
                {
                    refused = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        if let (true, Some(error)) = (options.is_empty(), refused) {
            return Err(error);
        }
        let recommended = choice::recommend(&options, self.preference);
        if let Some((index, _)) = &recommended {
            options[*index].ladder = self.ladder(&all_found[*index])?;
        }
        let remedies = if recommended.is_none() { super::remedy::what_would_fit(self, &options) } else { Vec::new() };
        Ok(Plan {
            schema: SCHEMA.to_owned(),
            devices: self.gpus.iter().map(shown).collect(),
            models: self.models.iter().map(|model| model.shown.clone()).collect(),
            options,
            recommended: recommended.as_ref().map(|(index, _)| *index),
            reason: recommended.map_or_else(String::new, |(_, reason)| reason),
            build: self.build_tag,
            remedies,
            second_opinion: None,
        })
    }

    pub(crate) fn budgets(&self) -> Vec<Budget> {
        let usable = |gpu: &PlanGpu| gpu.device.free.0.saturating_sub(gpu.reserve.0).saturating_sub(gpu.kept);
        self.gpus.iter().map(|gpu| Budget { device: gpu.device.clone(), usable: usable(gpu) }).collect()
    }

    /// The option of one pair of types; none where the pair means nothing to these models.
    fn option(
        &self,
        search: &Search<'_>,
        types: (CacheType, CacheType),
    ) -> Result<Option<(PlanOption, Found)>, FitError> {
        let asked = Asked { types, beyond_training: self.preference == Preference::Context };
        let found = search.largest(asked)?;
        let is_chosen = self.cache_type_k.is_some() || self.cache_type_v.is_some();
        let has_cache = found.servers.iter().any(|server| server.need.prediction.kv_bytes > 0);
        let leaves_gpu = |need: &Need| types.1.is_quantized() && !need.prediction.attention_stays;
        if !is_chosen && types.1.is_quantized() && (!has_cache || found.servers.iter().any(|one| leaves_gpu(&one.need)))
        {
            return Ok(None);
        }
        let encodes = found.servers.iter().all(|one| one.need.settings.embeddings);
        let trained =
            !encodes && found.fits && found.servers.iter().any(|one| one.limited_by == LimitedBy::TrainContext);
        let larger = if trained { Some(search.largest(Asked { beyond_training: true, ..asked })?) } else { None };
        Ok(Some((self.shown_option(&found, larger.as_ref()), found)))
    }

    fn shown_option(&self, found: &Found, larger: Option<&Found>) -> PlanOption {
        let servers: Vec<PlanServer> =
            (0..found.servers.len()).map(|index| self.server(found, larger, index)).collect();
        let headroom = self.gpus.iter().zip(&found.headroom).map(|(gpu, left)| (gpu.device.id.clone(), *left));
        let mut notes = Vec::new();
        for (server, planned) in found.servers.iter().zip(&self.models) {
            notes.extend(server.need.prediction.notes.iter().cloned());
            notes.extend(self.warnings(&server.need, planned));
            notes.extend(planned.wish.server.projector.iter().flat_map(|projector| projector.notes.iter().cloned()));
        }
        notes.extend(self.ram_note(found));
        notes.dedup();
        PlanOption { servers, fits: found.fits, headroom_bytes: headroom.collect(), notes, ladder: Vec::new() }
    }

    fn server(&self, found: &Found, larger: Option<&Found>, index: usize) -> PlanServer {
        let planned = &self.models[index];
        let model = planned.wish.server.model;
        let need = &found.servers[index].need;
        let settings = &need.settings;
        let prediction = &need.prediction;
        let devices: Vec<Device> = self.gpus.iter().map(|gpu| gpu.device.clone()).collect();
        let readers: Vec<Reader> = self
            .gpus
            .iter()
            .map(|gpu| Reader { capability: gpu.device.compute_capability, bandwidth: gpu.bandwidth })
            .collect();
        // Nothing is decoded where embeddings are made.
        let speed =
            (!settings.embeddings).then(|| speed::estimate(model, settings, &devices, &readers, prediction)).flatten();
        let kv_bytes = prediction.kv_bytes + need.draft.as_ref().map_or(0, |draft| draft.kv_bytes);
        let per_token = prediction.bytes_per_token + need.draft.as_ref().map_or(0, |draft| draft.bytes_per_token);
        let vram_context = larger.map(|larger| larger.servers[index].need.settings.context);
        PlanServer {
            model: index,
            context: settings.context,
            cache_type_k: settings.cache_type_k,
            cache_type_v: settings.cache_type_v,
            flash_attention: prediction.flash_attention,
            gpu_layers: prediction.gpu_layers,
            cpu_moe_layers: settings.cpu_moe_layers,
            parallel: settings.parallel,
            kv_unified: settings.kv_unified,
            batch: settings.batch,
            ubatch: settings.ubatch,
            limited_by: found.servers[index].limited_by,
            memory: self.memory(need),
            kv_bytes: Bytes(kv_bytes),
            output_bytes: Bytes(prediction.output_buffer),
            host_growth: need.host_growth,
            bytes_per_token: Bytes(per_token),
            tokens_per_second: speed.map_or(0.0, |speed| rounded(speed.decode)),
            prompt_tokens_per_second: speed.map_or(0.0, |speed| rounded(speed.prompt)),
            speed_band: speed.map_or([0.0, 0.0], |speed| [speed.band.0, speed.band.1]),
            vram_context: vram_context.filter(|context| *context > settings.context),
            overhead: need.overhead.clone(),
            explanation: if self.explain {
                super::explain::steps(model, need, &devices).unwrap_or_default()
            } else {
                Vec::new()
            },
            arguments: self.arguments(planned, need, index),
        }
    }

    fn memory(&self, need: &Need) -> BTreeMap<String, MemoryParts> {
        let host = MemoryParts {
            model: Bytes(need.host.model),
            context: Bytes(need.host.context),
            compute: Bytes(need.host.compute),
            overhead: None,
            total: None,
        };
        let on_device = |gpu: &PlanGpu, index: usize| {
            let device = need.devices[index];
            let parts = MemoryParts {
                model: Bytes(device.memory.model),
                context: Bytes(device.memory.context),
                compute: Bytes(device.memory.compute),
                overhead: Some(Bytes(device.overhead)),
                total: Some(Bytes(device.total())),
            };
            (gpu.device.id.clone(), parts)
        };
        let devices = self.gpus.iter().enumerate().map(|(index, gpu)| on_device(gpu, index));
        devices.chain([("Host".to_owned(), host)]).collect()
    }

    fn arguments(&self, planned: &PlannedModel<'_>, need: &Need, index: usize) -> Vec<String> {
        let devices: Vec<String> = self.gpus.iter().map(|gpu| gpu.device.id.clone()).collect();
        let request = ServerRequest {
            build: self.build_tag,
            model: &planned.location,
            settings: &need.settings,
            flash_attention: need.prediction.flash_attention,
            gpu_layers: need.prediction.gpu_layers,
            devices: &devices,
            mmproj: planned.mmproj.as_deref(),
            draft: planned.draft.as_ref(),
            host: "127.0.0.1",
            port: FIRST_PORT + index as u16,
            api_key_file: None,
        };
        let mut words = arguments::words(&request);
        words.extend(planned.more_arguments.iter().cloned());
        words
    }

    /// Whether the servers' RAM is there: at the start, and with use.
    fn ram_note(&self, found: &Found) -> Option<String> {
        let available = self.ram_available?.0;
        let needs = || found.servers.iter().map(|server| &server.need);
        let start: u64 = needs().map(|need| need.host.total() + need.prediction.output_buffer).sum();
        if start > available {
            return Some(format!(
                "RAM is short: {} are needed at the start, {} are available; what lies there is read from the disk again and again",
                Bytes(start),
                Bytes(available)
            ));
        }
        let growth: Option<u64> = needs().map(|need| need.host_growth.most()).sum();
        let grown = growth.map_or(u64::MAX, |growth| growth.saturating_add(start));
        if grown <= available {
            return None;
        }
        let checkpoints = needs().map(|need| need.host_growth).find(|growth| growth.checkpoint_bytes.0 > 0);
        let kept = checkpoints.map_or_else(String::new, |growth| {
            format!(" and up to {} checkpoints of {} each (-ctxcp)", growth.checkpoints, growth.checkpoint_bytes)
        });
        let cache = match growth {
            Some(_) => needs().filter_map(|need| need.host_growth.prompt_cache_bytes).map(|bytes| bytes.0).sum(),
            None => 0,
        };
        let cache = if growth.is_some() { format!("up to {}", Bytes(cache)) } else { "without limit".to_owned() };
        Some(format!(
            "RAM may run short with use: saved prompts take {cache} (--cache-ram){kept}; {} are available, {} of them taken at the start",
            Bytes(available),
            Bytes(start)
        ))
    }

    fn warnings(&self, need: &Need, planned: &PlannedModel<'_>) -> Vec<String> {
        let mut notes = Vec::new();
        let trained = u64::from(planned.wish.server.model.train_context);
        if need.prediction.context_per_slot > trained.next_multiple_of(256) {
            notes.push(format!(
                "past {} tokens, which {} was trained on, it needs rope scaling: quality there is not promised",
                grouped(trained),
                planned.shown.name
            ));
        }
        let settings = &need.settings;
        if settings.embeddings {
            notes.extend(encoder_notes(need, planned.wish.server.model));
            return notes;
        }
        if need.prediction.context_per_slot < SHORT && SHORT <= trained {
            notes
                .push(format!("{} tokens are short of what most uses need", grouped(need.prediction.context_per_slot)));
        }
        if !settings.kv_unified && settings.parallel > 1 {
            notes.push(format!(
                "{} slots share the context: {} tokens each",
                settings.parallel,
                grouped(need.prediction.context_per_slot)
            ));
        }
        let equal = settings.cache_type_k == settings.cache_type_v;
        let pair = format!("{}-{}", settings.cache_type_k, settings.cache_type_v);
        let compiled = self.kernels.trim() == "all" || self.kernels.split([';', ',']).any(|one| one.trim() == pair);
        if need.prediction.flash_attention && !compiled {
            let which = if equal { "this type" } else { "this pair of types" };
            notes.push(format!(
                "the build has no fast kernel for {which}: K and V are converted to f16 for every token"
            ));
        }
        if is_phi3_fault(need, planned.wish.server.model) {
            notes.push(
                "llama.cpp b11434 aborts with this: phi3, quantized K and V, several slots, --no-kv-unified".to_owned(),
            );
        }
        notes
    }
}

/// What differs where embeddings are made, not text.
fn encoder_notes(need: &Need, model: &Model) -> Vec<String> {
    let settings = &need.settings;
    let what = if settings.reranks { "scores texts (`/v1/rerank`)" } else { "makes embeddings (`/v1/embeddings`)" };
    let longest = need.prediction.context_per_slot.min(u64::from(settings.ubatch)).min(u64::from(model.train_context));
    let mut notes = vec![format!(
        "it {what} and no text: an input is one batch, so -ub decides the longest, here {} tokens",
        grouped(longest)
    )];
    if need.prediction.kv_bytes > 0 {
        notes.push(
            "llama.cpp allocates a cache for this architecture and never uses it: small cache types lose nothing"
                .to_owned(),
        );
    }
    if need.prediction.output_buffer >= GIB {
        notes.push(format!(
            "a full batch pins {:.1} GiB of host memory for logits that nothing reads: a smaller -ub takes less",
            Bytes(need.prediction.output_buffer).gib()
        ));
    }
    notes
}

/// Known fault of b11434: the graph's hash set is too small (`truth/README.md`).
fn is_phi3_fault(need: &Need, model: &Model) -> bool {
    let settings = &need.settings;
    model.architecture.name == "phi3"
        && settings.cache_type_k.is_quantized()
        && settings.cache_type_v.is_quantized()
        && settings.parallel > 1
        && !settings.kv_unified
}

fn shown(gpu: &PlanGpu) -> PlanDevice {
    PlanDevice {
        id: gpu.device.id.clone(),
        name: gpu.name.clone(),
        compute_capability: gpu.device.compute_capability,
        total_bytes: gpu.device.total,
        free_bytes: gpu.device.free,
        reserve_bytes: Bytes(gpu.reserve.0 + gpu.kept),
        origin: gpu.origin,
    }
}

fn rounded(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}
