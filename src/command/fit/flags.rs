//! What the flags ask of the planner, with llama-server's meanings and defaults.

use crate::cli::fit::{Contexts, CpuMoeLayers, FitArguments, Preference as PreferenceArgument, Slots};
use crate::failure::Failure;
use crate::fit::Model;
use crate::fit::checkpoint::Limits;
use crate::fit::choice::{DEFAULT_KERNELS, Preference};
use crate::fit::need::DraftMeans;
use crate::fit::planner::PlanGpu;
use crate::fit::settings::{GpuLayers, Settings, SplitMode};
use crate::manifest::server_flags;
use crate::units::{BuildTag, MIB};

/// llama-server's settings, as its own flags make them (b11434 `tools/server/server.cpp:168` for the slots).
pub(in crate::command) fn settings(
    arguments: &FitArguments,
    model: &Model,
    gpus: &[PlanGpu],
    servers: usize,
    drafting: Option<DraftMeans>,
) -> Settings {
    let default = Settings::default();
    let (parallel, unified) = match arguments.parallel {
        None | Some(Slots::Auto) => (default.parallel, true),
        Some(Slots::Count(count)) => (count, false),
    };
    let encodes = model.architecture.encodes();
    let (batch, ubatch) = match (arguments.batch_size, arguments.ubatch_size) {
        // llama-server makes both the smaller one: an input of an encoder cannot be cut (`tools/server/server.cpp:162`).
        (batch, ubatch) if encodes => {
            let either = batch.into_iter().chain(ubatch).min().unwrap_or(default.ubatch);
            (either, either)
        }
        (batch, ubatch) => (batch.unwrap_or(default.batch), ubatch.unwrap_or(default.ubatch)),
    };
    let shares = arguments.tensor_split.as_ref().map(|split| split.0.clone()).unwrap_or_default();
    // Servers start one after the other: without fixed shares the second would see less free memory and split otherwise.
    let shares = if shares.is_empty() && servers > 1 && gpus.len() > 1 {
        gpus.iter().map(|gpu| gpu.device.free.mib().floor() as f32).collect()
    } else {
        shares
    };
    Settings {
        batch,
        ubatch,
        embeddings: encodes,
        reranks: encodes && model.reranks(),
        whole_inputs: encodes && arguments.batch_size.is_none() && arguments.ubatch_size.is_none(),
        parallel,
        kv_unified: (unified || arguments.kv_unified) && !arguments.no_kv_unified,
        flash_attention: arguments.flash_attn.unwrap_or_default(),
        gpu_layers: arguments.gpu_layers.unwrap_or(GpuLayers::All),
        cpu_moe_layers: match arguments.n_cpu_moe {
            Some(CpuMoeLayers::Count(count)) => count,
            _ if arguments.cpu_moe => model.layers_all,
            _ => 0,
        },
        tensor_overrides: arguments.override_tensor.iter().flat_map(|one| one.0.clone()).collect(),
        split_mode: arguments.split_mode.unwrap_or(SplitMode::Layer),
        tensor_split: shares,
        main_gpu: arguments.main_gpu.unwrap_or(0),
        swa_full: arguments.swa_full,
        kv_offload: !arguments.no_kv_offload,
        op_offload: !arguments.no_op_offload,
        load_mode: arguments.load_mode.unwrap_or_default(),
        drafted_tokens: drafting.map_or(0, |_| arguments.spec_draft_n_max.unwrap_or(DRAFT_TOKENS)),
        mtp: drafting.is_some_and(|means| means != DraftMeans::Model),
        ..default
    }
}

/// `--spec-draft-n-max`'s default (llama.cpp b11434 `common/common.h:400`).
const DRAFT_TOKENS: u32 = 3;

/// What the server keeps in RAM.
pub(super) fn limits(arguments: &FitArguments) -> Limits {
    let default = Limits::default();
    Limits {
        checkpoints: arguments.ctx_checkpoints.unwrap_or(default.checkpoints),
        prompt_cache: match arguments.cache_ram {
            None => default.prompt_cache,
            // Every negative number is no limit (llama.cpp b11434 `tools/server/server-context.cpp:1482`).
            Some(mib) => u64::try_from(mib).ok().map(|mib| mib * MIB),
        },
    }
}

/// The words for these limits, where they were asked for.
pub(super) fn limit_words(arguments: &FitArguments, build: BuildTag) -> Vec<String> {
    let checkpoints = arguments.ctx_checkpoints.map(|count| ("ctx-checkpoints", count.to_string()));
    let cache = arguments.cache_ram.map(|mib| ("cache-ram", mib.to_string()));
    let spelled = |(id, value): (&str, String)| {
        server_flags::spelling(id, Some(build)).map(|spelling| [spelling.text.clone(), value])
    };
    [checkpoints, cache].into_iter().flatten().filter_map(spelled).flatten().collect()
}

/// The context asked of one model; 0 and absent mean the largest.
pub(super) fn context(asked: Option<&Contexts>, index: usize, models: usize) -> Result<Option<u32>, Failure> {
    let Some(Contexts(list)) = asked else { return Ok(None) };
    if list.len() != 1 && list.len() != models {
        return Err(Failure::usage(format!("-c names {} contexts for {models} models", list.len()))
            .hinted("give one for all, or one for each; 0 = the largest that fits"));
    }
    Ok(list.get(index).or(list.first()).copied().filter(|context| *context > 0))
}

pub(super) fn weight(arguments: &FitArguments, index: usize, models: usize) -> Result<f64, Failure> {
    let Some(weights) = &arguments.weights else { return Ok(1.0) };
    if weights.0.len() != models || weights.0.iter().any(|weight| *weight <= 0.0) {
        return Err(Failure::usage(format!("--weights needs {models} numbers above zero, one for each model")));
    }
    let least = weights.0.iter().copied().fold(f32::MAX, f32::min);
    Ok(f64::from(weights.0[index] / least))
}

/// What offloading to host memory is worth when it is ours to choose, tokens.
const OFFLOADED_CONTEXT: u32 = 16_384;

pub(super) fn min_context(arguments: &FitArguments, model: &Model) -> u32 {
    let chooses = arguments.gpu_layers == Some(GpuLayers::Auto) || arguments.n_cpu_moe == Some(CpuMoeLayers::Auto);
    let default = if chooses { OFFLOADED_CONTEXT.min(model.train_context) } else { 0 };
    arguments.min_ctx.unwrap_or(default)
}

pub(super) fn preference(asked: Option<PreferenceArgument>) -> Preference {
    match asked {
        None => Preference::Balanced,
        Some(PreferenceArgument::Context) => Preference::Context,
        Some(PreferenceArgument::Quality) => Preference::Quality,
        Some(PreferenceArgument::Speed) => Preference::Speed,
    }
}

/// The cache types that decode fast: what the build at hand was compiled with, else what official builds are.
pub(super) fn kernels(arguments: &FitArguments) -> String {
    let compiled = arguments.cuda.as_ref().and_then(|cuda| cuda.fa_quants.clone());
    compiled.unwrap_or_else(|| DEFAULT_KERNELS.to_owned())
}
