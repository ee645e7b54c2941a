//! The archives of a build, brought to the cache or taken from the disk.

use std::path::{Path, PathBuf};

use url::Url;

use super::InstallError;
use super::receipt::Ingredient;
use crate::host::replace;
use crate::manifest::releases::{AssetName, Role};
use crate::net::client::{Client, Secret};
use crate::net::digest::Sha256Digest;
use crate::net::download::{Progress, Request, download};
use crate::net::redirect::Redirects;
use crate::source::container::Layer;
use crate::source::github::Artifact;

/// An archive on the disk, ready to be unpacked.
#[derive(Debug, Clone)]
pub struct Archive {
    pub path: PathBuf,
    pub role: Role,
    pub ingredient: Ingredient,
}

/// Downloads a file of a release into `cache`, or finds it there. Named by digest: CUDA's libraries are the same file in
/// many releases.
pub fn fetch(
    client: &Client,
    redirects: Redirects,
    artifact: &Artifact,
    role: Role,
    cache: &Path,
    allow_missing_digest: bool,
    progress: &dyn Progress,
) -> Result<Archive, InstallError> {
    if artifact.sha256.is_none() && !allow_missing_digest {
        return Err(InstallError::NoDigest { name: artifact.name.clone() });
    }
    let url = Url::parse(&artifact.url).map_err(|_| crate::net::Error::Content {
        name: artifact.name.clone(),
        why: format!("`{}` is not a URL", artifact.url),
    })?;
    let request = Request {
        size: artifact.size,
        sha256: artifact.sha256,
        ..Request::new(url, kept_as(artifact, cache), redirects)
    };
    let done = download(client, &request, progress)?;
    Ok(Archive {
        path: done.path,
        role,
        ingredient: Ingredient {
            name: artifact.name.clone(),
            url: Some(artifact.url.clone()),
            size: done.size.0,
            sha256: done.sha256,
            checked: artifact.sha256.is_some(),
            attested: None,
        },
    })
}

fn kept_as(artifact: &Artifact, cache: &Path) -> PathBuf {
    let folder = artifact.sha256.map_or_else(|| "unchecked".to_owned(), |digest| digest.to_string()[..16].to_owned());
    cache.join(folder).join(&artifact.name)
}

/// Takes a file out of the cache, if it is there.
pub fn forget(artifact: &Artifact, cache: &Path) -> Result<(), InstallError> {
    match replace::remove_file(&kept_as(artifact, cache)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// Downloads a layer of an image into `cache`, or finds it there.
pub fn fetch_layer(
    client: &Client,
    redirects: Redirects,
    layer: &Layer,
    secret: Option<Secret>,
    cache: &Path,
    progress: &dyn Progress,
) -> Result<Archive, InstallError> {
    let digest = layer.sha256.to_string();
    let name = format!("layer-{}.tar.gz", &digest[..16]);
    let request = Request {
        size: Some(layer.size).filter(|size| *size > 0),
        sha256: Some(layer.sha256),
        authorization: secret,
        ..Request::new(layer.url.clone(), cache.join(&digest[..16]).join(&name), redirects)
    };
    let done = download(client, &request, progress)?;
    let url = Some(crate::net::shown(&layer.url));
    let ingredient = Ingredient { name, url, size: done.size.0, sha256: done.sha256, checked: true, attested: None };
    Ok(Archive { path: done.path, role: Role::Layer, ingredient })
}

/// Archives that the user has, with what their names say.
pub fn from_disk(paths: &[PathBuf]) -> Result<(AssetName, Vec<Archive>), InstallError> {
    let (mut build, mut archives) = (None::<AssetName>, Vec::new());
    let mut runtimes = Vec::new();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let size = match fs_err::metadata(path) {
            Ok(metadata) if metadata.is_file() => metadata.len(),
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => return Err(InstallError::NoArchive { path: path.clone() }),
        };
        let asset = AssetName::parse(&name).ok_or_else(|| InstallError::NotOfficial { path: path.clone() })?;
        let ingredient =
            Ingredient { name, url: None, size, sha256: Sha256Digest::of_file(path)?, checked: false, attested: None };
        archives.push(Archive { path: path.clone(), role: asset.role, ingredient });
        match (asset.role, &build) {
            (Role::Runtime | Role::Layer, _) => runtimes.push(asset),
            (Role::Build, None) => build = Some(asset),
            (Role::Build, Some(first)) => {
                let why = "each is a build of its own".to_owned();
                return Err(InstallError::Mismatch { one: first.name.clone(), other: asset.name, why });
            }
        }
    }
    let first = || paths.first().cloned().unwrap_or_default();
    let build = build.ok_or_else(|| InstallError::NotOfficial { path: first() })?;
    for runtime in runtimes {
        let why = if runtime.cuda != build.cuda {
            "they are of different CUDA versions"
        } else if runtime.system != build.system || runtime.arch != build.arch {
            "they are for different systems"
        } else {
            continue;
        };
        return Err(InstallError::Mismatch { one: build.name, other: runtime.name, why: why.to_owned() });
    }
    Ok((build, archives))
}
