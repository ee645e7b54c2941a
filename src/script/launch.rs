//! What a script must know to start the servers of one plan option.

use std::collections::BTreeSet;

use thiserror::Error;

use super::arguments::{self, Argument};
use super::ladder;
use crate::fit::plan::{Plan, PlanOption, PlanServer, PlanStep};
use crate::host::file_names;
use crate::units::{BuildTag, Bytes};

/// The servers of one plan option and what they assume.
#[derive(Debug, Clone, PartialEq)]
pub struct Launch {
    /// The scripts' file name without its ending.
    pub name: String,
    /// What this starts, in one line.
    pub title: String,
    pub notes: Vec<String>,
    /// The program: an absolute path, or a bare name to be found in PATH.
    pub server: String,
    pub build: Option<BuildTag>,
    pub servers: Vec<LaunchServer>,
    pub gpus: Vec<LaunchGpu>,
    /// Largest first; the first is the plan itself. Never empty.
    pub rungs: Vec<Rung>,
    /// The steps down by server, which a launch of fewer servers needs.
    pub ladder: Vec<PlanStep>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct LaunchServer {
    /// Unique among the launch's servers, safe in file and service names.
    pub name: String,
    pub title: String,
    /// The command that brings the model's file back; empty where none does.
    pub fetch: Vec<String>,
    /// Every file that must be there.
    pub files: Vec<ModelFile>,
    pub arguments: Vec<Argument>,
    pub host: String,
    pub port: u16,
    pub plan: PlanServer,
    pub train_context: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelFile {
    pub path: String,
    /// Absent where the plan was made without the file.
    pub bytes: Option<Bytes>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchGpu {
    /// `CUDA0`
    pub id: String,
    pub name: String,
    /// What `nvidia-smi --id` understands: the UUID, or the number of a GPU that only the plan knows.
    pub smi_id: String,
}

/// One step of the ladder: contexts that were planned to fit into this much VRAM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rung {
    /// By server.
    pub contexts: Vec<u32>,
    /// MiB that must be free, by GPU.
    pub needs_mib: Vec<u64>,
}

/// What the plan does not say and the launch must know.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    pub server: String,
    pub build: Option<BuildTag>,
    /// The files of each server's model as they lie on disk, all shards; empty where they are not here yet. By server.
    pub files: Vec<Vec<ModelFile>>,
    /// What brings each server's model: `llama-doctor pull …`. By server.
    pub fetch: Vec<Vec<String>>,
    /// UUIDs by device id, where known.
    pub uuids: Vec<(String, String)>,
    /// Instead of the plan's.
    pub host: Option<String>,
    /// The first server's port instead of the plan's; the next servers count up.
    pub port: Option<u16>,
    pub api_key_file: Option<String>,
    /// What the server calls its GPUs, where that is not `CUDA`.
    pub device_name: Option<&'static str>,
}

#[derive(Debug, Error)]
pub enum LaunchError {
    #[error("the plan has no option {0}")]
    NoSuchOption(usize),
    #[error("the plan's server {0} has no model file among its arguments")]
    NoModel(usize),
    #[error("port {0} is not a port: {1} servers count up from it")]
    Ports(u16, usize),
    #[error("`--host {0}` opens the server to others, and it would take requests without a key")]
    PublicWithoutKey(String),
}

impl Launch {
    pub fn from_plan(plan: &Plan, option: usize, around: &Surroundings) -> Result<Self, LaunchError> {
        let chosen = plan.options.get(option).ok_or(LaunchError::NoSuchOption(option))?;
        let gpus = gpus(plan, chosen, around);
        let servers = servers(plan, chosen, around)?;
        let rungs = ladder::rungs(chosen, &gpus);
        let name = servers.iter().map(|server| server.name.as_str()).collect::<Vec<_>>().join("-and-");
        let titles: Vec<&str> = servers.iter().map(|server| server.title.as_str()).collect();
        let on: Vec<&str> = gpus.iter().map(|gpu| gpu.name.as_str()).collect();
        let on = if on.is_empty() { "the CPU".to_owned() } else { on.join(" + ") };
        Ok(Self {
            title: format!("{}, on {on}", titles.join("; ")),
            name,
            notes: chosen.notes.clone(),
            server: around.server.clone(),
            build: around.build,
            servers,
            gpus,
            rungs,
            ladder: chosen.ladder.clone(),
        })
    }

    /// One server of several, as a launch of its own: the same arguments, its own part of the VRAM.
    #[must_use]
    pub fn only(&self, index: usize) -> Self {
        let server = self.servers[index].clone();
        let alone = |step: &PlanStep| step.servers.get(index).map(|one| PlanStep { servers: vec![one.clone()] });
        let option = PlanOption {
            servers: vec![server.plan.clone()],
            fits: true,
            headroom_bytes: std::collections::BTreeMap::new(),
            notes: Vec::new(),
            ladder: self.ladder.iter().filter_map(alone).collect(),
        };
        let on: Vec<&str> = self.gpus.iter().map(|gpu| gpu.name.as_str()).collect();
        Self {
            name: server.name.clone(),
            title: format!(
                "{}, on {}",
                server.title,
                if on.is_empty() { "the CPU".to_owned() } else { on.join(" + ") }
            ),
            rungs: ladder::rungs(&option, &self.gpus),
            servers: vec![server],
            ladder: option.ladder,
            ..self.clone()
        }
    }
}

impl LaunchServer {
    /// Where a browser or a client on this machine finds it.
    pub fn url(&self) -> String {
        let host = match self.host.as_str() {
            "0.0.0.0" => "127.0.0.1",
            "::" => "[::1]",
            host => host,
        };
        format!("http://{host}:{}", self.port)
    }

    /// The model is still to be fetched: only a file that is there has a length.
    pub fn is_missing(&self) -> bool {
        !self.fetch.is_empty() && self.files.first().is_some_and(|file| file.bytes.is_none())
    }

    /// llama-server's words, with the context of a rung.
    pub fn words(&self, context: u32) -> Vec<String> {
        let mut arguments = self.arguments.clone();
        set(&mut arguments, "context", &context.to_string());
        arguments::flatten(&arguments)
    }
}

pub fn is_public(host: &str) -> bool {
    // llama-server takes a path of this ending for a Unix socket (b11434 `common/arg.cpp:3324`).
    let socket = std::path::Path::new(host).extension().is_some_and(|ending| ending == "sock");
    !(host == "localhost" || host == "::1" || host.starts_with("127.") || socket)
}

/// The GPUs that hold something of the option, in the plan's order.
fn gpus(plan: &Plan, option: &PlanOption, around: &Surroundings) -> Vec<LaunchGpu> {
    let holds = |parts: &crate::fit::plan::MemoryParts| parts.model.0 + parts.context.0 + parts.compute.0 > 0;
    let rows = option.servers.iter().flat_map(|server| &server.memory);
    let used: BTreeSet<&String> = rows.filter(|(_, parts)| holds(parts)).map(|(device, _)| device).collect();
    let devices = plan.devices.iter().filter(|device| used.contains(&device.id));
    let gpu = |device: &crate::fit::plan::PlanDevice| {
        let uuid = around.uuids.iter().find(|(id, _)| *id == device.id).map(|(_, uuid)| uuid.clone());
        let number = device.id.trim_start_matches(|c: char| !c.is_ascii_digit());
        LaunchGpu {
            id: device.id.clone(),
            name: device.name.clone(),
            smi_id: uuid.unwrap_or_else(|| number.to_owned()),
        }
    };
    devices.map(gpu).collect()
}

fn servers(plan: &Plan, option: &PlanOption, around: &Surroundings) -> Result<Vec<LaunchServer>, LaunchError> {
    let mut names = BTreeSet::new();
    let mut servers = Vec::new();
    for (index, server) in option.servers.iter().enumerate() {
        let model = plan.models.get(server.model).ok_or(LaunchError::NoModel(index))?;
        let mut arguments = arguments::pair(&server.arguments, around.build);
        if let Some(host) = &around.host {
            set(&mut arguments, "host", host);
        }
        if let Some(first) = around.port {
            let port = first.checked_add(index as u16).ok_or(LaunchError::Ports(first, option.servers.len()))?;
            set(&mut arguments, "port", &port.to_string());
        }
        if let Some(file) = &around.api_key_file {
            set(&mut arguments, "api-key-file", file);
        }
        if let Some(name) = around.device_name {
            for argument in arguments.iter_mut().filter(|one| ["device", "override-tensor"].contains(&one.id.as_str()))
            {
                argument.value = argument.value.take().map(|value| value.replace("CUDA", name));
            }
        }
        let host = value(&arguments, "host").unwrap_or("127.0.0.1").to_owned();
        if is_public(&host) && value(&arguments, "api-key-file").is_none() {
            return Err(LaunchError::PublicWithoutKey(host));
        }
        let path = value(&arguments, "model").ok_or(LaunchError::NoModel(index))?.to_owned();
        let beside = ["mmproj", "model-draft"].into_iter().filter_map(|id| value(&arguments, id));
        let beside = beside.map(|path| ModelFile { path: path.to_owned(), bytes: None });
        let found = around.files.get(index).filter(|files| !files.is_empty());
        let mut files = found.cloned().unwrap_or_else(|| {
            let bytes = (model.file_bytes.0 > 0).then_some(model.file_bytes);
            vec![ModelFile { path, bytes }]
        });
        files.extend(beside);
        servers.push(LaunchServer {
            name: unique_name(&model.name, &mut names),
            title: title(model, server),
            fetch: around.fetch.get(index).cloned().unwrap_or_default(),
            files,
            host,
            port: value(&arguments, "port").and_then(|port| port.parse().ok()).unwrap_or(8080),
            arguments,
            plan: server.clone(),
            train_context: model.train_context,
        });
    }
    Ok(servers)
}

fn title(model: &crate::fit::plan::PlanModel, server: &PlanServer) -> String {
    let cache = if server.cache_type_k == server.cache_type_v {
        server.cache_type_k.to_string()
    } else {
        format!("{}/{}", server.cache_type_k, server.cache_type_v)
    };
    let context = crate::units::grouped(u64::from(server.context));
    format!("{} {}: {context} tokens of context, {cache} cache", model.name, model.quantization)
}

pub(crate) fn value<'a>(arguments: &'a [Argument], id: &str) -> Option<&'a str> {
    arguments.iter().find(|one| one.id == id)?.value.as_deref()
}

pub(crate) fn set(arguments: &mut Vec<Argument>, id: &str, value: &str) {
    if let Some(known) = arguments.iter_mut().find(|one| one.id == id) {
        known.value = Some(value.to_owned());
        return;
    }
    if let Some(spelling) = crate::manifest::server_flags::spelling(id, None) {
        let flag = spelling.text.clone();
        arguments.push(Argument { id: id.to_owned(), flag, value: Some(value.to_owned()) });
    }
}

/// A name for files and services: lower-case letters, digits, dots and dashes; unique; no name that Windows keeps for devices.
fn unique_name(model: &str, taken: &mut BTreeSet<String>) -> String {
    let mut slug = String::new();
    for c in model.chars().map(|c| c.to_ascii_lowercase()) {
        let kept = if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
        if !(kept == '-' && slug.ends_with('-')) {
            slug.push(kept);
        }
    }
    let slug: String = slug.trim_matches(['-', '.']).chars().take(60).collect();
    let base = match slug.as_str() {
        "" => "model".to_owned(),
        slug if file_names::unusable_on_windows(slug).is_some() => format!("model-{slug}"),
        slug => slug.to_owned(),
    };
    let mut name = base.clone();
    let mut number = 2;
    while !taken.insert(name.clone()) {
        name = format!("{base}-{number}");
        number += 1;
    }
    name
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The seed's plan: Qwen2.5-14B on one RTX 3090, by hand.
    pub(crate) fn plan() -> Plan {
        serde_json::from_str(include_str!("../../tests/launch/qwen2.5-14b.json")).unwrap()
    }

    pub(crate) fn launch() -> Launch {
        let around = Surroundings {
            server: "/opt/llama b11434/llama-server".to_owned(),
            build: Some(BuildTag::Nightly(11434)),
            uuids: vec![("CUDA0".to_owned(), "GPU-8f0f2b4e".to_owned())],
            fetch: vec![["llama-doctor", "pull", "qwen2.5-14b-instruct"].map(str::to_owned).to_vec()],
            ..Surroundings::default()
        };
        Launch::from_plan(&plan(), 0, &around).unwrap()
    }

    /// The same model twice, side by side.
    pub(crate) fn two() -> Launch {
        let mut plan = plan();
        let mut second = plan.options[0].servers[0].clone();
        let port = second.arguments.iter().position(|word| word == "8080").unwrap();
        second.arguments[port] = String::from("8081");
        plan.options[0].servers.push(second);
        for step in &mut plan.options[0].ladder {
            step.servers.push(step.servers[0].clone());
        }
        let around = Surroundings { server: "llama-server".to_owned(), ..Surroundings::default() };
        Launch::from_plan(&plan, 0, &around).unwrap()
    }

    #[test]
    fn a_build_of_another_backend_hears_its_own_names() {
        let around = Surroundings { device_name: Some("Vulkan"), ..Surroundings::default() };
        let launch = Launch::from_plan(&plan(), 0, &around).unwrap();
        assert_eq!(value(&launch.servers[0].arguments, "device"), Some("Vulkan0"));
        assert_eq!(launch.gpus[0].id, "CUDA0");
    }

    #[test]
    fn the_plan_becomes_a_launch() {
        let launch = launch();
        assert_eq!(launch.name, "qwen2.5-14b-instruct");
        assert_eq!(launch.gpus[0].smi_id, "GPU-8f0f2b4e");
        assert_eq!(launch.servers[0].files[0].path, "/models/Qwen2.5-14B-Instruct-Q4_K_M.gguf");
        assert_eq!(launch.rungs[0].contexts, [139_520]);
        assert_eq!(launch.servers[0].url(), "http://127.0.0.1:8080");
        let two = two();
        assert_eq!(two.name, "qwen2.5-14b-instruct-and-qwen2.5-14b-instruct-2");
        assert_eq!(two.servers[1].port, 8081);
        assert!(two.rungs[0].needs_mib[0] > two.only(1).rungs[0].needs_mib[0]);
    }

    #[test]
    fn hostile_names_become_harmless() {
        let mut names = BTreeSet::new();
        assert_eq!(unique_name("../../etc/passwd", &mut names), "etc-passwd");
        assert_eq!(unique_name("", &mut names), "model");
        assert_eq!(unique_name("CON", &mut names), "model-con");
        assert_eq!(unique_name("-rf $(x)\n", &mut names), "rf-x");
        assert_eq!(unique_name(&"ü".repeat(300), &mut names), "model-2");
        assert!(unique_name(&"a".repeat(300), &mut names).len() <= 60);
    }

    #[test]
    fn a_public_host_needs_a_key_file() {
        let around = Surroundings { host: Some("0.0.0.0".to_owned()), ..Surroundings::default() };
        assert!(matches!(Launch::from_plan(&plan(), 0, &around), Err(LaunchError::PublicWithoutKey(_))));
        let around = Surroundings { api_key_file: Some("/keys".to_owned()), ..around };
        let launch = Launch::from_plan(&plan(), 0, &around).unwrap();
        assert_eq!(value(&launch.servers[0].arguments, "api-key-file"), Some("/keys"));
    }
}
