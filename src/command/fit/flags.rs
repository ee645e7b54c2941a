//! What the flags ask of the planner, with llama-server's meanings and defaults.

use crate::cli::fit::{
    Contexts, CpuMoeLayers, FitArguments, Preference as PreferenceArgument, Slots, SpeculationArgument,
};
use crate::failure::Failure;
use crate::fit::Model;
use crate::fit::choice::{DEFAULT_KERNELS, Preference};
use crate::fit::planner::PlanGpu;
use crate::fit::settings::{GpuLayers, Settings, SplitMode};

/// llama-server's settings, as its own flags make them (b11434 `tools/server/server.cpp:168` for the slots).
pub(in crate::command) fn settings(
    arguments: &FitArguments,
    model: &Model,
    gpus: &[PlanGpu],
    servers: usize,
    has_draft: bool,
) -> Result<Settings, Failure> {
    let default = Settings::default();
    let (parallel, unified) = match arguments.parallel {
        None | Some(Slots::Auto) => (default.parallel, true),
        Some(Slots::Count(count)) => (count, false),
    };
    let speculates = arguments.spec_type == Some(SpeculationArgument::DraftMtp);
    if speculates && model.layers_mtp == 0 && !has_draft {
        return Err(Failure::usage("this model has no multi-token-prediction layers for `--spec-type draft-mtp`")
            .hinted("name a file of such layers with `-md`"));
    }
    let shares = arguments.tensor_split.as_ref().map(|split| split.0.clone()).unwrap_or_default();
    // Servers start one after the other: without fixed shares the second would see less free memory and split otherwise.
    let shares = if shares.is_empty() && servers > 1 && gpus.len() > 1 {
        gpus.iter().map(|gpu| gpu.device.free.mib().floor() as f32).collect()
    } else {
        shares
    };
    Ok(Settings {
        batch: arguments.batch_size.unwrap_or(default.batch),
        ubatch: arguments.ubatch_size.unwrap_or(default.ubatch),
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
        mtp_draft_tokens: if speculates && !has_draft { arguments.spec_draft_n_max.unwrap_or(DRAFT_TOKENS) } else { 0 },
        ..default
    })
}

/// `--spec-draft-n-max`'s default (llama.cpp b11434 `common/common.h:400`).
const DRAFT_TOKENS: u32 = 3;

pub(super) fn speculation_arguments(arguments: &FitArguments) -> Vec<String> {
    let mut words = Vec::new();
    if arguments.spec_type == Some(SpeculationArgument::DraftMtp) {
        words.extend(["--spec-type".to_owned(), "draft-mtp".to_owned()]);
    }
    if let Some(count) = arguments.spec_draft_n_max {
        words.extend(["--spec-draft-n-max".to_owned(), count.to_string()]);
    }
    for (flag, kind) in [("-ctkd", arguments.cache_type_k_draft), ("-ctvd", arguments.cache_type_v_draft)] {
        if let Some(kind) = kind {
            words.extend([flag.to_owned(), kind.to_string()]);
        }
    }
    words
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
