//! Where a build comes from, told by its path and by the notes that packagers leave beside it.

use std::path::Path;

use super::BuildKind;

/// Parts of paths in lower case. More particular ones first: a conda environment has a site-packages too.
const PLACES: &[(&str, BuildKind)] = &[
    // Archives, seen as folders.
    (".whl/", BuildKind::PythonWheel),
    (".tgz/package/", BuildKind::Node),
    ("/node_modules/", BuildKind::Node),
    ("/text-generation-webui", BuildKind::TextGenerationWebui),
    ("/site-packages/", BuildKind::PythonWheel),
    ("/dist-packages/", BuildKind::PythonWheel),
    ("/nix/store/", BuildKind::Nix),
    ("/cellar/", BuildKind::Homebrew),
    ("/linuxbrew/", BuildKind::Homebrew),
    ("/scoop/apps/", BuildKind::Scoop),
    ("/winget/packages/", BuildKind::Winget),
    ("/.lmstudio/", BuildKind::LmStudio),
    ("/lm-studio/", BuildKind::LmStudio),
    ("/lib/ollama", BuildKind::Ollama),
    ("/programs/ollama", BuildKind::Ollama),
    ("/jan/", BuildKind::Jan),
    ("/miniconda", BuildKind::Conda),
    ("/miniforge", BuildKind::Conda),
    ("/anaconda", BuildKind::Conda),
    ("/llama-doctor/builds/", BuildKind::Official),
];

/// The kind of the build in `folder`; `names` are the file names in it.
pub fn kind(folder: &Path, names: &[String]) -> BuildKind {
    let path = format!("{}/", folder.to_string_lossy().replace('\\', "/").to_ascii_lowercase());
    if let Some((_, kind)) = PLACES.iter().find(|(place, _)| path.contains(place)) {
        return *kind;
    }
    let has = |name: &str| names.iter().any(|known| known == name);
    let ends = |suffix: &str| names.iter().any(|known| known.ends_with(suffix));
    if ends(".node") {
        return BuildKind::Node;
    }
    if ends(".pyd") || ends(".abi3.so") || path.ends_with("/llama_cpp/lib/") {
        return BuildKind::PythonWheel;
    }
    // A wheel that was unpacked by hand.
    if folder.ancestors().take(4).any(has_wheel_notes) {
        return BuildKind::PythonWheel;
    }
    // The installer at llama.app brings one program, `llama`, and nothing beside it (sources.md 2).
    if path.ends_with("/.local/bin/") && (has("llama") || has("llama.exe")) {
        return BuildKind::LlamaApp;
    }
    let last = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if official_tag(&last).is_some() {
        return BuildKind::Official;
    }
    if folder.ancestors().take(4).any(|folder| folder.join("package.json").exists()) {
        return BuildKind::Node;
    }
    if has("build.ninja") || has("CMakeCache.txt") || path.ends_with("/build/bin/") || beside_cmake(folder) {
        return BuildKind::SelfBuilt;
    }
    // Releases carry a CPU module for every processor and the RPC module; local builds rarely do.
    let cpu_variants = names.iter().filter(|name| name.contains("ggml-cpu-")).count();
    if cpu_variants > 4 && names.iter().any(|name| name.contains("ggml-rpc")) {
        return BuildKind::Official;
    }
    BuildKind::Unknown
}

/// `NAME-VERSION.dist-info`
fn has_wheel_notes(folder: &Path) -> bool {
    // A folder that cannot be read has no notes for us.
    let entries = fs_err::read_dir(folder).into_iter().flatten().flatten();
    entries
        .into_iter()
        .take(256)
        .any(|entry| entry.path().extension().is_some_and(|extension| extension == "dist-info"))
}

fn beside_cmake(folder: &Path) -> bool {
    folder.file_name().is_some_and(|name| name == "bin")
        && folder.parent().is_some_and(|parent| parent.join("CMakeCache.txt").exists())
}

/// `llama-b11434`, `b11434-cuda-12.8`, `llama-b11434-bin-win-cuda-12.4-x64`: the tag in a folder's name.
pub fn official_tag(folder_name: &str) -> Option<crate::units::BuildTag> {
    let rest = folder_name.strip_prefix("llama-").unwrap_or(folder_name);
    let word = rest.split('-').next()?;
    let digits = word.strip_prefix('b')?;
    (digits.len() >= 3 && digits.bytes().all(|c| c.is_ascii_digit())).then(|| word.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::BuildTag;

    fn kind_of(path: &str, names: &[&str]) -> BuildKind {
        kind(Path::new(path), &names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn places_tell_the_kind() {
        assert_eq!(kind_of("/v/lib/python3.12/site-packages/llama_cpp/lib", &["libllama.so"]), BuildKind::PythonWheel);
        assert_eq!(kind_of("/p/node_modules/@node-llama-cpp/linux-x64-cuda/bins", &[]), BuildKind::Node);
        assert_eq!(kind_of("/opt/llama-b11434", &["llama-server"]), BuildKind::Official);
        assert_eq!(kind_of(r"C:\Users\u\scoop\apps\llama.cpp\current", &[]), BuildKind::Scoop);
        assert_eq!(kind_of("/opt/x", &["llama-addon.node"]), BuildKind::Node);
        assert_eq!(kind_of("/opt/x", &["llama-server"]), BuildKind::Unknown);
        assert_eq!(kind_of("/home/u/.local/bin", &["llama"]), BuildKind::LlamaApp);
    }

    #[test]
    fn folder_names_tell_the_tag() {
        assert_eq!(official_tag("llama-b11434-bin-win-cuda-12.4-x64"), Some(BuildTag::Nightly(11434)));
        assert_eq!(official_tag("b11434-cuda-12.8"), Some(BuildTag::Nightly(11434)));
        assert_eq!(official_tag("build"), None);
    }
}
