//! llama-server's arguments for one planned server: the one place that generates them, for the plan's JSON and every script alike.
//!
//! Everything whose default would change the plan is said: a default may move with the build, and a configuration file or
//! a variable may move it too; the command line is stronger than both.

use crate::fit::settings::{CacheType, LoadMode, Settings, SplitMode};
use crate::manifest::server_flags;
use crate::units::BuildTag;

/// What a server is started with, resolved: nothing here is "auto".
#[derive(Debug, Clone, PartialEq)]
pub struct ServerRequest<'a> {
    /// Decides spellings; none = the newest build.
    pub build: Option<BuildTag>,
    pub model: &'a Location,
    /// `flash_attention` and `gpu_layers` of it are not read: the resolved values are beside it.
    pub settings: &'a Settings,
    pub flash_attention: bool,
    /// As `-ngl` counts: layers plus one for the output.
    pub gpu_layers: u32,
    /// `CUDA0`, …: the devices of the plan; empty = no GPU.
    pub devices: &'a [String],
    pub mmproj: Option<&'a str>,
    pub draft: Option<&'a Location>,
    pub host: &'a str,
    pub port: u16,
    /// A file with the keys, never a key: arguments are seen by every user of the machine.
    pub api_key_file: Option<&'a str>,
}

/// Where llama-server finds a model (the first shard of a split one).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// The hub's repository that the server fetches `file` from itself; none = `file` is a path.
    pub repository: Option<String>,
    pub file: String,
}

/// One flag with its value, if it takes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument {
    /// The flag's name in `manifests/server_flags.toml`; empty for a flag that is not in it.
    pub id: String,
    pub flag: String,
    pub value: Option<String>,
}

/// The words for a process, in the order a reader would ask: what, how much, where.
pub fn words(request: &ServerRequest<'_>) -> Vec<String> {
    flatten(&arguments(request))
}

/// As [`words`], flag by flag.
pub fn arguments(request: &ServerRequest<'_>) -> Vec<Argument> {
    let settings = request.settings;
    let mut list = List { build: request.build, arguments: Vec::new() };
    list.model(request);
    list.valued("context", settings.context);
    list.valued("gpu-layers", request.gpu_layers);
    if settings.embeddings {
        list.bare(if settings.reranks { "reranking" } else { "embeddings" });
    }
    // What embeds as a rule has no cache, and the default says enough of one that is not used.
    if !settings.embeddings || settings.cache_type_k != CacheType::F16 || settings.cache_type_v != CacheType::F16 {
        list.valued("cache-type-k", settings.cache_type_k);
        list.valued("cache-type-v", settings.cache_type_v);
    }
    list.flash_attention(request.flash_attention);
    list.valued("parallel", settings.parallel);
    list.bare(if settings.kv_unified { "kv-unified" } else { "no-kv-unified" });
    list.valued("batch", settings.batch);
    list.valued("ubatch", settings.ubatch);
    if settings.cpu_moe_layers > 0 {
        list.valued("cpu-moe-layers", settings.cpu_moe_layers);
    }
    if !settings.tensor_overrides.is_empty() {
        let pairs = settings.tensor_overrides.iter().map(|one| format!("{}={}", one.pattern, one.buffer));
        list.valued("override-tensor", pairs.collect::<Vec<_>>().join(","));
    }
    list.devices(request);
    if settings.swa_full {
        list.bare("swa-full");
    }
    if !settings.kv_offload {
        list.bare("no-kv-offload");
    }
    if !settings.op_offload {
        list.bare("no-op-offload");
    }
    list.load_mode(settings.load_mode);
    if let Some(mmproj) = request.mmproj {
        list.valued("mmproj", mmproj);
    }
    if let Some(draft) = request.draft {
        if let Some(repository) = &draft.repository {
            list.valued("hf-repo-draft", repository);
        }
        list.valued("model-draft", &draft.file);
    }
    // The plan decided; a second planner with other margins would undo it.
    list.valued("fit", "off");
    list.valued("host", request.host);
    list.valued("port", request.port);
    if let Some(file) = request.api_key_file {
        list.valued("api-key-file", file);
    }
    list.arguments
}

pub fn flatten(arguments: &[Argument]) -> Vec<String> {
    arguments.iter().flat_map(|one| std::iter::once(one.flag.clone()).chain(one.value.clone())).collect()
}

/// Reads words back into flags, as llama-server would: a known flag that takes a value owns the next word.
/// Of a word that is not known, a next word without a leading dash is taken for its value.
pub fn pair(words: &[String], build: Option<BuildTag>) -> Vec<Argument> {
    let mut arguments = Vec::new();
    let mut words = words.iter().peekable();
    while let Some(flag) = words.next() {
        let known = server_flags::of_word(flag);
        let takes_value = known.map_or_else(
            || words.peek().is_some_and(|next| !next.starts_with('-')),
            |known| {
                let mut spelled = known.spellings.iter().filter(|one| one.text == *flag);
                let now = server_flags::spelling(&known.id, build).filter(|now| now.text == *flag);
                now.or_else(|| spelled.next_back()).is_some_and(|one| one.value)
            },
        );
        let value = if takes_value { words.next().cloned() } else { None };
        let id = known.map_or(String::new(), |known| known.id.clone());
        arguments.push(Argument { id, flag: flag.clone(), value });
    }
    arguments
}

struct List {
    build: Option<BuildTag>,
    arguments: Vec<Argument>,
}

impl List {
    /// Adds the flag as the build spells it; a build that does not know it does what the plan assumes without it.
    fn valued(&mut self, id: &str, value: impl std::fmt::Display) {
        if let Some(spelling) = server_flags::spelling(id, self.build) {
            let value = spelling.value.then(|| value.to_string());
            self.arguments.push(Argument { id: id.to_owned(), flag: spelling.text.clone(), value });
        }
    }

    fn bare(&mut self, id: &str) {
        self.valued(id, "");
    }

    fn model(&mut self, request: &ServerRequest<'_>) {
        let Some(repository) = &request.model.repository else { return self.valued("model", &request.model.file) };
        self.valued("hf-repo", repository);
        self.valued("hf-file", &request.model.file);
        // From a repository the server would load a projector, too, which nobody planned for.
        if request.mmproj.is_none() {
            self.bare("no-mmproj");
        }
    }

    /// Before b6325 the flag is bare and its absence means off.
    fn flash_attention(&mut self, on: bool) {
        let takes_value = server_flags::spelling("flash-attention", self.build).is_some_and(|one| one.value);
        if on || takes_value {
            self.valued("flash-attention", if on { "on" } else { "off" });
        }
    }

    fn devices(&mut self, request: &ServerRequest<'_>) {
        let settings = request.settings;
        // Without offload of any kind a GPU would only lose the memory of an idle context.
        if request.devices.is_empty() || (request.gpu_layers == 0 && !settings.op_offload) {
            self.valued("device", "none");
            return;
        }
        self.valued("device", request.devices.join(","));
        if request.devices.len() > 1 {
            self.valued("split-mode", if settings.split_mode == SplitMode::None { "none" } else { "layer" });
            if !settings.tensor_split.is_empty() {
                let shares: Vec<String> = settings.tensor_split.iter().map(ToString::to_string).collect();
                self.valued("tensor-split", shares.join(","));
            }
            self.valued("main-gpu", settings.main_gpu);
        }
    }

    fn load_mode(&mut self, mode: LoadMode) {
        match mode {
            // Builds before it map the file, which is what `auto` does on discrete GPUs.
            LoadMode::Auto => self.valued("load-mode-auto", "auto"),
            LoadMode::Mmap => self.valued("load-mode", "mmap"),
            LoadMode::None => self.valued("no-mmap", "none"),
            LoadMode::Mlock => self.valued("mlock", "mlock"),
            LoadMode::MmapMlock => self.valued("mlock", "mmap+mlock"),
            LoadMode::DirectIo => self.valued("direct-io", "dio"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static MODEL: std::sync::LazyLock<Location> =
        std::sync::LazyLock::new(|| Location { repository: None, file: "/models/a b.gguf".to_owned() });

    fn request<'a>(settings: &'a Settings, devices: &'a [String], build: &str) -> ServerRequest<'a> {
        ServerRequest {
            build: Some(build.parse().unwrap()),
            model: &MODEL,
            settings,
            flash_attention: true,
            gpu_layers: 49,
            devices,
            mmproj: None,
            draft: None,
            host: "127.0.0.1",
            port: 8080,
            api_key_file: None,
        }
    }

    fn settings() -> Settings {
        Settings {
            context: 139_520,
            cache_type_k: CacheType::Q8_0,
            cache_type_v: CacheType::Q8_0,
            ..Settings::default()
        }
    }

    #[test]
    fn todays_server() {
        let devices = ["CUDA0".to_owned()];
        assert_eq!(
            words(&request(&settings(), &devices, "b11434")).join(" "),
            "-m /models/a b.gguf -c 139520 -ngl 49 -ctk q8_0 -ctv q8_0 -fa on -np 4 --kv-unified -b 2048 -ub 512 \
             --device CUDA0 --load-mode auto --fit off --host 127.0.0.1 --port 8080"
        );
    }

    #[test]
    fn servers_of_last_year() {
        let devices = ["CUDA0".to_owned(), "CUDA1".to_owned()];
        let settings =
            Settings { load_mode: LoadMode::None, kv_unified: false, tensor_split: vec![0.7, 0.3], ..settings() };
        assert_eq!(
            words(&request(&settings, &devices, "b6000")).join(" "),
            "-m /models/a b.gguf -c 139520 -ngl 49 -ctk q8_0 -ctv q8_0 -fa -np 4 -b 2048 -ub 512 \
             --device CUDA0,CUDA1 -sm layer -ts 0.7,0.3 -mg 0 --no-mmap --host 127.0.0.1 --port 8080"
        );
    }

    #[test]
    fn a_model_that_is_not_here_is_named_where_it_is() {
        let devices = ["CUDA0".to_owned()];
        let settings = settings();
        let model = Location { repository: Some("org/repo".to_owned()), file: "sub/m.gguf".to_owned() };
        let words = words(&ServerRequest { model: &model, ..request(&settings, &devices, "b11434") });
        assert_eq!(words[..5], ["--hf-repo", "org/repo", "--hf-file", "sub/m.gguf", "--no-mmproj"]);
    }

    #[test]
    fn words_read_back_into_flags() {
        let devices = ["CUDA0".to_owned()];
        for build in ["b11434", "b6000", "b9000", "v0.6.0"] {
            for load_mode in [LoadMode::Auto, LoadMode::None, LoadMode::Mlock, LoadMode::DirectIo] {
                let settings = Settings { load_mode, cpu_moe_layers: 3, swa_full: true, ..settings() };
                let request = request(&settings, &devices, build);
                let written = arguments(&request);
                let read = pair(&flatten(&written), request.build);
                let plain =
                    |list: &[Argument]| list.iter().map(|a| (a.flag.clone(), a.value.clone())).collect::<Vec<_>>();
                assert_eq!(plain(&read), plain(&written), "{build}");
            }
        }
    }
}
