//! The plan's memory and settings beside the server's own numbers.

use std::collections::BTreeMap;

use serde::Serialize;

use super::log::{Load, LogFacts};
use crate::fit::plan::PlanServer;
use crate::units::{Bytes, MIB, grouped};

/// One number that was promised, and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Promise {
    /// `CUDA0` or `Host`
    pub device: String,
    /// `model`, `context`, `compute`, `output`; `shared` = VRAM that spilled into RAM on Windows
    pub part: &'static str,
    pub promised_bytes: Bytes,
    pub measured_bytes: Bytes,
    pub kept: bool,
}

impl Promise {
    fn new(device: &str, part: &'static str, promised: u64, measured: u64) -> Self {
        let kept = measured <= promised + band(part, Bytes(promised)).0;
        let (promised_bytes, measured_bytes) = (Bytes(promised), Bytes(measured));
        Self { device: device.to_owned(), part, promised_bytes, measured_bytes, kept }
    }

    /// Bytes that were measured beyond the promise; negative = less.
    pub fn difference(&self) -> i64 {
        self.measured_bytes.0 as i64 - self.promised_bytes.0 as i64
    }

    /// What is wrong, where something is.
    pub fn broken(&self) -> Option<String> {
        let more = Bytes(self.difference().unsigned_abs());
        let text = match self.part {
            "shared" => format!("{more} of VRAM spilled into RAM, which makes it slow: plan a smaller context"),
            part => format!("{} {part} takes {more} more than promised", self.device),
        };
        (!self.kept).then_some(text)
    }
}

/// How far a measurement may lie above its promise: the log rounds each buffer to 0.01 MiB, and a graph's worst case moves a
/// little between builds. Windows counts the driver's own command buffers as shared memory, too. Less than promised is no
/// broken promise.
pub fn band(part: &str, promised: Bytes) -> Bytes {
    match part {
        "compute" => Bytes(promised.0 / 20 + MIB / 2),
        "model" => Bytes(promised.0 / 100 + MIB / 2),
        "shared" => Bytes(promised.0 / 10 + 256 * MIB),
        _ => Bytes(promised.0 / 1000 + MIB / 2),
    }
}

/// Every part of every device, in the plan's order. `Host` collects the buffers that lie in RAM.
pub fn compare(plan: &PlanServer, load: &Load) -> Vec<Promise> {
    let gpus = plan.memory.keys().filter(|device| *device != "Host");
    let names: BTreeMap<&str, String> = gpus.map(|device| (device.as_str(), buffer_name(device, load))).collect();
    let mut promises = Vec::new();
    for (device, planned) in &plan.memory {
        let measured = |map: &BTreeMap<String, Bytes>| -> u64 {
            let here = map.iter().filter(|(name, _)| match names.get(device.as_str()) {
                Some(own) => *name == own,
                // Repacked weights are a second copy that llama.cpp's breakdown counts apart.
                None => !names.values().any(|own| own == *name) && *name != "CPU_REPACK",
            });
            here.map(|(_, bytes)| bytes.0).sum()
        };
        let is_host = !names.contains_key(device.as_str());
        let parts = [
            ("model", planned.model.0, measured(&load.model)),
            ("context", planned.context.0, measured(&load.kv) + measured(&load.recurrent)),
            ("compute", planned.compute.0, measured(&load.compute)),
            ("output", if is_host { plan.output_bytes.0 } else { 0 }, measured(&load.output)),
        ];
        // A plan of an earlier version promised nothing of the output.
        let spoken_of = |part: &str| part != "output" || plan.output_bytes.0 > 0;
        promises.extend(
            parts
                .into_iter()
                .filter(|(part, promised, measured)| (*promised, *measured) != (0, 0) && spoken_of(part))
                .map(|(part, promised, measured)| Promise::new(device, part, promised, measured)),
        );
    }
    promises
}

/// What a device of the plan is called in the log: plans number cards as `CUDA0`, and a build with another backend says
/// `Vulkan0`.
fn buffer_name(device: &str, load: &Load) -> String {
    let maps = [&load.model, &load.kv, &load.recurrent, &load.compute];
    let mut names = maps.into_iter().flat_map(BTreeMap::keys);
    if names.clone().any(|name| name == device) {
        return device.to_owned();
    }
    let number = |name: &str| name.trim_start_matches(|c: char| c.is_ascii_alphabetic()).to_owned();
    let wanted = number(device);
    let is_like = |name: &&String| !name.starts_with("CPU") && !wanted.is_empty() && number(name) == wanted;
    names.find(is_like).map_or_else(|| device.to_owned(), Clone::clone)
}

/// On Windows the driver moves VRAM into RAM instead of failing, and counts it as memory shared with the GPU, where the
/// buffers that are pinned on purpose (`CUDA_Host`) are counted, too. None where no GPU is used.
pub fn spill(plan: &PlanServer, load: &Load, shared: Bytes) -> Option<Promise> {
    let device = plan.memory.keys().find(|device| *device != "Host")?;
    let maps = [&load.model, &load.kv, &load.recurrent, &load.compute, &load.output];
    let pinned = maps.into_iter().flatten().filter(|(name, _)| name.ends_with("_Host"));
    Some(Promise::new(device, "shared", pinned.map(|(_, bytes)| bytes.0).sum(), shared.0))
}

/// A setting as it was planned, and as the server took it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Setting {
    pub what: &'static str,
    pub planned: String,
    pub real: String,
    pub kept: bool,
}

/// The settings that the log tells of.
pub fn settings(plan: &PlanServer, facts: &LogFacts, load: &Load) -> Vec<Setting> {
    let mut settings = Vec::new();
    let mut tell = |what, planned: String, real: String, kept| settings.push(Setting { what, planned, real, kept });
    if let Some((k, v)) = &load.cache_types {
        let (planned_k, planned_v) = (plan.cache_type_k.name(), plan.cache_type_v.name());
        tell("cache", format!("{planned_k}/{planned_v}"), format!("{k}/{v}"), k == planned_k && v == planned_v);
    }
    if let Some(on) = load.flash_attention {
        let said = |on| if on { "on" } else { "off" }.to_owned();
        tell("flash attention", said(plan.flash_attention), said(on), on == plan.flash_attention);
    }
    if let Some((some, all)) = load.offloaded {
        let planned = plan.gpu_layers.min(all);
        tell("layers on GPUs", format!("{planned} of {all}"), format!("{some} of {all}"), some == planned);
    }
    if let Some(context) = load.context.get("n_ctx").and_then(|text| text.parse::<u32>().ok()) {
        let said = |context: u32| grouped(u64::from(context));
        // llama.cpp rounds up to whole blocks: more than planned is fine.
        tell("context", said(plan.context), said(context), context >= plan.context);
    }
    if let Some(slots) = facts.slots {
        tell("slots", plan.parallel.to_string(), slots.to_string(), slots == plan.parallel);
    }
    settings
}

/// What the server decided otherwise than planned, each as a sentence.
pub fn settings_differ(plan: &PlanServer, facts: &LogFacts, load: &Load) -> Vec<String> {
    let differ = settings(plan, facts, load).into_iter().filter(|setting| !setting.kept);
    differ.map(|one| format!("{} {}, and {} was planned", one.what, one.real, one.planned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::plan::MemoryParts;

    fn planned() -> PlanServer {
        let plan: crate::fit::plan::Plan =
            serde_json::from_str(include_str!("../../tests/launch/qwen2.5-14b.json")).unwrap();
        let mut server = plan.options[0].servers[0].clone();
        let mib = |amount: f64| Bytes((amount * MIB as f64) as u64);
        let parts = |model, context, compute| MemoryParts {
            model: mib(model),
            context: mib(context),
            compute: mib(compute),
            ..MemoryParts::default()
        };
        server.memory =
            [("CUDA0".to_owned(), parts(235.2, 28.7, 20.0)), ("Host".to_owned(), parts(170.0, 0.0, 10.56))].into();
        server.output_bytes = mib(2.0);
        server
    }

    fn broken(promises: &[Promise]) -> Vec<(&str, &str)> {
        promises.iter().filter(|promise| !promise.kept).map(|p| (p.device.as_str(), p.part)).collect()
    }

    #[test]
    fn a_kept_and_a_broken_promise() {
        let server = planned();
        let facts = LogFacts::from_text(include_str!("../../tests/logs/c.stderr.txt"));
        let promises = compare(&server, &facts.loads[0]);
        assert_eq!(broken(&promises), [("CUDA0", "compute")]);
        assert_eq!(promises.len(), 6, "{promises:#?}");
        assert_eq!(promises[5].part, "output");
        assert_eq!(promises[5].difference(), 0);
        let differences = settings_differ(&server, &facts, &facts.loads[0]);
        assert_eq!(differences, ["context 8,192, and 139,520 was planned", "slots 2, and 4 was planned"]);
        assert_eq!(settings(&server, &facts, &facts.loads[0]).len(), 5);
    }

    #[test]
    fn another_backend_is_the_same_card() {
        let server = planned();
        let log = include_str!("../../tests/logs/c.stderr.txt").replace("CUDA", "Vulkan");
        let facts = LogFacts::from_text(&log);
        let promises = compare(&server, &facts.loads[0]);
        assert_eq!(broken(&promises), [("CUDA0", "compute")]);
        assert_eq!(promises.len(), 6);
    }

    #[test]
    fn what_windows_moved_into_ram_is_a_broken_promise() {
        let server = planned();
        let facts = LogFacts::from_text(include_str!("../../tests/logs/c.stderr.txt"));
        // Pinned on purpose: 10.56 MiB of compute and 2 MiB of output buffers, and the driver's own.
        let kept = spill(&server, &facts.loads[0], Bytes::from_mib(90)).unwrap();
        assert!(kept.kept && kept.broken().is_none(), "{kept:?}");
        assert_eq!(format!("{:.2}", kept.promised_bytes.mib()), "12.56");
        let spilled = spill(&server, &facts.loads[0], Bytes::from_mib(3085)).unwrap();
        assert_eq!(
            spilled.broken().as_deref(),
            Some("3.0 GiB of VRAM spilled into RAM, which makes it slow: plan a smaller context")
        );
        let mut on_cpu = server;
        on_cpu.memory.remove("CUDA0");
        assert_eq!(spill(&on_cpu, &facts.loads[0], Bytes::from_mib(9000)), None);
    }
}
