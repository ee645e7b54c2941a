//! `fit` and the flags that every planning command shares, named and meant as llama-server's (b11434 `common/arg.cpp`).

use std::path::PathBuf;

use clap::{ArgAction, Args, ValueEnum};

use crate::build::at_hand::CudaBackend;
use crate::fit::settings::{CacheType, FlashAttention, GpuLayers, LoadMode, SplitMode, TensorOverride};
use crate::units::{BuildTag, Bytes};

#[derive(Debug, Clone, Args)]
#[command(after_help = super::words::help())]
pub struct FitCommand {
    /// A `.gguf` file, `org/repo[:QUANT]`, a URL or a catalogue name; two or more share the GPUs
    #[arg(required = true, value_name = "MODEL")]
    pub models: Vec<String>,
    #[command(flatten)]
    pub fit: FitArguments,
    /// Show the arithmetic line by line
    #[arg(long)]
    pub explain: bool,
    /// Also ask this build's `llama-fit-params`: a llama.cpp folder, or the program itself
    #[arg(long, value_name = "BUILD")]
    pub check_with: Option<PathBuf>,
}

/// What a plan may depend on; `fit`, `launch`, `setup` and `bench` take all of it.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Plan")]
pub struct FitArguments {
    /// Context in tokens, all slots together; 0 = the largest that fits. One for all models, or a list `65536,0`
    #[arg(short = 'c', long, value_name = "N", value_parser = contexts)]
    pub ctx_size: Option<Contexts>,
    /// KV cache type for K; absent = choose
    #[arg(long, value_name = "TYPE", value_parser = cache_type)]
    pub cache_type_k: Option<CacheType>,
    /// KV cache type for V; absent = choose
    #[arg(long, value_name = "TYPE", value_parser = cache_type)]
    pub cache_type_v: Option<CacheType>,
    /// Tokens per physical batch [default: 512]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub ubatch_size: Option<u32>,
    /// Tokens per logical batch [default: 2048]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub batch_size: Option<u32>,
    /// Slots; absent or -1 = 4 over one shared cache
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = slots)]
    pub parallel: Option<Slots>,
    /// One cache that all slots share
    #[arg(long, overrides_with = "no_kv_unified")]
    pub kv_unified: bool,
    /// An equal part of the cache for each slot
    #[arg(long)]
    pub no_kv_unified: bool,
    /// Layers on the GPU: a number, `auto` = as many as fit, `all`
    #[arg(long, alias = "n-gpu-layers", value_name = "N", allow_negative_numbers = true, value_parser = gpu_layers)]
    pub gpu_layers: Option<GpuLayers>,
    /// Keep the experts of the first N layers in host memory; `auto` = as few as needed
    #[arg(long, value_name = "N", value_parser = cpu_moe_layers, overrides_with = "cpu_moe")]
    pub n_cpu_moe: Option<CpuMoeLayers>,
    /// Keep the experts of all layers in host memory
    #[arg(long)]
    pub cpu_moe: bool,
    /// Flash attention: `on`, `off` or `auto`
    #[arg(long, value_name = "on|off|auto", value_parser = flash_attention)]
    pub flash_attn: Option<FlashAttention>,
    /// How several GPUs share the model: `layer` or `none`
    #[arg(long, value_name = "MODE", value_parser = split_mode)]
    pub split_mode: Option<SplitMode>,
    /// Shares of the GPUs, for instance `3,1`; absent = by free memory
    #[arg(long, value_name = "A,B", value_parser = tensor_split)]
    pub tensor_split: Option<TensorSplit>,
    /// The GPU that `--split-mode none` uses
    #[arg(long, value_name = "N")]
    pub main_gpu: Option<u32>,
    /// Put tensors whose name matches into a buffer: `REGEX=CPU`; a comma separates several
    #[arg(long, value_name = "REGEX=BUFFER", value_parser = tensor_overrides, action = ArgAction::Append)]
    pub override_tensor: Vec<TensorOverrides>,
    /// Full-size caches for sliding-window layers
    #[arg(long)]
    pub swa_full: bool,
    /// KV cache on the GPU (the default)
    #[arg(long, overrides_with = "no_kv_offload")]
    pub kv_offload: bool,
    /// KV cache in host memory
    #[arg(long)]
    pub no_kv_offload: bool,
    /// Compute with host weights on the GPU for large batches (the default)
    #[arg(long, overrides_with = "no_op_offload")]
    pub op_offload: bool,
    /// Leave computing with host weights to the CPU
    #[arg(long)]
    pub no_op_offload: bool,
    /// How the file is read: `auto`, `mmap`, `none`, `mlock`, `mmap+mlock`, `dio`
    #[arg(long, value_name = "MODE", value_parser = load_mode)]
    pub load_mode: Option<LoadMode>,
    /// Checkpoints that each slot keeps in RAM, for models with windows or states [default: 32]
    #[arg(long, alias = "swa-checkpoints", value_name = "N")]
    pub ctx_checkpoints: Option<u32>,
    /// RAM for saved prompts, MiB; -1 = no limit, 0 = none [default: 8192]
    #[arg(long, value_name = "MIB", allow_negative_numbers = true)]
    pub cache_ram: Option<i32>,
    /// Multimodal projector that the first model loads
    #[arg(long, value_name = "FILE")]
    pub mmproj: Option<PathBuf>,
    /// Draft model for speculative decoding of the first model
    #[arg(long, alias = "spec-draft-model", value_name = "FILE")]
    pub model_draft: Option<String>,
    /// Layers of the draft model on the GPU [default: all]
    #[arg(long, alias = "spec-draft-ngl", value_name = "N", allow_negative_numbers = true, value_parser = gpu_layers)]
    pub gpu_layers_draft: Option<GpuLayers>,
    /// KV cache type for K of the draft model [default: f16]
    #[arg(long, alias = "spec-draft-type-k", value_name = "TYPE", value_parser = cache_type)]
    pub cache_type_k_draft: Option<CacheType>,
    /// KV cache type for V of the draft model [default: f16]
    #[arg(long, alias = "spec-draft-type-v", value_name = "TYPE", value_parser = cache_type)]
    pub cache_type_v_draft: Option<CacheType>,
    /// Speculative decoding: `none`, `draft-simple` (with a draft model) or `draft-mtp` (the model's own layers)
    #[arg(long, value_name = "TYPE")]
    pub spec_type: Option<SpeculationArgument>,
    /// Tokens drafted a step [default: 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub spec_draft_n_max: Option<u32>,
    /// Propose nothing below this context
    #[arg(long, value_name = "N")]
    pub min_ctx: Option<u32>,
    /// VRAM to leave free on each GPU, for instance `512MiB` [default: 320MiB]
    #[arg(long, value_name = "SIZE")]
    pub reserve: Option<Bytes>,
    /// What the recommended option is best at
    #[arg(long, value_name = "WHAT")]
    pub prefer: Option<Preference>,
    /// How several models share what is free, for instance `3,1` [default: equal contexts]
    #[arg(long, value_name = "A,B", value_parser = tensor_split)]
    pub weights: Option<TensorSplit>,
    /// The llama.cpp build whose allocations are predicted: `bN` or `vX.Y.Z`
    #[arg(long, value_name = "TAG")]
    pub for_build: Option<BuildTag>,
    /// Plan an architecture that is not modelled as if it were this one
    #[arg(long, value_name = "ARCH")]
    pub assume: Option<String>,
    /// Neither use nor keep what `bench` measured on this machine
    #[arg(long)]
    pub no_calibration: bool,
    /// Not a flag: the CUDA backend of the build that will run the plan, where it is at hand.
    #[arg(skip)]
    pub cuda: Option<CudaBackend>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Preference {
    /// The largest context
    Context,
    /// The best cache type that holds enough
    Quality,
    /// The most tokens a second
    Speed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SpeculationArgument {
    None,
    DraftSimple,
    DraftMtp,
}

/// `-c`: one for all models, or one for each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contexts(pub Vec<u32>);

/// `-np`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slots {
    /// Four over one shared cache (llama.cpp b11434 `tools/server/server.cpp:168`).
    Auto,
    Count(u32),
}

/// `-ncmoe`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CpuMoeLayers {
    /// As few as make the rest fit.
    Auto,
    Count(u32),
}

/// `-ts`, `--weights`
#[derive(Debug, Clone, PartialEq)]
pub struct TensorSplit(pub Vec<f32>);

/// One `-ot`, which may name several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorOverrides(pub Vec<TensorOverride>);

fn contexts(text: &str) -> Result<Contexts, String> {
    let numbers =
        text.split(',').map(|number| number.trim().parse().map_err(|_| "write a number of tokens".to_owned()));
    numbers.collect::<Result<_, _>>().map(Contexts)
}

/// At most `LLAMA_MAX_SEQ` (llama.cpp b11434 `src/llama-cparams.h`).
fn slots(text: &str) -> Result<Slots, String> {
    match text.parse::<i32>() {
        Ok(-1) => Ok(Slots::Auto),
        Ok(count @ 1..=256) => Ok(Slots::Count(count as u32)),
        _ => Err("write 1 to 256 slots, or -1 = as llama-server chooses".to_owned()),
    }
}

fn cache_type(text: &str) -> Result<CacheType, String> {
    text.parse().map_err(|error: crate::units::ParseUnitError| error.hint.to_owned())
}

/// llama-server: a number, `auto` (-1) or `all` (-2, and in effect every other negative number).
fn gpu_layers(text: &str) -> Result<GpuLayers, String> {
    match text {
        "auto" => Ok(GpuLayers::Auto),
        "all" => Ok(GpuLayers::All),
        _ => match text.parse::<i32>() {
            Ok(-1) => Ok(GpuLayers::Auto),
            Ok(count) => Ok(u32::try_from(count).map_or(GpuLayers::All, GpuLayers::Count)),
            Err(_) => Err("write a number, `auto` or `all`".to_owned()),
        },
    }
}

fn cpu_moe_layers(text: &str) -> Result<CpuMoeLayers, String> {
    if text == "auto" {
        return Ok(CpuMoeLayers::Auto);
    }
    text.parse().map(CpuMoeLayers::Count).map_err(|_| "write a number of layers, or `auto`".to_owned())
}

/// The words that llama-server takes (b11434 `common/arg.cpp:1757`, `common/common.h`).
fn flash_attention(text: &str) -> Result<FlashAttention, String> {
    match text {
        "on" | "enabled" | "true" | "1" => Ok(FlashAttention::On),
        "off" | "disabled" | "false" | "0" => Ok(FlashAttention::Off),
        "auto" | "-1" => Ok(FlashAttention::Auto),
        _ => Err("write `on`, `off` or `auto`: today's llama-server wants a value after -fa".to_owned()),
    }
}

fn split_mode(text: &str) -> Result<SplitMode, String> {
    match text {
        "layer" => Ok(SplitMode::Layer),
        "none" => Ok(SplitMode::None),
        "row" => Err("CUDA builds of llama.cpp no longer load with `row`; write `layer` or `none`".to_owned()),
        "tensor" => Err("`tensor` is not modelled; write `layer` or `none`".to_owned()),
        _ => Err("write `layer` or `none`".to_owned()),
    }
}

/// llama-server separates with `,` or `/`.
fn tensor_split(text: &str) -> Result<TensorSplit, String> {
    let shares: Vec<f32> = text
        .split([',', '/'])
        .map(|share| share.trim().parse::<f32>().ok().filter(|share| share.is_finite() && *share >= 0.0))
        .collect::<Option<_>>()
        .ok_or("write shares such as `3,1`")?;
    if shares.iter().sum::<f32>() > 0.0 { Ok(TensorSplit(shares)) } else { Err("all shares are zero".to_owned()) }
}

fn tensor_overrides(text: &str) -> Result<TensorOverrides, String> {
    let one = |part: &str| {
        let (pattern, buffer) = part.split_once('=').ok_or("write `REGEX=BUFFER`, for instance `ffn_up=CPU`")?;
        Ok(TensorOverride { pattern: pattern.to_owned(), buffer: buffer.to_owned() })
    };
    text.split(',').map(one).collect::<Result<_, &str>>().map(TensorOverrides).map_err(str::to_owned)
}

fn load_mode(text: &str) -> Result<LoadMode, String> {
    match text {
        "auto" => Ok(LoadMode::Auto),
        "mmap" => Ok(LoadMode::Mmap),
        "none" => Ok(LoadMode::None),
        "mlock" => Ok(LoadMode::Mlock),
        "mmap+mlock" => Ok(LoadMode::MmapMlock),
        "dio" => Ok(LoadMode::DirectIo),
        _ => Err("write `auto`, `mmap`, `none`, `mlock`, `mmap+mlock` or `dio`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    #[command(args_override_self = true)]
    struct Program {
        #[command(flatten)]
        command: FitCommand,
    }

    fn parse(text: &str) -> Result<FitArguments, clap::Error> {
        let words = super::super::words::rewritten(text.split(' ').map(OsString::from));
        Program::try_parse_from(words).map(|program| program.command.fit)
    }

    #[test]
    fn llama_servers_own_words() {
        let fit = parse("fit m -c 4096 -ctk q8_0 -ctv q4_0 -ub 256 -b 1024 -np 2 -no-kvu -ngl all -ncmoe auto -fa on -sm none -ts 3,1 -mg 1 -nkvo -lm mmap+mlock -md d.gguf -ot exps=CPU,up=CUDA0 --reserve 1GiB").unwrap();
        assert_eq!(fit.ctx_size, Some(Contexts(vec![4096])));
        assert_eq!((fit.cache_type_k, fit.cache_type_v), (Some(CacheType::Q8_0), Some(CacheType::Q4_0)));
        assert_eq!((fit.ubatch_size, fit.batch_size, fit.parallel), (Some(256), Some(1024), Some(Slots::Count(2))));
        assert_eq!((fit.gpu_layers, fit.n_cpu_moe), (Some(GpuLayers::All), Some(CpuMoeLayers::Auto)));
        assert_eq!((fit.flash_attn, fit.split_mode), (Some(FlashAttention::On), Some(SplitMode::None)));
        assert_eq!(fit.tensor_split, Some(TensorSplit(vec![3.0, 1.0])));
        assert_eq!(fit.override_tensor[0].0.len(), 2);
        assert!(fit.no_kv_offload && fit.no_kv_unified);
        assert_eq!(fit.load_mode, Some(LoadMode::MmapMlock));
    }

    #[test]
    fn the_last_of_a_repeated_flag_wins() {
        let fit = parse("fit m -ngl 1 -c 1 -ngl -1 -c 2 -fa off -fa 1 -kvu -no-kvu -kvu").unwrap();
        assert_eq!((fit.gpu_layers, fit.flash_attn), (Some(GpuLayers::Auto), Some(FlashAttention::On)));
        assert_eq!(fit.ctx_size, Some(Contexts(vec![2])));
        assert!(fit.kv_unified && !fit.no_kv_unified);
    }

    #[test]
    fn what_llama_server_refuses_is_refused() {
        for (text, said) in [
            ("-fa", "value"),
            ("-fa -c 1", "value"),
            ("-ctk q9_9", "q8_0"),
            ("-ngl many", "auto"),
            ("-sm row", "no longer"),
            ("-np 0", "256"),
            ("-ub 0", "0"),
            ("-c -5", "-5"),
            ("-ts 0,0", "zero"),
        ] {
            let error = parse(&format!("fit m {text}")).unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
