//! The environment variables and configuration files that change what CUDA or llama.cpp does.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::Host;

/// Read by whole name. Values that could hold a secret are not among them.
const NAMES: &[&str] = &[
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "NIX_LD",
    "OneDrive",
    "NVIDIA_VISIBLE_DEVICES",
    "NVIDIA_DRIVER_CAPABILITIES",
    "NVIDIA_DISABLE_REQUIRE",
    "CONDA_PREFIX",
    "HF_HUB_OFFLINE",
];

/// Every variable of CUDA's, ggml's and llama.cpp's. Secrets of llama-server (`LLAMA_ARG_API_KEY`, `LLAMA_API_KEY`)
/// are recorded as set, never by value.
pub(super) fn variables(host: &Host) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for prefix in ["CUDA_", "GGML_", "LLAMA_ARG_", "NVIDIA_TF32"] {
        found.extend(host.variables_starting_with(prefix));
    }
    for name in NAMES {
        if let Some(value) = host.variable_even_empty(name) {
            found.insert((*name).to_owned(), value);
        }
    }
    for (name, value) in &mut found {
        if is_secret(name) {
            "(set)".clone_into(value);
        }
    }
    found
}

/// Whether a setting's name tells that its value is nobody's business.
fn is_secret(name: &str) -> bool {
    let name = name.split('=').next().unwrap_or(name).to_ascii_uppercase();
    ["KEY", "TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL"].iter().any(|word| name.contains(word))
}

/// The `key = value` lines of llama.cpp's own configuration files, in the order in which they are read.
/// Source: llama.cpp common/arg.cpp at b11434.
pub(super) fn llama_config(host: &Host) -> BTreeMap<String, Vec<String>> {
    let folder = |name: &str| host.variable(name).map(PathBuf::from);
    let folders = if cfg!(windows) {
        vec![folder("PROGRAMDATA"), folder("APPDATA")]
    } else {
        let own = folder("XDG_CONFIG_HOME").or_else(|| Some(folder("HOME")?.join(".config")));
        vec![Some(PathBuf::from("/etc")), own]
    };
    folders
        .into_iter()
        .flatten()
        .map(|folder| folder.join("llama.cpp").join("config.ini"))
        .filter_map(|path| {
            let text = host.read_to_string(&path).ok()?;
            let settings = text.lines().map(str::trim);
            let kept = settings.filter(|line| line.contains('=') && !line.starts_with(['#', ';']));
            let public = kept.filter(|line| !is_secret(line)).map(str::to_owned);
            Some((path.to_string_lossy().into_owned(), public.take(50).collect()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_recorded_as_set() {
        let host = Host::Recorded {
            root: "/nonexistent".into(),
            environment: [
                ("LLAMA_ARG_API_KEY".into(), "hunter2".into()),
                ("CUDA_VISIBLE_DEVICES".into(), String::new().into()),
                ("PATH".into(), "/bin".into()),
            ]
            .into(),
            outputs: BTreeMap::new(),
        };
        let found = variables(&host);
        assert_eq!(found["LLAMA_ARG_API_KEY"], "(set)");
        assert_eq!(found["CUDA_VISIBLE_DEVICES"], "");
        assert_eq!(found.len(), 2);
    }
}
