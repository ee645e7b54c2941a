//! What is missing of an official archive that somebody unpacked: its files against the project's own list.

use std::path::Path;

use super::member::{Member, file_name};
use crate::binary::Format;
use crate::host::facts::OperatingSystem;
use crate::manifest::archives::official_archives;
use crate::units::BuildTag;

/// One sentence for the build's files, one for CUDA's. Empty: all is there, or no list is known for its age.
pub(super) fn missing(members: &[Member], home: &Path, tag: Option<BuildTag>) -> Vec<String> {
    let Some(first) = members.first() else { return Vec::new() };
    let system = match first.image.format {
        Format::Elf => OperatingSystem::Linux,
        Format::Pe => OperatingSystem::Windows,
    };
    let names: Vec<String> = members.iter().map(|member| file_name(&member.path)).collect();
    let mut problems = Vec::new();
    if let Some(BuildTag::Nightly(number)) = tag
        && let Some(list) = official_archives().of(system, first.image.machine.name(), number)
    {
        let lacking: Vec<&str> =
            list.files.iter().filter(|file| !names.iter().any(|name| is(name, file))).map(String::as_str).collect();
        // A folder that has next to nothing of the list is something else.
        if !lacking.is_empty() && lacking.len() * 2 < list.files.len() {
            problems.push(format!("files of the official archive are missing: {}", shortened(&lacking)));
        }
    }
    problems.extend(companions(home, system));
    problems
}

/// CUDA's libraries come together; one alone means that a copy was cut short.
fn companions(home: &Path, system: OperatingSystem) -> Option<String> {
    let list = official_archives().companions.iter().find(|row| row.system == system)?;
    // An archive's folder is none that could be read.
    let entries = fs_err::read_dir(home).ok()?;
    let names: Vec<String> = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    let has = |file: &str| names.iter().any(|name| name.to_ascii_lowercase().starts_with(&file.to_ascii_lowercase()));
    let (there, lacking): (Vec<&String>, Vec<&String>) = list.files.iter().partition(|file| has(file));
    if there.is_empty() || lacking.is_empty() {
        return None;
    }
    let names = |files: &[&String]| files.iter().map(|file| format!("{file}*")).collect::<Vec<_>>().join(", ");
    Some(format!("CUDA's libraries come together, and {} is missing beside {}", names(&lacking), names(&there)))
}

/// `libllama.so.0.6.0` is `libllama.so`; Windows does not tell cases apart.
fn is(name: &str, file: &str) -> bool {
    let rest = name.get(..file.len()).filter(|start| start.eq_ignore_ascii_case(file)).map(|_| &name[file.len()..]);
    rest.is_some_and(|rest| rest.is_empty() || (file.contains(".so") && rest.starts_with('.')))
}

fn shortened(names: &[&str]) -> String {
    const SHOWN: usize = 5;
    let more = names.len().saturating_sub(SHOWN);
    let list = names[..names.len().min(SHOWN)].join(", ");
    if more > 0 { format!("{list} and {more} more") } else { list }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_behind_a_name_do_not_matter() {
        assert!(is("libllama.so.0.6.0", "libllama.so"));
        assert!(is("libllama.so", "libllama.so"));
        assert!(!is("libllama-common.so", "libllama.so"));
        assert!(is("GGML.dll", "ggml.dll"));
        assert!(!is("llama-server.exe", "llama-server"));
    }

    #[test]
    fn long_lists_are_cut() {
        assert_eq!(shortened(&["a", "b"]), "a, b");
        assert_eq!(shortened(&["a", "b", "c", "d", "e", "f", "g"]), "a, b, c, d, e and 2 more");
    }

    #[test]
    fn one_of_cudas_libraries_alone_is_told() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["libcudart.so.13", "libcublas.so.13"] {
            fs_err::write(folder.path().join(name), b"").unwrap();
        }
        let told = companions(folder.path(), OperatingSystem::Linux).unwrap();
        assert!(told.contains("libcublasLt.so* is missing beside libcudart.so*, libcublas.so*"), "{told}");
        fs_err::write(folder.path().join("libcublasLt.so.13"), b"").unwrap();
        assert_eq!(companions(folder.path(), OperatingSystem::Linux), None);
    }
}
