//! What llama-server's log says of its memory and settings, in each of the formats it had.
//!
//! Since 2026 a line begins with a time stamp and a level letter, or is a JSON record with `--log-jsonl`; before, the message stood
//! alone. The lines of the library need `-lv 4` today (b11434 `common/log.cpp:528`).

use std::collections::BTreeMap;

use serde::Serialize;

use crate::fit::plan::MemoryParts;
use crate::units::{Bytes, MIB};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Debug,
    Info,
    Warning,
    Error,
    /// A line without a level: older builds, continued lines, other libraries.
    Unsaid,
}

/// One line of a log without its framing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub level: Level,
    pub message: String,
}

pub fn parse_line(raw: &str) -> Line {
    if raw.starts_with('{')
        && let Ok(record) = serde_json::from_str::<serde_json::Value>(raw)
    {
        let level = match record["level"].as_str() {
            Some("info") => Level::Info,
            Some("warn") => Level::Warning,
            Some("error") => Level::Error,
            Some("debug") => Level::Debug,
            _ => Level::Unsaid,
        };
        let message = record["msg"].as_str().map_or_else(|| raw.to_owned(), |text| text.trim_end().to_owned());
        return Line { level, message };
    }
    framed(raw).unwrap_or_else(|| Line { level: Level::Unsaid, message: raw.trim_end().to_owned() })
}

/// `M.SS.mmm.uuu L message`
fn framed(raw: &str) -> Option<Line> {
    let (stamp, rest) = raw.split_once(' ')?;
    let numbers: Vec<&str> = stamp.split('.').collect();
    let digits = numbers.iter().all(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()));
    let (letter, message) = rest.split_at_checked(1)?;
    let level = match letter {
        "I" => Level::Info,
        "W" => Level::Warning,
        "E" => Level::Error,
        "D" => Level::Debug,
        _ => return None,
    };
    let message = message.strip_prefix(' ')?;
    (numbers.len() == 4 && digits).then(|| Line { level, message: message.trim_end().to_owned() })
}

/// What one model load said; a server with a draft model, or one that fits by itself, has several.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Load {
    pub file: String,
    /// Bytes by buffer name (`CUDA0`, `CPU_Mapped`, `CUDA_Host`), as rounded in the log to 0.01 MiB.
    pub model: BTreeMap<String, Bytes>,
    pub kv: BTreeMap<String, Bytes>,
    pub recurrent: BTreeMap<String, Bytes>,
    pub output: BTreeMap<String, Bytes>,
    pub compute: BTreeMap<String, Bytes>,
    /// Layers on GPUs, of all, the output layer counted.
    pub offloaded: Option<(u32, u32)>,
    pub flash_attention: Option<bool>,
    /// Of K and of V.
    pub cache_types: Option<(String, String)>,
    /// `n_ctx`, `n_batch`, …: the columns that the context prints.
    pub context: BTreeMap<String, String>,
    /// Graph splits; more than two on one GPU means that the CPU takes part.
    pub splits: Option<u32>,
}

/// Everything of interest that a log has said so far.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct LogFacts {
    pub loads: Vec<Load>,
    pub slots: Option<u32>,
    /// Tokens that one slot may use.
    pub slot_context: Option<u32>,
    pub kv_unified: Option<bool>,
    pub listening: Option<String>,
    pub model_loaded: bool,
    /// What the built-in fitting said.
    pub fit_messages: Vec<String>,
    /// From the breakdown that is printed at exit, in whole MiB, by device.
    pub breakdown: BTreeMap<String, MemoryParts>,
    pub warnings: Vec<String>,
}

impl LogFacts {
    pub fn from_text(text: &str) -> Self {
        let mut facts = Self::default();
        for line in text.lines() {
            facts.read(line);
        }
        facts
    }

    /// The load of the served model: the last one of that file, since fitting may have loaded it before.
    pub fn load_of(&self, model: &str) -> Option<&Load> {
        self.loads.iter().rev().find(|load| load.file == model).or_else(|| self.loads.last())
    }

    pub fn read(&mut self, raw: &str) {
        let line = parse_line(raw);
        let message = line.message.as_str();
        if line.level == Level::Warning && self.warnings.len() < 100 {
            self.warnings.push(message.to_owned());
        }
        if let Some(rest) = message.split_once("loaded meta data with ").map(|(_, rest)| rest) {
            let file = rest.split_once(" tensors from ").map_or("", |(_, file)| file);
            let file = file.rsplit_once(" (version").map_or(file, |(file, _)| file);
            self.loads.push(Load { file: file.to_owned(), ..Load::default() });
        }
        self.read_server_line(message);
        if message.contains("common_fit_params") || message.contains("params_fit") {
            self.fit_messages.push(message.to_owned());
        }
        if self.loads.is_empty()
            && (message.contains(" buffer size = ")
                || message.contains("load_tensors:")
                || message.starts_with("llama_context:"))
        {
            self.loads.push(Load::default());
        }
        if let Some(load) = self.loads.last_mut() {
            load.read(message);
        }
    }

    fn read_server_line(&mut self, message: &str) {
        if let Some((_, rest)) = message.split_once("initializing, n_slots = ").or_else(|| {
            // Until 2025: `srv init: initializing slots, n_slots = 4`.
            message.split_once("initializing slots, n_slots = ")
        }) {
            self.slots = leading_number(rest);
            self.slot_context = rest.split_once("n_ctx_slot = ").and_then(|(_, rest)| leading_number(rest));
            self.kv_unified = rest.split_once("kv_unified = '").map(|(_, rest)| rest.starts_with("true"));
        } else if let Some((_, url)) = message.split_once("listening on ") {
            self.listening = Some(url.trim().to_owned());
        } else if message.ends_with("model loaded") {
            self.model_loaded = true;
        } else if message.contains("memory_breakdown_print: |   - ")
            && let Some((device, parts)) = breakdown_row(message)
        {
            self.breakdown.insert(device, parts);
        }
    }
}

impl Load {
    fn read(&mut self, message: &str) {
        if let Some((head, amount)) = message.split_once(" buffer size = ") {
            let Some(bytes) = mebibytes(amount) else { return };
            self.buffers(head).entry(name_of(head)).or_default().0 += bytes.0;
        } else if message.ends_with("sched_reserve: reserving ...") {
            // A second reservation replaces the first.
            self.compute.clear();
        } else if let Some((_, rest)) = message.split_once("offloaded ") {
            let mut numbers = rest.split(' ').next().unwrap_or_default().split('/');
            if let (Some(Ok(some)), Some(Ok(all))) = (numbers.next().map(str::parse), numbers.next().map(str::parse)) {
                self.offloaded = Some((some, all));
            }
        } else if message.contains("Flash Attention enabled")
            || message.contains("Flash Attention was auto, set to enabled")
        {
            self.flash_attention = Some(true);
        } else if message.contains("Flash Attention not supported")
            || message.contains("Flash Attention was auto, set to disabled")
        {
            self.flash_attention = Some(false);
        } else if message.contains("KV ") || message.contains("size = ") && message.contains(" cells") {
            self.cache_types = cache_types(message).or_else(|| self.cache_types.take());
        } else if let Some((_, splits)) = message.split_once("splits = ") {
            self.splits = leading_number(splits);
        } else if let Some((_, rest)) = message.split_once("graph splits = ") {
            self.splits = leading_number(rest);
        } else if let Some((key, value)) = context_column(message) {
            // `auto` is the request; the answer comes in a line of its own.
            match (key, value) {
                ("flash_attn", "enabled" | "1") => self.flash_attention = Some(true),
                ("flash_attn", "disabled" | "0") => self.flash_attention = Some(false),
                _ => {}
            }
            self.context.insert(key.to_owned(), value.to_owned());
        }
    }

    fn buffers(&mut self, head: &str) -> &mut BTreeMap<String, Bytes> {
        if head.ends_with(" KV") {
            &mut self.kv
        } else if head.ends_with(" RS") {
            &mut self.recurrent
        } else if head.ends_with(" output") {
            &mut self.output
        } else if head.ends_with(" compute") {
            &mut self.compute
        } else {
            // `model buffer size`; until 2024 without the word.
            &mut self.model
        }
    }

    /// KV cache and recurrent state of a device.
    pub fn context_bytes(&self, device: &str) -> Bytes {
        let one = |map: &BTreeMap<String, Bytes>| map.get(device).copied().unwrap_or_default().0;
        Bytes(one(&self.kv) + one(&self.recurrent))
    }
}

/// `llama_kv_cache:      CUDA0 KV` → `CUDA0`
fn name_of(head: &str) -> String {
    let mut words = head.rsplit(' ').filter(|word| !word.is_empty());
    let last = words.next().unwrap_or_default();
    let kinds = ["KV", "RS", "output", "compute", "model"];
    if kinds.contains(&last) { words.next().unwrap_or_default().to_owned() } else { last.to_owned() }
}

fn mebibytes(text: &str) -> Option<Bytes> {
    let number: f64 = text.split_whitespace().next()?.parse().ok()?;
    text.contains("MiB").then(|| Bytes((number * MIB as f64).round() as u64))
}

fn leading_number(text: &str) -> Option<u32> {
    let text = text.trim_start();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().ok()
}

/// `…, K (q8_0):    6.38 MiB, V (q8_0):    6.38 MiB`
fn cache_types(message: &str) -> Option<(String, String)> {
    let after = |mark: &str| message.split_once(mark)?.1.split_once(')').map(|(name, _)| name.to_owned());
    Some((after("K (")?, after("V (")?))
}

/// `llama_context: n_ctx         = 4096`
fn context_column(message: &str) -> Option<(&str, &str)> {
    let rest =
        message.strip_prefix("llama_context:").or_else(|| message.strip_prefix("llama_new_context_with_model:"))?;
    let (key, value) = rest.split_once('=')?;
    let key = key.trim();
    (!key.is_empty() && !key.contains(' ')).then_some((key, value.trim()))
}

/// `…: |   - CUDA0 (Mock H100)  | 81559 = 80000 + ( 420 =   235 +     133 +      51) +        1138 |`
fn breakdown_row(message: &str) -> Option<(String, MemoryParts)> {
    let (_, row) = message.split_once("|   - ")?;
    let (name, columns) = row.split_once('|')?;
    let device = name.split_whitespace().next()?.to_owned();
    let own = columns.split_once('(').map_or(columns, |(_, rest)| rest.split(')').next().unwrap_or_default());
    let (_, sum) = own.split_once('=')?;
    let parts: Vec<u64> = sum.split('+').map(|part| leading_number(part).map(u64::from)).collect::<Option<_>>()?;
    let [model, context, compute] = parts[..] else { return None };
    let bytes = Bytes::from_mib;
    let parts =
        MemoryParts { model: bytes(model), context: bytes(context), compute: bytes(compute), ..MemoryParts::default() };
    Some((device, parts))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the log prints it.
    fn mib(map: &BTreeMap<String, Bytes>, device: &str) -> String {
        format!("{:.2}", map[device].mib())
    }

    #[test]
    fn the_verbose_log_of_today() {
        let facts = LogFacts::from_text(include_str!("../../tests/logs/c.stderr.txt"));
        let load = facts.load_of("/models/gemma-3-270m-q4_k_m.gguf").unwrap();
        assert_eq!(mib(&load.kv, "CUDA0"), "28.70");
        assert_eq!(mib(&load.compute, "CUDA0"), "22.55");
        assert_eq!(mib(&load.compute, "CUDA_Host"), "10.56");
        assert_eq!(mib(&load.output, "CUDA_Host"), "2.00");
        assert_eq!(load.offloaded, Some((19, 19)));
        assert_eq!(load.cache_types, Some(("q8_0".to_owned(), "q8_0".to_owned())));
        assert_eq!(load.flash_attention, Some(true));
        assert_eq!(load.context["n_outputs_max"], "2");
        assert_eq!((facts.slots, facts.slot_context, facts.kv_unified), (Some(2), Some(4096), Some(false)));
        assert_eq!(facts.listening.as_deref(), Some("http://127.0.0.1:18999"));
        assert!(facts.model_loaded);
    }

    #[test]
    fn json_lines_and_the_breakdown_at_exit() {
        let facts = LogFacts::from_text(include_str!("../../tests/logs/j.stdout.txt"));
        let load = facts.loads.last().unwrap();
        assert_eq!(mib(&load.kv, "CUDA0"), "133.50");
        assert_eq!(mib(&load.compute, "CUDA0"), "51.52");
        assert_eq!(load.flash_attention, Some(true));
        assert_eq!(facts.breakdown["CUDA0"].context, Bytes::from_mib(133));
        assert_eq!(facts.breakdown["Host"].model, Bytes::from_mib(170));
    }

    #[test]
    fn fitting_loads_twice_and_the_last_counts() {
        let facts = LogFacts::from_text(include_str!("../../tests/logs/e.stderr.txt"));
        let load = facts.load_of("/models/gemma-3-270m-q4_k_m.gguf").unwrap();
        assert_eq!(mib(&load.kv, "CUDA0"), "33.00");
        assert_eq!(mib(&load.kv, "CPU"), "16.50");
        assert_eq!(load.splits, Some(92));
        assert!(facts.fit_messages.iter().any(|message| message.contains("context size reduced")));
    }

    #[test]
    fn lines_of_older_builds() {
        let text = "\
llm_load_tensors: offloaded 33/33 layers to GPU
llm_load_tensors:      CUDA0 buffer size =  4403.50 MiB
llama_kv_cache_init:      CUDA0 KV buffer size =  1024.00 MiB
llama_new_context_with_model: KV self size  = 1024.00 MiB, K (f16):  512.00 MiB, V (f16):  512.00 MiB
llama_new_context_with_model: flash_attn = 0
llama_new_context_with_model:  CUDA_Host  output buffer size =     0.98 MiB
llama_new_context_with_model:      CUDA0 compute buffer size =   560.00 MiB
llama_new_context_with_model: graph splits = 2
srv          init: initializing slots, n_slots = 1
main: server is listening on http://127.0.0.1:8080 - starting the main loop";
        let facts = LogFacts::from_text(text);
        let load = &facts.loads[0];
        assert_eq!(mib(&load.model, "CUDA0"), "4403.50");
        assert_eq!(mib(&load.kv, "CUDA0"), "1024.00");
        assert_eq!(mib(&load.output, "CUDA_Host"), "0.98");
        assert_eq!(mib(&load.compute, "CUDA0"), "560.00");
        assert_eq!((load.offloaded, load.flash_attention, load.splits), (Some((33, 33)), Some(false), Some(2)));
        assert_eq!(load.cache_types, Some(("f16".to_owned(), "f16".to_owned())));
        assert_eq!(facts.slots, Some(1));
    }

    #[test]
    fn garbage_is_read_without_harm() {
        for garbage in
            ["{\"level\":", "é buffer size = x MiB", "0.00.0 I", "offloaded /", "|   - | = + (", "\u{0}\u{1}"]
        {
            LogFacts::from_text(garbage);
        }
    }
}
