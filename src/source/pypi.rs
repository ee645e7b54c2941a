//! CUDA's libraries from NVIDIA's wheels on a Python package index: plain zips, each with its sha256 in the index.

use serde::Deserialize;
use thiserror::Error;
use url::Url;

use crate::host::facts::OperatingSystem;
use crate::manifest::releases::{Wheels, releases};
use crate::net;
use crate::net::client::{Ask, Client};
use crate::net::redirect::Redirects;
use crate::source::github::Artifact;
use crate::units::{Bytes, CudaVersion, MIB};

pub const PUBLIC_URL: &str = "https://pypi.org/simple";

#[derive(Debug, Error)]
pub enum PypiError {
    #[error(transparent)]
    Net(#[from] net::Error),
    #[error("no wheels are known that hold the libraries of CUDA {0}")]
    UnknownCuda(CudaVersion),
    #[error("the index has no wheel `{package}` {version}* for this system")]
    NoWheel { package: String, version: String },
    #[error("the index's answer about `{package}` is not understood: {why}")]
    Malformed { package: String, why: String },
}

#[derive(Debug, Deserialize)]
struct Page {
    files: Vec<File>,
}

#[derive(Debug, Deserialize)]
struct File {
    filename: String,
    url: String,
    #[serde(default)]
    size: Option<u64>,
    #[serde(default)]
    hashes: Hashes,
    #[serde(default)]
    yanked: serde_json::Value,
}

#[derive(Debug, Default, Deserialize)]
struct Hashes {
    sha256: Option<String>,
}

/// The wheels with cudart, cublas and cublasLt of a toolkit.
pub fn wheels(
    client: &Client,
    index: &str,
    cuda: CudaVersion,
    system: OperatingSystem,
    arch: &str,
) -> Result<Vec<Artifact>, PypiError> {
    let row = releases().wheels.iter().find(|row| row.cuda == cuda).ok_or(PypiError::UnknownCuda(cuda))?;
    let Wheels { runtime, runtime_version, cublas, cublas_version, .. } = row;
    [(runtime, runtime_version), (cublas, cublas_version)]
        .into_iter()
        .map(|(package, version)| wheel(client, index, package, version, system, arch))
        .collect()
}

fn wheel(
    client: &Client,
    index: &str,
    package: &str,
    version: &str,
    system: OperatingSystem,
    arch: &str,
) -> Result<Artifact, PypiError> {
    let malformed = |why: String| PypiError::Malformed { package: package.to_owned(), why };
    let url = format!("{}/{package}/", index.trim_end_matches('/'));
    let url = Url::parse(&url).map_err(|error| malformed(format!("`{url}`: {error}")))?;
    // The digests in the answer are what is trusted of it.
    let ask =
        Ask::get(url.clone(), Redirects::Any).header(reqwest::header::ACCEPT, "application/vnd.pypi.simple.v1+json");
    let page: Page =
        serde_json::from_str(&client.text(&ask, Bytes(16 * MIB))?).map_err(|error| malformed(error.to_string()))?;
    let stem = package.replace('-', "_");
    let newest = page
        .files
        .iter()
        .filter(|file| matches!(file.yanked, serde_json::Value::Null | serde_json::Value::Bool(false)))
        .filter_map(|file| Some((version_of(&file.filename, &stem, version, system, arch)?, file)))
        .max_by(|one, other| one.0.cmp(&other.0));
    let (_, file) =
        newest.ok_or_else(|| PypiError::NoWheel { package: package.to_owned(), version: version.to_owned() })?;
    Ok(Artifact {
        name: file.filename.clone(),
        // An index may name its files relative to itself.
        url: url.join(&file.url).map_err(|error| malformed(error.to_string()))?.into(),
        size: file.size,
        sha256: file.hashes.sha256.as_deref().and_then(|digest| digest.parse().ok()),
    })
}

/// The numbers of a wheel's version, if it is of this package, this line of versions and this system.
fn version_of(file: &str, stem: &str, line: &str, system: OperatingSystem, arch: &str) -> Option<Vec<u64>> {
    let mut parts = file.strip_suffix(".whl")?.split('-');
    let (name, version, platform) = (parts.next()?, parts.next()?, parts.next_back()?);
    let fits = match (system, arch) {
        (OperatingSystem::Linux, "x64") => platform.contains("manylinux") && platform.contains("x86_64"),
        (OperatingSystem::Linux, "arm64") => platform.contains("manylinux") && platform.contains("aarch64"),
        (OperatingSystem::Windows, "x64") => platform == "win_amd64",
        (OperatingSystem::Windows, "arm64") => platform == "win_arm64",
        _ => false,
    };
    let is_of_line = name.eq_ignore_ascii_case(stem) && format!("{version}.").starts_with(&format!("{line}."));
    (fits && is_of_line).then(|| version.split('.').map(|number| number.parse().unwrap_or(0)).collect())
}

/// What a wheel is taken apart for: the three libraries, beside each other.
pub fn place(name: &str) -> Option<String> {
    let base = name.rsplit('/').next()?;
    let stems = ["libcudart.so.", "libcublas.so.", "libcublasLt.so.", "cudart64_", "cublas64_", "cublasLt64_"];
    stems.iter().any(|stem| base.starts_with(stem)).then(|| base.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wheels_are_known_by_their_names() {
        let linux = |file: &str| version_of(file, "nvidia_cublas_cu12", "12.8", OperatingSystem::Linux, "x64");
        let found = linux("nvidia_cublas_cu12-12.8.4.1-py3-none-manylinux_2_27_x86_64.whl");
        assert_eq!(found, Some(vec![12, 8, 4, 1]));
        assert_eq!(linux("nvidia_cublas_cu12-12.80.4.1-py3-none-manylinux_2_27_x86_64.whl"), None);
        assert_eq!(linux("nvidia_cublas_cu12-12.8.4.1-py3-none-manylinux_2_27_aarch64.whl"), None);
        assert_eq!(linux("nvidia_cublas_cu12-12.8.4.1-py3-none-win_amd64.whl"), None);
        assert_eq!(linux("nvidia_cublas_cu12-12.8.4.1.tar.gz"), None);
        assert_eq!(place("nvidia/cu13/bin/x86_64/cudart64_13.dll").as_deref(), Some("cudart64_13.dll"));
        assert_eq!(place("nvidia/cublas/lib/libnvblas.so.12"), None);
    }
}
