//! Containers, from inside and from the host's side; and WSL.

use std::path::{Path, PathBuf};

use crate::host::Host;
use crate::host::facts::{Container, ContainerTools, Fact, Origin, Wsl};
use crate::units::{Bytes, KIB};

pub(in crate::host) fn container(host: &Host) -> Container {
    let kind = kind(host);
    Container { tools: kind.is_none().then(|| tools(host)), memlock_limit: memlock_limit(host), kind }
}

fn kind(host: &Host) -> Option<String> {
    let exists = |path: &str| host.path(path).exists();
    let groups = host.read_to_string("/proc/1/cgroup").unwrap_or_default();
    let word = if host.variable("KUBERNETES_SERVICE_HOST").is_some() || groups.contains("kubepods") {
        "kubernetes"
    } else if exists("/.dockerenv") || groups.contains("docker") {
        "docker"
    } else if exists("/run/.containerenv") {
        "podman"
    } else if host.variable("APPTAINER_CONTAINER").is_some() || host.variable("SINGULARITY_CONTAINER").is_some() {
        "apptainer"
    } else if exists("/.flatpak-info") {
        "flatpak"
    } else if groups.contains("lxc") || exists("/dev/.lxc") {
        "lxc"
    } else {
        return host.text_variable("container");
    };
    Some(word.to_owned())
}

fn tools(host: &Host) -> ContainerTools {
    let on_path = |name: &str| {
        let folders = host.text_variable("PATH").unwrap_or_default();
        folders
            .split(':')
            .filter(|folder| folder.starts_with('/'))
            .any(|folder| host.path(Path::new(folder).join(name)).exists())
    };
    let specifications: Vec<PathBuf> = ["/etc/cdi", "/var/run/cdi", "/run/cdi"]
        .iter()
        .flat_map(|folder| fs_err::read_dir(host.path(folder)).into_iter().flatten().flatten())
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml" || extension == "json"))
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().contains("nvidia")))
        .collect();
    ContainerTools {
        docker: on_path("docker"),
        podman: on_path("podman"),
        toolkit: on_path("nvidia-ctk") || on_path("nvidia-container-runtime"),
        docker_runtime: host.read_to_string("/etc/docker/daemon.json").map_or_else(
            |error| Fact::unknown(error.to_string()),
            |text| Fact::known(text.contains("nvidia-container-runtime"), Origin::File),
        ),
        cdi_missing_files: specifications.iter().flat_map(|path| missing_files(host, path)).collect(),
        cdi_specifications: specifications,
    }
}

/// The host's files that a CDI specification mounts (`hostPath: …`) and that are gone: one driver ago they were there.
fn missing_files(host: &Host, specification: &Path) -> Vec<PathBuf> {
    let text = fs_err::read_to_string(specification).unwrap_or_default();
    text.lines()
        .filter_map(|line| line.split_once("hostPath:"))
        .map(|(_, path)| PathBuf::from(path.trim().trim_matches(['"', '\'', ','])))
        .filter(|path| path.is_absolute() && path.to_string_lossy().contains(".so"))
        .filter(|path| !host.path(path).exists())
        .take(5)
        .collect()
}

fn memlock_limit(host: &Host) -> Fact<Bytes> {
    let text = match host.read_to_string("/proc/self/limits") {
        Ok(text) => text,
        Err(error) => return Fact::unknown(error.to_string()),
    };
    let soft = text.lines().find_map(|line| line.strip_prefix("Max locked memory")?.split_whitespace().next());
    match soft.map(str::parse::<u64>) {
        Some(Ok(bytes)) => Fact::known(Bytes(bytes), Origin::Procfs),
        _ => Fact::unknown("no limit"),
    }
}

/// None outside WSL.
pub(in crate::host) fn wsl(host: &Host, libraries: &[PathBuf]) -> Option<Wsl> {
    let release = host.read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    if !release.to_ascii_lowercase().contains("microsoft") {
        return None;
    }
    // WSL1 has no kernel of its own and writes the name with a capital: `4.4.0-19041-Microsoft`.
    let version = if release.contains("Microsoft") { 1 } else { 2 };
    let of_windows = |path: &Path| path.starts_with("/usr/lib/wsl");
    Some(Wsl {
        version,
        dxg: host.path("/dev/dxg").exists(),
        driver_libraries: host.path("/usr/lib/wsl/lib/libcuda.so.1").exists(),
        linux_driver: libraries
            .iter()
            .filter(|path| !of_windows(path) && is_whole_driver(host, path))
            .cloned()
            .collect(),
    })
}

/// A stub of a toolkit is a few hundred kilobytes and its own matter; a link is no second copy.
fn is_whole_driver(host: &Host, path: &Path) -> bool {
    fs_err::metadata(host.path(path)).is_ok_and(|data| data.len() > 4096 * KIB)
        && !path.to_string_lossy().contains("stubs")
}
