//! Why a server did not start, read from what it printed: one rule a cause, the most telling first.

use std::sync::LazyLock;

use regex_lite::{Captures, Regex};
use serde::Serialize;

/// A cause in words, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnosis {
    /// `out-of-vram`: stable, for programs.
    pub id: &'static str,
    pub summary: String,
    pub advice: String,
    /// The line of the log that says so.
    pub evidence: String,
}

struct Rule {
    id: &'static str,
    pattern: &'static str,
    summary: fn(&Captures<'_>) -> String,
    advice: &'static str,
}

/// Texts of llama.cpp b11434, as its source prints them; each was seen or read there.
const RULES: &[Rule] = &[
    Rule {
        id: "port-in-use",
        pattern: r"couldn't bind (?:to server socket|HTTP server socket).*?hostname[:=] ?([^,\s]+),? port[:=] ?(\d+)",
        summary: |found| format!("port {} of {} is taken by another program", &found[2], &found[1]),
        advice: "choose another with `--port`, or stop the other program",
    },
    Rule {
        id: "unknown-flag",
        pattern: r"error: invalid argument: (\S+)",
        summary: |found| format!("this llama-server does not know `{}`", &found[1]),
        advice: "name its build with `--for-build`, or install the one that was planned for",
    },
    Rule {
        id: "bad-flag-value",
        pattern: r#"error while handling argument "([^"]+)": (.+)"#,
        summary: |found| format!("llama-server refuses the value of `{}`: {}", &found[1], found[2].trim()),
        advice: "name its build with `--for-build`, or install the one that was planned for",
    },
    Rule {
        id: "invalid-device",
        pattern: r"invalid device: (\S+)",
        summary: |found| format!("llama-server sees no device `{}`: its GPU backend did not load", &found[1]),
        advice: "see why with `llama-doctor check`",
    },
    Rule {
        id: "unknown-architecture",
        pattern: r"unknown model architecture: '([^']+)'",
        summary: |found| format!("this llama-server is older than the model architecture `{}`", &found[1]),
        advice: "install a newer build with `llama-doctor install`",
    },
    Rule {
        id: "missing-shard",
        pattern: r"failed to load GGUF split from (.+?)(?:$|\s*\()",
        summary: |found| format!("a part of the split model is missing or broken: {}", found[1].trim()),
        advice: "fetch the missing part with `llama-doctor pull`",
    },
    Rule {
        id: "broken-model",
        pattern: r"(not within the file bounds|invalid magic characters[^\n]*|failed to read tensor info)",
        summary: |found| format!("the model file is incomplete or not a GGUF: {}", &found[1]),
        advice: "fetch it again with `llama-doctor pull`; `llama-doctor inspect FILE` shows what it is",
    },
    Rule {
        id: "missing-model",
        pattern: r"failed to open GGUF file '?([^'\n]+?)'? \(",
        summary: |found| format!("the model file cannot be opened: {}", &found[1]),
        advice: "fetch it with `llama-doctor pull`",
    },
    Rule {
        id: "out-of-vram",
        pattern: r"allocating ([\d.]+) MiB on device (\d+): cudaMalloc failed: out of memory",
        summary: |found| format!("GPU {} has no {} MiB of VRAM left", &found[2], &found[1]),
        advice: "close other programs on the GPU, or plan again: `llama-doctor fit` looks at what is free now",
    },
    Rule {
        id: "out-of-vram-at-work",
        pattern: r"CUDA error: out of memory",
        summary: |_| "the GPU ran out of VRAM while it worked".to_owned(),
        advice: "leave more free with `--reserve`, or close other programs on the GPU",
    },
    Rule {
        id: "no-kernel-image",
        pattern: r"CUDA error: (no kernel image is available[^\n]*|the provided PTX was compiled[^\n]*)",
        summary: |found| format!("this build has no code for this GPU: {}", &found[1]),
        advice: "`llama-doctor check` says which build does",
    },
    Rule {
        id: "cuda-error",
        pattern: r"CUDA error: ([^\n]+)",
        summary: |found| format!("CUDA failed: {}", found[1].trim()),
        advice: "see what is wrong with `llama-doctor check`",
    },
    Rule {
        id: "flash-attention-needed",
        pattern: r"(?i)quantized V cache requires? (?:flash_attn|flash attention)|V cache quantization requires flash_attn",
        summary: |_| "a quantized V cache needs flash attention, which is off".to_owned(),
        advice: "use `-fa on`, or `-ctv f16`",
    },
    Rule {
        id: "split-buffers",
        pattern: r"device (\S+) does not support split buffers",
        summary: |found| format!("`-sm row` does not work on {}", &found[1]),
        advice: "use `-sm layer`",
    },
    Rule {
        id: "no-backend",
        pattern: r"no backends are loaded|no CPU backend found",
        summary: |_| "the installation is incomplete: no backend could be loaded".to_owned(),
        advice: "see what is missing with `llama-doctor check`",
    },
    Rule {
        id: "missing-library",
        pattern: r"error while loading shared libraries: ([^:]+):",
        summary: |found| format!("llama-server needs {}, which is not found", &found[1]),
        advice: "see where it should come from with `llama-doctor check`",
    },
    Rule {
        id: "model-not-loaded",
        pattern: r"error loading model: (.+)",
        summary: |found| format!("the model could not be loaded: {}", found[1].trim()),
        advice: "`llama-doctor inspect FILE` shows what the file is",
    },
];

static COMPILED: LazyLock<Vec<(&'static Rule, Regex)>> =
    LazyLock::new(|| RULES.iter().filter_map(|rule| Some((rule, Regex::new(rule.pattern).ok()?))).collect());

/// The first rule that matches anywhere in the log; none if it holds nothing that we know.
pub fn diagnose(log: &str) -> Option<Diagnosis> {
    COMPILED.iter().find_map(|(rule, regex)| {
        let (line, found) = log.lines().find_map(|line| Some((line, regex.captures(line)?)))?;
        Some(Diagnosis {
            id: rule.id,
            summary: (rule.summary)(&found),
            advice: rule.advice.to_owned(),
            evidence: super::log::parse_line(line).message,
        })
    })
}

/// The last lines with something in them, for a failure that no rule knows.
pub fn tail(log: &str, count: usize) -> Vec<String> {
    let lines: Vec<&str> = log.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].iter().map(|line| super::log::parse_line(line).message).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_compiles() {
        assert_eq!(COMPILED.len(), RULES.len());
    }

    #[test]
    fn causes_from_real_lines() {
        let rows = [
            (
                "0.00.040.001 E srv  start: couldn't bind HTTP server socket, hostname: 127.0.0.1, port: 8080",
                "port-in-use",
            ),
            ("error: invalid argument: --no-mmap", "unknown-flag"),
            ("error while handling argument \"-ctk\": Unsupported cache type: foo", "bad-flag-value"),
            ("E llama_model_load: error loading model: unknown model architecture: 'qwen9'", "unknown-architecture"),
            (
                "0.01.2.3 E ggml_backend_cuda_buffer_type_alloc_buffer: allocating 9216.00 MiB on device 0: cudaMalloc failed: out of memory",
                "out-of-vram",
            ),
            ("gguf_init_from_file: failed to open GGUF file '/m/x.gguf' (No such file or directory)", "missing-model"),
            ("llama-server: error while loading shared libraries: libcublas.so.12: cannot open", "missing-library"),
            ("llama_model_load: error loading model: error loading model: vocab mismatch", "model-not-loaded"),
        ];
        for (line, id) in rows {
            assert_eq!(diagnose(line).map(|found| found.id), Some(id), "{line}");
        }
        let row_split = diagnose(include_str!("../../tests/logs/d.stderr.txt")).unwrap();
        assert_eq!(row_split.id, "split-buffers");
        assert_eq!(row_split.summary, "`-sm row` does not work on CUDA0");
        assert_eq!(diagnose("all is well"), None);
        assert_eq!(tail("a\n\nb\nc\n", 2), ["b", "c"]);
    }
}
