//! What a MODEL on the command line can be, told apart by its spelling and by what lies on the disk.

use std::path::{Path, PathBuf};

use thiserror::Error;
use url::Url;

use crate::source::repository::{NameError, RepositoryId, RepositoryPath};

/// Which hub a repository lies on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hub {
    HuggingFace,
    ModelScope,
}

/// Which file of a repository is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// `:QUANT`, or llama.cpp's defaults without one.
    Quantization(Option<String>),
    File(RepositoryPath),
}

/// A MODEL, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelName {
    File(PathBuf),
    Hub { hub: Hub, repository: RepositoryId, revision: Option<String>, selection: Selection },
    Url(Url),
    Catalogue { name: String, quantization: Option<String> },
}

#[derive(Debug, Error)]
pub enum ModelNameError {
    #[error("`{path}` is not on this machine")]
    NoSuchFile { path: PathBuf },
    #[error("`{path}` is a folder, not a model")]
    Folder { path: PathBuf },
    #[error("`{0}` names no model")]
    Unknown(String),
    #[error("`{repository}` is not in the model cache, and the network is off")]
    NotCached { repository: RepositoryId },
    #[error("`{url}` is fetched without encryption, and nothing else vouches for its bytes")]
    PlainHttp { url: Url },
    #[error("`{url}` is not the address of a `.gguf` file")]
    NotGgufUrl { url: Url },
    #[error(transparent)]
    Name(#[from] NameError),
}

impl ModelName {
    /// Parses what was typed. `endpoint` is the hub's address: pages and files of it, pasted from a browser, count as names.
    pub fn parse(text: &str, endpoint: &Url) -> Result<Self, ModelNameError> {
        if let Some(rest) = text.strip_prefix("ms:") {
            return hub_name(Hub::ModelScope, rest);
        }
        if text.starts_with("https://") || text.starts_with("http://") {
            return url_name(text, endpoint);
        }
        let path = Path::new(text);
        if path.is_dir() && (looks_like_path(text) || !text.contains('/')) {
            return Err(ModelNameError::Folder { path: path.to_owned() });
        }
        if path.is_file() {
            return Ok(Self::File(path.to_owned()));
        }
        let in_repository = is_gguf(text) && text.matches('/').count() >= 2 && !looks_like_path(text);
        if looks_like_path(text) || (is_gguf(text) && !in_repository) {
            return Err(ModelNameError::NoSuchFile { path: path.to_owned() });
        }
        if text.contains('/') {
            return hub_name(Hub::HuggingFace, text);
        }
        let (name, quantization) = split_tag(text);
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)) {
            return Err(ModelNameError::Unknown(text.to_owned()));
        }
        Ok(Self::Catalogue { name: name.to_owned(), quantization })
    }
}

fn is_gguf(text: &str) -> bool {
    Path::new(text).extension().is_some_and(|extension| extension == "gguf")
}

/// Spelled as a path, whether or not anything lies there.
fn looks_like_path(text: &str) -> bool {
    text.starts_with(['/', '.', '~']) || text.contains('\\') || text.get(1..3) == Some(":/")
}

/// `NAME[:TAG]`
fn split_tag(text: &str) -> (&str, Option<String>) {
    match text.split_once(':') {
        Some((name, tag)) if !tag.is_empty() => (name, Some(tag.to_owned())),
        Some((name, _)) => (name, None),
        None => (text, None),
    }
}

/// `org/repo[:QUANT]` or `org/repo/folder/file.gguf`
fn hub_name(hub: Hub, text: &str) -> Result<ModelName, ModelNameError> {
    let mut slashes = text.match_indices('/').map(|(at, _)| at);
    let (first, second) = (slashes.next(), slashes.next());
    if let (Some(_), Some(second)) = (first, second) {
        let repository = text[..second].parse()?;
        let file = text[second + 1..].parse()?;
        return Ok(ModelName::Hub { hub, repository, revision: None, selection: Selection::File(file) });
    }
    let (repository, quantization) = split_tag(text);
    let repository = repository.parse()?;
    Ok(ModelName::Hub { hub, repository, revision: None, selection: Selection::Quantization(quantization) })
}

/// A file's address; or a page of the hub's own site, which becomes a name, so that its sha256 is known.
fn url_name(text: &str, endpoint: &Url) -> Result<ModelName, ModelNameError> {
    let url = Url::parse(text).map_err(|_| ModelNameError::Unknown(text.to_owned()))?;
    if url.origin() == endpoint.origin()
        && let Some(name) = url.path().strip_prefix(endpoint.path()).and_then(hub_page)
    {
        return Ok(name);
    }
    let is_local = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    if url.scheme() == "http" && !is_local {
        return Err(ModelNameError::PlainHttp { url });
    }
    if !is_gguf(url.path()) {
        return Err(ModelNameError::NotGgufUrl { url });
    }
    Ok(ModelName::Url(url))
}

/// `org/repo`, `org/repo/resolve/REVISION/FILE` and `org/repo/blob/REVISION/FILE`
fn hub_page(path: &str) -> Option<ModelName> {
    let path = path.trim_matches('/');
    let parts: Vec<&str> = path.splitn(5, '/').collect();
    let hub = Hub::HuggingFace;
    match parts[..] {
        [organisation, name] => Some(ModelName::Hub {
            hub,
            repository: format!("{organisation}/{name}").parse().ok()?,
            revision: None,
            selection: Selection::Quantization(None),
        }),
        [organisation, name, "resolve" | "blob", revision, file] if is_gguf(file) => Some(ModelName::Hub {
            hub,
            repository: format!("{organisation}/{name}").parse().ok()?,
            revision: (revision != "main").then(|| revision.to_owned()),
            selection: Selection::File(file.parse().ok()?),
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ModelName, ModelNameError> {
        ModelName::parse(text, &Url::parse("https://hub.example/").unwrap())
    }

    fn quantization(repository: &str, tag: Option<&str>) -> ModelName {
        ModelName::Hub {
            hub: Hub::HuggingFace,
            repository: repository.parse().unwrap(),
            revision: None,
            selection: Selection::Quantization(tag.map(str::to_owned)),
        }
    }

    #[test]
    fn every_kind_of_name() {
        assert_eq!(parse("org/repo").unwrap(), quantization("org/repo", None));
        assert_eq!(parse("org/repo:Q8_0").unwrap(), quantization("org/repo", Some("Q8_0")));
        assert_eq!(
            parse("qwen2.5-3b-instruct:Q8_0").unwrap(),
            ModelName::Catalogue { name: "qwen2.5-3b-instruct".into(), quantization: Some("Q8_0".into()) }
        );
        let ModelName::Hub { selection, .. } = parse("org/repo/sub/file.gguf").unwrap() else { panic!() };
        assert_eq!(selection, Selection::File("sub/file.gguf".parse().unwrap()));
        assert!(matches!(parse("ms:org/repo").unwrap(), ModelName::Hub { hub: Hub::ModelScope, .. }));
        assert!(matches!(parse("https://cdn.example/a/m.gguf?x=1").unwrap(), ModelName::Url(_)));
        assert!(matches!(parse("http://127.0.0.1:8080/m.gguf").unwrap(), ModelName::Url(_)));
    }

    #[test]
    fn pages_of_the_hub_are_names() {
        assert_eq!(parse("https://hub.example/org/repo").unwrap(), quantization("org/repo", None));
        let ModelName::Hub { revision, selection, .. } = parse("https://hub.example/o/r/blob/v2/a/m.gguf").unwrap()
        else {
            panic!()
        };
        assert_eq!((revision.as_deref(), selection), (Some("v2"), Selection::File("a/m.gguf".parse().unwrap())));
    }

    #[test]
    fn local_files_come_first_and_folders_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("m.gguf");
        fs_err::write(&file, "GGUF").unwrap();
        assert_eq!(parse(file.to_str().unwrap()).unwrap(), ModelName::File(file));
        assert!(matches!(parse(folder.path().to_str().unwrap()), Err(ModelNameError::Folder { .. })));
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert!(matches!(parse("./none.gguf"), Err(ModelNameError::NoSuchFile { .. })));
        assert!(matches!(parse("none.gguf"), Err(ModelNameError::NoSuchFile { .. })));
        assert!(matches!(parse("folder/none.gguf"), Err(ModelNameError::NoSuchFile { .. })));
        assert!(matches!(parse("C:\\none.gguf"), Err(ModelNameError::NoSuchFile { .. })));
        assert!(matches!(parse("a b"), Err(ModelNameError::Unknown(_))));
        assert!(matches!(parse(""), Err(ModelNameError::Unknown(_))));
        assert!(matches!(parse("org/repo/../x.gguf"), Err(ModelNameError::Name(_))));
        assert!(matches!(parse("http://cdn.example/m.gguf"), Err(ModelNameError::PlainHttp { .. })));
        assert!(matches!(parse("https://cdn.example/m.zip"), Err(ModelNameError::NotGgufUrl { .. })));
    }
}
