//! Which antivirus watches, and what Defender remembers to have removed. Nothing is started and nothing is changed.

use std::io;
use std::path::{Path, PathBuf};

use super::registry;
use crate::host::facts::{Fact, Origin};
use crate::host::windows_facts::{self, Antivirus};
use crate::host::{Host, environment};

/// Where every antivirus registers itself.
const SECURITY_CENTER: &str = r"SOFTWARE\Microsoft\Security Center\Provider\Av";
const DEFENDER_REAL_TIME: &str = r"SOFTWARE\Microsoft\Windows Defender\Real-Time Protection";
/// Records beyond these are old.
const MOST_RECORDS: usize = 500;
const LARGEST_RECORD_BYTES: u64 = 1 << 20;

/// The programs that Security Center lists. Servers have none: there Defender is told by its own program.
pub(super) fn programs(host: &Host) -> Fact<Vec<Antivirus>> {
    let listed = registry::subkeys(SECURITY_CENTER).unwrap_or_default();
    let mut found: Vec<Antivirus> = listed
        .iter()
        .filter_map(|key| {
            let key = format!(r"{SECURITY_CENTER}\{key}");
            let name = registry::text(&key, "DISPLAYNAME").ok()?;
            Some(Antivirus::from_registry(&name, registry::number(&key, "STATE").ok()?))
        })
        .collect();
    if found.is_empty() && defender(host).is_some() {
        let off = registry::number(DEFENDER_REAL_TIME, "DisableRealtimeMonitoring").is_ok_and(|value| value == 1);
        found.push(Antivirus { name: "Microsoft Defender Antivirus".to_owned(), enabled: !off });
    }
    Fact::known(found, Origin::Registry)
}

/// Defender's own program, which every Windows with Defender has.
fn defender(host: &Host) -> Option<PathBuf> {
    let programs = PathBuf::from(host.variable(environment::PROGRAM_FILES.name)?);
    let program = programs.join("Windows Defender").join("MpCmdRun.exe");
    program.exists().then_some(program)
}

/// The files of llama.cpp in Defender's detection history, which administrators alone may read.
pub(super) fn quarantined(host: &Host) -> Fact<Vec<String>> {
    let Some(data) = host.variable(environment::PROGRAMDATA.name) else {
        return Fact::unknown("`PROGRAMDATA` is not set");
    };
    let folder = PathBuf::from(data).join(r"Microsoft\Windows Defender\Scans\History\Service\DetectionHistory");
    match in_history(&folder) {
        Ok(names) => Fact::known(names, Origin::File),
        Err(error) if error.kind() == io::ErrorKind::NotFound && defender(host).is_none() => {
            Fact::unknown("Defender is not on this machine")
        }
        // Without rights even the folder's existence is not told.
        Err(_) => Fact::unknown("only an administrator may read Defender's history"),
    }
}

fn in_history(folder: &Path) -> io::Result<Vec<String>> {
    let mut records = Vec::new();
    for entry in fs_err::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            records.extend(fs_err::read_dir(path)?.flatten().map(|entry| entry.path()));
        } else {
            records.push(path);
        }
    }
    let mut names = Vec::new();
    for record in records.iter().take(MOST_RECORDS) {
        if fs_err::metadata(record)?.len() <= LARGEST_RECORD_BYTES {
            names.extend(windows_facts::quarantined_in(&fs_err::read(record)?));
        }
    }
    names.sort();
    names.dedup();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_answers_or_says_why_not() {
        assert!(programs(&Host::Live).value().is_some());
        let quarantined = quarantined(&Host::Live);
        assert!(quarantined.value().is_some() || quarantined.why_unknown().is_some_and(|why| why.contains("Defender")));
    }

    #[test]
    fn a_history_is_read_through_its_folders() {
        let folder = tempfile::tempdir().unwrap();
        let record: Vec<u8> = r"C:\x\ggml-cuda.dll".encode_utf16().flat_map(u16::to_le_bytes).collect();
        fs_err::create_dir_all(folder.path().join("02")).unwrap();
        fs_err::write(folder.path().join("02").join("A1B2"), record).unwrap();
        assert_eq!(in_history(folder.path()).unwrap(), ["ggml-cuda.dll"]);
        assert!(in_history(&folder.path().join("none")).is_err());
    }
}
