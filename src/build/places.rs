//! Folders that match a pattern on this machine: `~/.pyenv/versions/*/lib/python3*/site-packages`.

use std::path::{Path, PathBuf};

use crate::host::Host;
use crate::host::environment::{APPDATA, CONDA_PREFIX, HOME, LOCALAPPDATA, USERPROFILE, VIRTUAL_ENV};

/// A folder with more entries than this is not searched to its end.
const MOST_ENTRIES: usize = 4096;
const MOST_MATCHES: usize = 512;

/// Python environments, by the folder that holds `lib/python3.N/site-packages` (on Windows `Lib\site-packages`).
const ENVIRONMENTS: &[&str] = &[
    "$VIRTUAL_ENV",
    "$CONDA_PREFIX",
    ".venv",
    "venv",
    "/usr",
    "/usr/local",
    "/opt/conda",
    "~/.local",
    "~/.pyenv/versions/*",
    "~/.pyenv/pyenv-win/versions/*",
    "~/.local/pipx/venvs/*",
    "~/.local/share/pipx/venvs/*",
    "~/pipx/venvs/*",
    "~/.local/share/uv/tools/*",
    "$APPDATA/uv/tools/*",
    "$LOCALAPPDATA/Programs/Python/Python3*",
    "~/miniconda3",
    "~/miniforge3",
    "~/mambaforge",
    "~/anaconda3",
    "~/miniconda3/envs/*",
    "~/miniforge3/envs/*",
    "~/mambaforge/envs/*",
    "~/micromamba/envs/*",
    "/opt/conda/envs/*",
    "~/anaconda3/envs/*",
    "~/text-generation-webui*/installer_files/env",
    "~/text-generation-webui*/portable_env",
    "/opt/venv",
    "~/.virtualenvs/*",
    "~/.venvs/*",
    "~/venvs/*",
    "~/.local/share/virtualenvs/*",
    "~/.cache/pypoetry/virtualenvs/*",
    "$LOCALAPPDATA/pypoetry/Cache/virtualenvs/*",
    "~/.local/share/uv/python/*",
    "$APPDATA/uv/python/*",
    "~/.asdf/installs/python/*",
    "~/.local/share/mise/installs/python/*",
    // Projects in the home folder.
    "~/*/.venv",
    "~/*/venv",
];

/// The existing paths that `pattern` means. `~`, `$VARIABLE` at its start, `*` within a name; paths of this machine,
/// to be read through [`Host::path`].
pub(crate) fn matching(host: &Host, pattern: &str) -> Vec<PathBuf> {
    let Some(pattern) = expanded(host, pattern) else { return Vec::new() };
    let mut found = vec![PathBuf::new()];
    for part in Path::new(&pattern).components() {
        let part = part.as_os_str();
        let text = part.to_string_lossy();
        found = if text.contains('*') {
            found.iter().flat_map(|folder| entries(host, folder, &text)).take(MOST_MATCHES).collect()
        } else {
            found.into_iter().map(|folder| folder.join(part)).collect()
        };
    }
    found.retain(|path| host.path(path).exists());
    found
}

/// Every folder of Python packages.
pub(super) fn site_packages(host: &Host) -> Vec<PathBuf> {
    let inner = if cfg!(windows) {
        ["Lib/site-packages", "Lib/site-packages"]
    } else {
        ["lib/python3*/site-packages", "lib/python3*/dist-packages"]
    };
    let mut found: Vec<PathBuf> = Vec::new();
    for environment in ENVIRONMENTS {
        for inner in inner {
            found.extend(matching(host, &format!("{environment}/{inner}")));
        }
    }
    found.extend(matching(host, "/usr/lib/python3/dist-packages"));
    found.sort();
    found.dedup();
    found
}

pub(super) fn home(host: &Host) -> Option<PathBuf> {
    host.variable(HOME.name).or_else(|| host.variable(USERPROFILE.name)).map(PathBuf::from)
}

/// None: the variable is not set, so there is no such place.
fn expanded(host: &Host, pattern: &str) -> Option<String> {
    if let Some(rest) = pattern.strip_prefix("~/") {
        return Some(home(host)?.join(rest).to_string_lossy().into_owned());
    }
    let Some(rest) = pattern.strip_prefix('$') else { return Some(pattern.to_owned()) };
    let (name, rest) = rest.split_once('/').unwrap_or((rest, ""));
    let variable = [VIRTUAL_ENV, CONDA_PREFIX, APPDATA, LOCALAPPDATA].into_iter().find(|one| one.name == name)?;
    Some(PathBuf::from(host.variable(variable.name)?).join(rest).to_string_lossy().into_owned())
}

fn entries(host: &Host, folder: &Path, pattern: &str) -> Vec<PathBuf> {
    // A folder that is not there or not ours to read holds nothing for us.
    let Ok(entries) = fs_err::read_dir(host.path(folder)) else { return Vec::new() };
    let mut found: Vec<PathBuf> = entries
        .flatten()
        .take(MOST_ENTRIES)
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| fits(name, pattern))
        .map(|name| folder.join(name))
        .collect();
    found.sort();
    found
}

/// Each `*` stands for any part of a name, also for none.
fn fits(name: &str, pattern: &str) -> bool {
    match pattern.split_once('*') {
        None => name == pattern,
        Some((before, after)) => name.strip_prefix(before).is_some_and(|rest| {
            (0..=rest.len()).filter(|at| rest.is_char_boundary(*at)).any(|at| fits(&rest[at..], after))
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn stars_stand_for_parts_of_names() {
        assert!(fits("abc-llama-cpp-11434", "*-llama-cpp-*"));
        assert!(fits("python3.12", "python3*") && fits("python3", "python3*"));
        assert!(!fits("llama-cpp", "*-llama-cpp-*") && !fits("é", "*x"));
    }

    #[test]
    fn patterns_find_what_is_there() {
        let root = tempfile::tempdir().unwrap();
        for folder in ["home/u/.pyenv/versions/3.12/lib/python3.12/site-packages", "usr/local/cuda-12.8/lib64"] {
            fs_err::create_dir_all(root.path().join(folder)).unwrap();
        }
        let environment = [("HOME".into(), "/home/u".into())].into();
        let host = Host::Recorded { root: root.path().to_owned(), environment, outputs: BTreeMap::new() };
        assert_eq!(matching(&host, "/usr/local/cuda*/lib64"), [PathBuf::from("/usr/local/cuda-12.8/lib64")]);
        assert_eq!(matching(&host, "$VIRTUAL_ENV/lib"), [] as [PathBuf; 0]);
        // Windows has other places for Python.
        #[cfg(unix)]
        assert_eq!(site_packages(&host), [PathBuf::from("/home/u/.pyenv/versions/3.12/lib/python3.12/site-packages")]);
    }
}
