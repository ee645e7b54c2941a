//! The plan's memory beside the server's own numbers.

use serde::Serialize;

use super::log::Load;
use crate::fit::plan::PlanServer;
use crate::units::{Bytes, MIB};

/// One number that was promised, and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Promise {
    /// `CUDA0` or `Host`
    pub device: String,
    /// `model`, `context`, `compute`
    pub part: &'static str,
    pub promised_bytes: Bytes,
    pub measured_bytes: Bytes,
    pub kept: bool,
}

impl Promise {
    /// Bytes that were measured beyond the promise; negative = less.
    pub fn difference(&self) -> i64 {
        self.measured_bytes.0 as i64 - self.promised_bytes.0 as i64
    }
}

/// How far a measurement may lie above its promise: the log rounds each buffer to 0.01 MiB, and a graph's worst case moves a
/// little between builds. Less than promised is no broken promise.
pub fn band(part: &str, promised: Bytes) -> Bytes {
    let share = match part {
        "compute" => 20,
        "model" => 100,
        _ => 1000,
    };
    Bytes(promised.0 / share + MIB / 2)
}

/// Every part of every device, in the plan's order. `Host` collects the buffers that lie in RAM.
pub fn compare(plan: &PlanServer, load: &Load) -> Vec<Promise> {
    let gpus: Vec<&String> = plan.memory.keys().filter(|device| *device != "Host").collect();
    let mut promises = Vec::new();
    for (device, planned) in &plan.memory {
        let measured = |map: &std::collections::BTreeMap<String, Bytes>| -> u64 {
            let here = map.iter().filter(|(name, _)| {
                // Repacked weights are a second copy that llama.cpp's breakdown counts apart.
                if device == "Host" { !gpus.contains(name) && *name != "CPU_REPACK" } else { *name == device }
            });
            here.map(|(_, bytes)| bytes.0).sum()
        };
        let context = measured(&load.kv) + measured(&load.recurrent);
        let parts = [
            ("model", planned.model, measured(&load.model)),
            ("context", planned.context, context),
            ("compute", planned.compute, measured(&load.compute)),
        ];
        for (part, promised, measured) in parts {
            if promised.0 == 0 && measured == 0 {
                continue;
            }
            let kept = measured <= promised.0 + band(part, promised).0;
            promises.push(Promise {
                device: device.clone(),
                part,
                promised_bytes: promised,
                measured_bytes: Bytes(measured),
                kept,
            });
        }
    }
    promises
}

/// What the server decided otherwise than planned, each as a sentence.
pub fn settings_differ(plan: &PlanServer, load: &Load) -> Vec<String> {
    let mut differences = Vec::new();
    if let Some((k, v)) = &load.cache_types
        && (k != plan.cache_type_k.name() || v != plan.cache_type_v.name())
    {
        let (planned_k, planned_v) = (plan.cache_type_k, plan.cache_type_v);
        differences.push(format!("the cache holds {k}/{v}, and {planned_k}/{planned_v} was planned"));
    }
    if let Some(on) = load.flash_attention
        && on != plan.flash_attention
    {
        let said = |on| if on { "on" } else { "off" };
        differences.push(format!("flash attention is {}, and {} was planned", said(on), said(plan.flash_attention)));
    }
    if let Some((some, all)) = load.offloaded
        && some != plan.gpu_layers.min(all)
    {
        differences.push(format!("{some} of {all} layers are on GPUs, and {} were planned", plan.gpu_layers.min(all)));
    }
    let context = load.context.get("n_ctx").and_then(|text| text.parse::<u32>().ok());
    if let Some(context) = context
        && context < plan.context
    {
        differences.push(format!("the context is {context} tokens, and {} were planned", plan.context));
    }
    differences
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::plan::MemoryParts;
    use crate::server::log::LogFacts;

    #[test]
    fn a_kept_and_a_broken_promise() {
        let plan: crate::fit::plan::Plan =
            serde_json::from_str(include_str!("../../tests/launch/qwen2.5-14b.json")).unwrap();
        let mut server = plan.options[0].servers[0].clone();
        let parts = |model, context, compute| MemoryParts {
            model: Bytes((model * MIB as f64) as u64),
            context: Bytes((context * MIB as f64) as u64),
            compute: Bytes((compute * MIB as f64) as u64),
            ..MemoryParts::default()
        };
        server.memory =
            [("CUDA0".to_owned(), parts(235.2, 28.7, 20.0)), ("Host".to_owned(), parts(170.0, 0.0, 10.56))].into();
        let facts = LogFacts::from_text(include_str!("../../tests/logs/c.stderr.txt"));
        let promises = compare(&server, &facts.loads[0]);
        let broken: Vec<_> =
            promises.iter().filter(|promise| !promise.kept).map(|p| (p.device.as_str(), p.part)).collect();
        assert_eq!(broken, [("CUDA0", "compute")]);
        assert_eq!(promises.len(), 5);
        let differences = settings_differ(&server, &facts.loads[0]);
        assert_eq!(differences, ["the context is 8192 tokens, and 139520 were planned"]);
    }
}
