//! The driver's libraries for programs: which ones the loader gives, and their version.

use std::path::{Path, PathBuf};

use crate::host::Host;
use crate::host::facts::{Fact, Origin, UserDriver};
use crate::units::DriverVersion;

/// Where the loader looks when neither a variable nor its cache names a folder; and where drivers are besides.
const FOLDERS: &[&str] = &[
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib/aarch64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/lib64",
    "/usr/lib64",
    "/lib",
    "/usr/lib",
];
const FURTHER_FOLDERS: &[&str] = &[
    "/usr/lib/wsl/lib",
    "/run/opengl-driver/lib",
    "/usr/local/nvidia/lib64",
    "/usr/local/cuda/compat",
    "/usr/lib/x86_64-linux-gnu/nvidia/current",
];

pub(in crate::host) fn user_driver(host: &Host) -> UserDriver {
    let libcuda = find(host, "libcuda.so.1");
    let nvml = find(host, "libnvidia-ml.so.1");
    let real = |path: &Path| {
        fs_err::canonicalize(host.path(path)).map_or_else(|_| path.to_owned(), |real| unrooted(host, &real))
    };
    let resolved = libcuda.as_deref().map(real);
    let mut other_libcuda: Vec<PathBuf> = FOLDERS
        .iter()
        .chain(FURTHER_FOLDERS)
        .map(|folder| Path::new(folder).join("libcuda.so.1"))
        .filter(|path| host.path(path).exists())
        .map(|path| real(&path))
        .filter(|path| Some(path) != resolved.as_ref())
        .collect();
    other_libcuda.sort();
    other_libcuda.dedup();
    let not_found = |name: &str| Fact::unknown(format!("`{name}` is in none of the loader's folders"));
    let version = nvml
        .as_deref()
        .map(real)
        .as_deref()
        .and_then(version_in_name)
        .or_else(|| resolved.as_deref().and_then(version_in_name));
    UserDriver {
        libcuda: resolved.map_or_else(|| not_found("libcuda.so.1"), |path| Fact::known(path, Origin::LoaderCache)),
        library_version: version.map_or_else(
            || Fact::unknown("no file name of the driver's libraries tells it"),
            |version| Fact::known(version, Origin::File),
        ),
        jit_compiler: find(host, "libnvidia-ptxjitcompiler.so.1").map_or_else(
            || not_found("libnvidia-ptxjitcompiler.so.1"),
            |path| Fact::known(real(&path), Origin::LoaderCache),
        ),
        other_libcuda,
    }
}

fn unrooted(host: &Host, path: &Path) -> PathBuf {
    match host {
        Host::Live => path.to_owned(),
        Host::Recorded { root, .. } => {
            path.strip_prefix(root).map_or_else(|_| path.to_owned(), |rest| Path::new("/").join(rest))
        }
    }
}

/// The file that the loader would give a program without a run path of its own.
pub(super) fn find(host: &Host, name: &str) -> Option<PathBuf> {
    let in_variable = host.text_variable("LD_LIBRARY_PATH").unwrap_or_default();
    let from_variable = in_variable
        .split([':', ';'])
        .filter(|folder| folder.starts_with('/'))
        .map(|folder| Path::new(folder).join(name));
    let cache = fs_err::read(host.path("/etc/ld.so.cache")).unwrap_or_default();
    let entries = crate::loader::ld_cache::read(&cache).unwrap_or_default();
    let from_cache = entries.into_iter().filter(|entry| entry.name == name).map(|entry| PathBuf::from(entry.path));
    let from_folders = FOLDERS.iter().map(|folder| Path::new(folder).join(name));
    from_variable.chain(from_cache).chain(from_folders).find(|path| host.path(path).exists())
}

/// `libcuda.so.580.95.05` carries the driver's version.
fn version_in_name(path: &Path) -> Option<DriverVersion> {
    path.file_name()?.to_str()?.split_once(".so.")?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_in_the_file_name() {
        let version = version_in_name(Path::new("/usr/lib/libnvidia-ml.so.580.95.05")).unwrap();
        assert_eq!(version.to_string(), "580.95.05");
        assert_eq!(version_in_name(Path::new("/usr/lib/libcuda.so.1")), None);
    }

    #[test]
    fn the_variable_comes_before_the_usual_folders() {
        let folder = tempfile::tempdir().unwrap();
        for path in ["usr/lib/libcuda.so.1", "opt/stubs/libcuda.so.1"] {
            let path = folder.path().join(path);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, "").unwrap();
        }
        let host = Host::Recorded {
            root: fs_err::canonicalize(folder.path()).unwrap(),
            environment: [("LD_LIBRARY_PATH".into(), "/opt/stubs".into())].into(),
            outputs: std::collections::BTreeMap::new(),
        };
        let driver = user_driver(&host);
        assert_eq!(driver.libcuda.value().unwrap(), Path::new("/opt/stubs/libcuda.so.1"));
        assert_eq!(driver.other_libcuda, [PathBuf::from("/usr/lib/libcuda.so.1")]);
    }
}
