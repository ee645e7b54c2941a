//! Why each flag of a launch has its value, in a few words: the comments of the scripts and `launch --explain`.

use super::arguments::Argument;
use super::launch::{Launch, LaunchServer};
use crate::fit::plan::LimitedBy;
use crate::units::grouped;

/// One reason, without a full stop.
pub fn reason(argument: &Argument, server: &LaunchServer, launch: &Launch) -> String {
    let plan = &server.plan;
    let value = argument.value.as_deref().unwrap_or_default();
    match argument.id.as_str() {
        "model" => "the file that was planned for".to_owned(),
        "context" => {
            let limit = match plan.limited_by {
                LimitedBy::Vram => "the largest that fits the VRAM",
                LimitedBy::TrainContext => "all that the model was trained on",
                LimitedBy::Requested => "as asked",
            };
            let beyond = if server.train_context > 0 && plan.context > server.train_context {
                format!("; beyond the {} tokens of training", grouped(u64::from(server.train_context)))
            } else {
                String::new()
            };
            format!("tokens, {limit}; {:.1} KiB of cache each{beyond}", plan.bytes_per_token.0 as f64 / 1024.0)
        }
        "gpu-layers" if plan.gpu_layers == 0 => "no layer on a GPU".to_owned(),
        "gpu-layers" => "layers on the GPU, the output layer among them".to_owned(),
        "cache-type-k" => format!("element type of the keys: the cache takes {}", plan.kv_bytes),
        "cache-type-v" => "element type of the values".to_owned(),
        "flash-attention" if plan.cache_type_v.is_quantized() => {
            "flash attention: a quantized cache needs it".to_owned()
        }
        "flash-attention" if plan.flash_attention => "flash attention: smaller compute buffers, and faster".to_owned(),
        "flash-attention" => "no flash attention".to_owned(),
        "parallel" if plan.parallel == 1 => "one request at a time".to_owned(),
        "parallel" => "requests at a time".to_owned(),
        "kv-unified" => "the slots share one cache: any may use all of the context".to_owned(),
        "no-kv-unified" => "each slot has its own equal part of the context".to_owned(),
        "batch" => "tokens a request hands in at once".to_owned(),
        "ubatch" => "tokens computed at once: decides the compute buffer".to_owned(),
        "cpu-moe-layers" => "layers whose experts stay in RAM".to_owned(),
        "override-tensor" => "tensors that live elsewhere, as asked".to_owned(),
        "device" if value == "none" => "the CPU alone".to_owned(),
        "device" => {
            let names: Vec<&str> = launch.gpus.iter().map(|gpu| gpu.name.as_str()).collect();
            format!("only the planned GPU: {}", names.join(", "))
        }
        "split-mode" => "how the layers spread over the GPUs".to_owned(),
        "tensor-split" => "each GPU's share of the layers".to_owned(),
        "main-gpu" => "the GPU that counts as the first".to_owned(),
        "load-mode-auto" | "load-mode" | "no-mmap" | "mlock" | "direct-io" => "how the file is read".to_owned(),
        "swa-full" => "the whole context in sliding-window layers too".to_owned(),
        "no-kv-offload" => "the cache stays in RAM".to_owned(),
        "no-op-offload" => "weights in RAM are computed with there".to_owned(),
        "mmproj" => "the part of the model that sees".to_owned(),
        "ctx-checkpoints" => "checkpoints that a slot keeps in RAM".to_owned(),
        "cache-ram" => "RAM for saved prompts, MiB".to_owned(),
        "spec-type" => "how tokens are drafted".to_owned(),
        "model-draft" => "the small model that drafts".to_owned(),
        "fit" => "this plan decides; a second planner would undo it".to_owned(),
        "host" if super::launch::is_public(value) => "open to other machines".to_owned(),
        "host" => "this machine only".to_owned(),
        "port" => "said, because llama-server's default is about to change".to_owned(),
        "api-key-file" => "keys in a file: arguments are seen by every user".to_owned(),
        _ => "as the plan says".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::launch::tests::launch;

    #[test]
    fn every_flag_of_a_plan_has_a_reason() {
        let launch = launch();
        let server = &launch.servers[0];
        for argument in &server.arguments {
            assert_ne!(reason(argument, server, &launch), "as the plan says", "{}", argument.flag);
        }
        assert_eq!(grouped(139_520), "139,520");
        assert_eq!(grouped(12), "12");
    }
}
