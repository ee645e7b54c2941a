//! What `inspect` prints: one value for people and programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::printer::Verbosity;
use super::repository::RepositoryView;
use crate::binary::fatbin::Target;
use crate::binary::{Format, Image};
use crate::build::archive::Archive;
use crate::build::{Backend, BackendState, Build, Runs};
use crate::gguf::{Model, Value};
use crate::manifest::libraries::Role;
use crate::units::Bytes;

pub const SCHEMA: &str = "llama-doctor/inspect/1";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    Build,
    Library,
    Archive,
    Gguf,
    CudaLibrary,
    Other,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Inspection {
    pub schema: String,
    pub kind: Kind,
    pub path: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build: Option<Build>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub library: Option<Image>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cuda_library: Option<CudaLibraryFile>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archive: Option<Archive>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gguf: Option<Gguf>,
    /// What the model's repository offers, for a name on a hub.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<RepositoryView>,
}

impl Inspection {
    pub fn new(path: &Path, kind: Kind) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            kind,
            path: path.to_owned(),
            build: None,
            library: None,
            cuda_library: None,
            archive: None,
            gguf: None,
            repository: None,
        }
    }

    pub fn of_build(path: &Path, build: Build) -> Self {
        Self { build: Some(build), ..Self::new(path, Kind::Build) }
    }
}

/// One of CUDA's own libraries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CudaLibraryFile {
    pub role: Role,
    pub major: Option<u32>,
    pub version: Option<String>,
}

impl CudaLibraryFile {
    pub fn of(role: Role, major: Option<u32>, path: &Path, image: &Image) -> Self {
        let version = crate::build::cuda_libraries::version_of(path, image);
        Self { role, major, version }
    }
}

/// The header of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Gguf {
    pub architecture: String,
    pub name: Option<String>,
    pub parameters: u64,
    pub file_bytes: u64,
    pub shards: u64,
    pub layers: Option<u64>,
    pub train_context: Option<u64>,
    pub tensors: u64,
    /// How many tensors are of each type.
    pub tensor_types: BTreeMap<String, u64>,
    /// Numbers and short texts of the header; arrays as their length.
    pub metadata: BTreeMap<String, serde_json::Value>,
}

/// Longer texts, such as chat templates, are shown by their length.
const LONGEST_SHOWN_TEXT_BYTES: usize = 200;

impl Gguf {
    pub fn of(model: &Model) -> Self {
        let architecture = model.architecture().unwrap_or_default().to_owned();
        let number = |key: &str| model.metadata.get(&format!("{architecture}.{key}")).and_then(Value::as_u64);
        let mut tensor_types = BTreeMap::new();
        for tensor in &model.tensors {
            *tensor_types.entry(tensor.tensor_type.to_string()).or_default() += 1;
        }
        Self {
            name: model.metadata.get("general.name").and_then(Value::as_text).map(str::to_owned),
            parameters: model.parameters(),
            file_bytes: model.file_bytes(),
            shards: model.shards.len() as u64,
            layers: number("block_count"),
            train_context: number("context_length"),
            tensors: model.tensors.len() as u64,
            tensor_types,
            metadata: model.metadata.iter().map(|(key, value)| (key.clone(), shown(value))).collect(),
            architecture,
        }
    }
}

fn shown(value: &Value) -> serde_json::Value {
    match value {
        Value::Unsigned(number) => (*number).into(),
        Value::Signed(number) => (*number).into(),
        Value::Float(number) => (*number).into(),
        Value::Bool(truth) => (*truth).into(),
        Value::Text(text) if text.len() <= LONGEST_SHOWN_TEXT_BYTES => text.clone().into(),
        Value::Text(text) => format!("({} bytes of text)", text.len()).into(),
        Value::OpaqueText(bytes) => format!("({bytes} bytes)").into(),
        Value::Array(array) => format!("({} elements)", array.len).into(),
    }
}

/// The answer in words, verdict first.
pub fn human(inspection: &Inspection, verbosity: Verbosity) -> String {
    let mut text = String::new();
    let out = &mut text;
    let path = inspection.path.display();
    if inspection.kind == Kind::Other {
        line(out, &format!("{path} is no library, program, archive or model that this program knows"));
    }
    if let Some(build) = &inspection.build {
        build_lines(out, build, verbosity);
    }
    if let Some(archive) = &inspection.archive {
        if inspection.build.is_none() {
            line(out, &format!("{path} holds no llama.cpp"));
        }
        let package = archive.package.as_ref().map_or_else(String::new, |package| format!(", {package}"));
        let size = Bytes(archive.unpacked_bytes);
        field(out, "Archive", &format!("{} files, {size} unpacked{package}", archive.files));
        if !archive.cuda_libraries.is_empty() {
            field(out, "CUDA", &archive.cuda_libraries.join(", "));
        }
    }
    if let Some(library) = &inspection.cuda_library {
        let version = library.version.as_ref().map_or_else(String::new, |version| format!(" {version}"));
        let title = crate::manifest::libraries::libraries()
            .libraries
            .iter()
            .find(|row| row.role == library.role)
            .map_or("a library of CUDA", |row| row.title.as_str());
        line(out, &format!("{path} is the {title}{version}"));
    }
    if let (Some(library), None) = (&inspection.library, &inspection.build) {
        if inspection.cuda_library.is_none() {
            line(out, &format!("{path} is a library or program, and none of llama.cpp"));
        }
        image_lines(out, library);
    }
    if let Some(model) = &inspection.gguf {
        gguf_lines(out, model, verbosity);
    }
    if let Some(repository) = &inspection.repository {
        super::repository::lines(out, repository);
    }
    text.trim_end().to_owned()
}

fn build_lines(out: &mut String, build: &Build, verbosity: Verbosity) {
    let version = build.version.as_deref().unwrap_or("of unknown version");
    let verdict = build.backend("CUDA").map_or_else(String::new, cuda_sentence);
    line(out, &format!("llama.cpp {version}: {verdict}"));
    line(out, "");
    field(out, "Path", &build.path.display().to_string());
    let ggml = build.ggml_version.as_ref().map_or_else(String::new, |version| format!(", ggml {version}"));
    field(out, "Kind", &format!("{}{ggml}", kind_text(build)));
    let mut files = Vec::new();
    for backend in &build.backends {
        // What one file needs is told once.
        let is_new = !files.contains(&&backend.file);
        files.push(&backend.file);
        backend_lines(out, backend, is_new, verbosity);
    }
    if let Some(info) = &build.system_info {
        field(out, "Says", info);
    }
    for device in &build.devices {
        let memory = Bytes(device.total_bytes);
        field(out, "Device", &format!("{} {}, {memory}", device.name, device.description));
    }
    if !build.mapped.is_empty() {
        let paths: Vec<String> = build.mapped.iter().map(|path| path.display().to_string()).collect();
        field(out, "Mapped", &paths.join(" "));
    }
    if let Some(probe) = &build.probe {
        field(out, "Run", probe);
    }
    for problem in &build.problems {
        field(out, "Note", problem);
    }
}

/// The verdict on CUDA in one clause.
pub fn cuda_sentence(cuda: &Backend) -> String {
    match cuda.state {
        BackendState::Works => "CUDA works".to_owned(),
        BackendState::Loads => format!("CUDA can be loaded ({})", cuda.reason),
        BackendState::Blocked => format!("CUDA is blocked: {}", cuda.reason),
        BackendState::Absent => format!("no CUDA: {}", cuda.reason),
    }
}

fn kind_text(build: &Build) -> String {
    serde_json::to_value(build.kind).ok().and_then(|kind| kind.as_str().map(str::to_owned)).unwrap_or_default()
}

fn backend_lines(out: &mut String, backend: &Backend, with_needs: bool, verbosity: Verbosity) {
    let state = match backend.state {
        BackendState::Works => "works",
        BackendState::Loads => "loads",
        BackendState::Blocked => "blocked",
        BackendState::Absent => "absent",
    };
    field(out, &backend.name, &format!("{state}: {}", backend.reason));
    if let Some(file) = &backend.file {
        more(out, "file", &file.display().to_string());
    }
    if let Some(version) = backend.api_version.filter(|_| verbosity >= Verbosity::Verbose) {
        more(out, "API", &format!("version {version} of ggml's interface to backends"));
    }
    if !backend.sass.is_empty() || !backend.ptx.is_empty() {
        let mut code = Vec::new();
        if !backend.sass.is_empty() {
            code.push(format!("native for {}", list(&backend.sass)));
        }
        if !backend.ptx.is_empty() {
            let version = backend.ptx_version.map_or_else(String::new, |version| format!(" {version}"));
            code.push(format!("PTX{version} for {}", list(&backend.ptx)));
        }
        if backend.compressed == Some(true) {
            code.push("compressed".to_owned());
        }
        let major = backend.runtime_major.map_or_else(String::new, |major| format!("CUDA {major}; "));
        more(out, "code", &format!("{major}{}", code.join("; ")));
    }
    if let Some(quants) = &backend.fa_quants {
        more(out, "fast KV", quants);
    }
    for verdict in &backend.per_gpu {
        let runs = match verdict.runs {
            Runs::Native => verdict.reason.clone(),
            Runs::Jit => format!("JIT: {}", verdict.reason),
            Runs::No => format!("no: {}", verdict.reason),
        };
        more(out, &verdict.gpu, &runs);
    }
    for dependency in backend.dependencies.iter().filter(|_| with_needs) {
        if !dependency.is_satisfied() || verbosity >= Verbosity::Verbose {
            let place = dependency.path.as_ref().map_or_else(String::new, |path| format!("{}, ", path.display()));
            more(
                out,
                "needs",
                &format!("{}: {place}{} (for {})", dependency.name, dependency.detail, dependency.needed_by),
            );
        }
    }
}

fn image_lines(out: &mut String, image: &Image) {
    line(out, "");
    let format = match image.format {
        Format::Elf => "ELF",
        Format::Pe => "PE",
    };
    field(out, "Format", &format!("{format} for {}", image.machine.name()));
    if let Some(name) = &image.name {
        field(out, "Name", name);
    }
    if let Some(version) = &image.file_version {
        field(out, "Version", version);
    }
    if !image.needed.is_empty() {
        field(out, "Needs", &image.needed.join(", "));
    }
    if !image.delayed.is_empty() {
        field(out, "Later", &image.delayed.join(", "));
    }
    for (what, folders) in [("RPATH", &image.rpath), ("RUNPATH", &image.runpath)] {
        if !folders.is_empty() {
            field(out, what, &folders.join(":"));
        }
    }
    for required in &image.required_versions {
        field(out, "Wants", &format!("{} of {}", required.versions.join(", "), required.library));
    }
    if let Some(code) = &image.cuda {
        field(out, "Code", &format!("native for {}; PTX for {}", list(&code.sass), list(&code.ptx)));
    }
}

fn gguf_lines(out: &mut String, model: &Gguf, verbosity: Verbosity) {
    let name = model.name.as_deref().unwrap_or("a model without a name");
    line(out, &format!("{name}: {}, {:.1} B parameters", model.architecture, model.parameters as f64 / 1e9));
    line(out, "");
    let files = if model.shards == 1 { "one file".to_owned() } else { format!("{} files", model.shards) };
    field(out, "Size", &format!("{} in {files}", Bytes(model.file_bytes)));
    if let Some(layers) = model.layers {
        field(out, "Layers", &layers.to_string());
    }
    if let Some(context) = model.train_context {
        field(out, "Context", &format!("{context} tokens in training"));
    }
    let types: Vec<String> = model.tensor_types.iter().map(|(name, count)| format!("{count} {name}")).collect();
    field(out, "Tensors", &format!("{}: {}", model.tensors, types.join(", ")));
    if verbosity >= Verbosity::Verbose {
        line(out, "");
        for (key, value) in &model.metadata {
            line(out, &format!("{key} = {value}"));
        }
    }
}

fn list(targets: &[Target]) -> String {
    targets.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

const WIDTH: usize = 80;
const LABEL_WIDTH: usize = 8;
const MORE_WIDTH: usize = 8;

fn line(out: &mut String, text: &str) {
    wrapped(out, "", 0, text);
}

fn field(out: &mut String, label: &str, text: &str) {
    wrapped(out, &format!("{label:<LABEL_WIDTH$}"), LABEL_WIDTH, text);
}

fn more(out: &mut String, label: &str, text: &str) {
    let indent = LABEL_WIDTH;
    wrapped(out, &format!("{:indent$}{label:<MORE_WIDTH$}", ""), indent + MORE_WIDTH, text);
}

/// Breaks at spaces; a longer word, such as a path, stays whole so that it can be copied.
fn wrapped(out: &mut String, label: &str, indent: usize, text: &str) {
    let mut column = label.chars().count().max(indent);
    let _ = write!(out, "{label:<indent$}");
    for (index, word) in text.split(' ').enumerate() {
        let length = word.chars().count();
        if index > 0 {
            if column + 1 + length > WIDTH {
                let _ = write!(out, "\n{:indent$}", "");
                column = indent;
            } else {
                out.push(' ');
                column += 1;
            }
        }
        out.push_str(word);
        column += length;
    }
    out.push('\n');
}
