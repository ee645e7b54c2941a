//! What happens when a build is run: a process of our own loads it, and may crash or hang without harm.
//!
//! The child reports each step before it takes it, one JSON document a line, so that a crash tells what it died of.

mod child;
mod parent;
pub(crate) mod programs;
mod request;
mod serve;

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::build::Device;

pub use child::run as run_child;
pub use parent::{Wanted, run, run_with};
pub use request::{Parts, Request};

/// Begins each line of the child, because a library may print on stdout too.
const LINE_PREFIX: &str = "@llama-doctor-probe ";

/// One step of the child.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
enum Event {
    /// What it does next; a crash happened there.
    Begin {
        step: String,
    },
    Opened {
        file: PathBuf,
    },
    /// The loader's own words.
    OpenFailed {
        file: PathBuf,
        error: String,
    },
    Backend {
        name: String,
        api_version: u32,
        devices: u32,
    },
    Device(Device),
    SystemInfo {
        text: String,
    },
    Log {
        text: String,
    },
    /// A library of CUDA that the process has mapped, or ggml's module for the processor.
    Mapped {
        path: PathBuf,
    },
    Token(Token),
    /// Nothing of the build can be called, and why.
    Closed {
        why: String,
    },
    End,
}

/// How the child ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", tag = "how")]
pub enum Outcome {
    Finished,
    /// `signal 11 (segmentation fault)`, or an exit code of Windows.
    Crashed {
        with: String,
        during: String,
    },
    TimedOut {
        during: String,
    },
    NotStarted {
        why: String,
    },
    /// The build has no libraries of its own that could be loaded, and no program that could be asked.
    NotProbed {
        why: String,
    },
}

/// A token that was computed on a device, or why it was not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Token {
    /// `CUDA0`, or `CPU`
    pub device: String,
    pub model: PathBuf,
    /// The likeliest token's number; none if there was no result.
    pub token: Option<u32>,
    /// Loading the model included.
    pub milliseconds: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// In llama.cpp's own words: `19/19`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layers_on_device: Option<String>,
}

/// A file that was opened by the loader, or what the loader said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Opened {
    pub file: PathBuf,
    pub error: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LoadedBackend {
    pub name: String,
    pub api_version: u32,
    pub devices: u32,
}

/// What was seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProbeReport {
    pub outcome: Outcome,
    pub opened: Vec<Opened>,
    pub backends: Vec<LoadedBackend>,
    pub devices: Vec<Device>,
    pub system_info: Option<String>,
    /// What `--version` of the build's program printed, where only the program could be asked.
    pub version: Option<String>,
    /// What ggml logged while loading.
    pub log: Vec<String>,
    /// CUDA's libraries as the process really mapped them, and the module for the processor that ggml chose.
    pub mapped: Vec<PathBuf>,
    /// One for each device that a small model was tried on.
    pub tokens: Vec<Token>,
}

impl ProbeReport {
    fn new(outcome: Outcome) -> Self {
        Self {
            outcome,
            opened: Vec::new(),
            backends: Vec::new(),
            devices: Vec::new(),
            system_info: None,
            version: None,
            log: Vec::new(),
            mapped: Vec::new(),
            tokens: Vec::new(),
        }
    }

    fn add(&mut self, event: Event) {
        match event {
            Event::Begin { .. } | Event::End => {}
            Event::Opened { file } => self.opened.push(Opened { file, error: None }),
            Event::OpenFailed { file, error } => self.opened.push(Opened { file, error: Some(error) }),
            Event::Backend { name, api_version, devices } => {
                self.backends.push(LoadedBackend { name, api_version, devices });
            }
            Event::Device(device) => self.devices.push(device),
            Event::SystemInfo { text } => self.system_info = Some(text),
            Event::Log { text } => self.log.push(text),
            Event::Mapped { path } => self.mapped.push(path),
            Event::Token(mut token) => {
                // `load_tensors: offloaded 19/19 layers to GPU`, of this device's run: the last one said.
                let said =
                    self.log.iter().rev().find_map(|line| line.split_once("offloaded ")?.1.split_once(" layers"));
                let error = self.log.iter().rev().find(|line| line.contains("error") || line.contains("failed"));
                if let (Some(problem), Some(error)) = (&mut token.problem, error) {
                    *problem = format!("{problem} ({})", error.trim());
                }
                token.layers_on_device = said.filter(|_| token.device != "CPU").map(|(layers, _)| layers.to_owned());
                self.tokens.push(token);
            }
            Event::Closed { why } => self.outcome = Outcome::NotProbed { why },
        }
    }

    /// ggml tells a device's compute capability only in its log: `Device 0: NAME, compute capability 8.6, VMM: yes`.
    fn read_capabilities(&mut self) {
        for text in &self.log {
            let Some((before, after)) = text.split_once(", compute capability ") else { continue };
            let Some(number) = before.trim().strip_prefix("Device ").and_then(|rest| rest.split(':').next()) else {
                continue;
            };
            let name = format!("CUDA{number}");
            let capability = after.split(',').next().and_then(|text| text.trim().parse().ok());
            if let Some(device) = self.devices.iter_mut().find(|device| device.name == name) {
                device.compute_capability = capability;
            }
        }
    }
}
