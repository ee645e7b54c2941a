//! The project's container images, pulled without Docker: anonymous, every part checked against its digest.

use std::collections::BTreeMap;

use reqwest::header;
use serde::Deserialize;
use thiserror::Error;
use url::Url;

use crate::net::client::{Answer, Ask, Client, Secret};
use crate::net::digest::Sha256Digest;
use crate::net::redirect::Redirects;
use crate::net::{self};
use crate::units::{Bytes, MIB};

pub const PUBLIC_URL: &str = "https://ghcr.io";

#[derive(Debug, Error)]
pub enum ContainerError {
    #[error(transparent)]
    Net(#[from] net::Error),
    #[error("there is no image `{image}` for {arch}")]
    NoImage { image: String, arch: String },
    #[error("the registry's answer about `{image}` is not understood: {why}")]
    Malformed { image: String, why: String },
    #[error("the image `{image}` cannot be unpacked here: {why}")]
    Unsupported { image: String, why: String },
    #[error("the registry's {what} does not have the sha256 that it was asked by")]
    Digest { what: String },
}

/// OCI's and Docker's names of the same two documents.
const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, \
                      application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json";
const LONGEST: Bytes = Bytes(4 * MIB);

/// One layer worth unpacking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    pub url: Url,
    pub sha256: Sha256Digest,
    pub size: u64,
}

#[derive(Debug, Clone)]
pub struct Image {
    /// `server-cuda12-b11434`
    pub tag: String,
    /// The build inside, where the image says so.
    pub version: Option<String>,
    /// In the order in which they cover each other.
    pub layers: Vec<Layer>,
    /// For the layers.
    pub secret: Option<Secret>,
}

#[derive(Debug)]
pub struct Registry {
    client: Client,
    base: String,
    repository: String,
    hosts: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Document {
    #[serde(default)]
    manifests: Vec<Entry>,
    config: Option<Entry>,
    #[serde(default)]
    layers: Vec<Entry>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    digest: String,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    media_type: String,
    platform: Option<Platform>,
}

#[derive(Debug, Clone, Deserialize)]
struct Platform {
    os: String,
    architecture: String,
}

#[derive(Debug, Deserialize)]
struct Config {
    #[serde(default)]
    history: Vec<History>,
}

#[derive(Debug, Deserialize)]
struct History {
    #[serde(default)]
    created_by: String,
    #[serde(default)]
    empty_layer: bool,
}

impl Registry {
    /// `repository` is `owner/name`. `hosts` are those that blobs may be redirected to.
    pub fn new(client: &Client, base: &str, repository: &str, hosts: Vec<String>) -> Self {
        Self {
            client: client.clone(),
            base: base.trim_end_matches('/').to_owned(),
            repository: repository.to_owned(),
            hosts,
        }
    }

    pub fn redirects(&self) -> Redirects {
        Redirects::Hosts(self.hosts.clone())
    }

    /// The image of the first tag that exists, for `arch` (`x64`, `arm64`), with the layers that hold llama.cpp and CUDA's
    /// libraries.
    pub fn image(&self, tags: &[String], arch: &str) -> Result<Image, ContainerError> {
        let none = || ContainerError::NoImage { image: tags.join("`, `"), arch: arch.to_owned() };
        for tag in tags {
            let (text, secret) = match self.document("manifests", tag, None) {
                Err(ContainerError::Net(net::Error::Status { status: 404, .. })) => continue,
                other => other?,
            };
            return self.inside(tag, &text, secret, arch)?.ok_or_else(none);
        }
        Err(none())
    }

    fn inside(
        &self,
        tag: &str,
        text: &str,
        mut secret: Option<Secret>,
        arch: &str,
    ) -> Result<Option<Image>, ContainerError> {
        let parse = |text: &str| {
            serde_json::from_str::<Document>(text)
                .map_err(|error| ContainerError::Malformed { image: tag.to_owned(), why: error.to_string() })
        };
        let wanted = if arch == "x64" { "amd64" } else { arch };
        let mut document = parse(text)?;
        let mut annotations = document.annotations.clone();
        if !document.manifests.is_empty() {
            let fits = |entry: &&Entry| {
                entry
                    .platform
                    .as_ref()
                    .is_some_and(|platform| platform.os == "linux" && platform.architecture == wanted)
            };
            let Some(entry) = document.manifests.iter().find(fits).cloned() else { return Ok(None) };
            let (text, again) = self.document("manifests", &entry.digest, secret)?;
            secret = again;
            document = parse(&text)?;
            annotations.extend(document.annotations.clone());
        }
        let history = match &document.config {
            Some(config) => {
                let (text, again) = self.document("blobs", &config.digest, secret)?;
                secret = again;
                serde_json::from_str::<Config>(&text).map(|config| config.history).unwrap_or_default()
            }
            None => Vec::new(),
        };
        let layers = worth_having(&document.layers, &history)
            .into_iter()
            .map(|entry| self.layer(tag, entry))
            .collect::<Result<_, _>>()?;
        let version = annotations.get("org.opencontainers.image.version").cloned();
        Ok(Some(Image { tag: tag.to_owned(), version, layers, secret }))
    }

    fn layer(&self, tag: &str, entry: &Entry) -> Result<Layer, ContainerError> {
        let malformed = |why: String| ContainerError::Malformed { image: tag.to_owned(), why };
        let unsupported = |why: String| ContainerError::Unsupported { image: tag.to_owned(), why };
        if entry.media_type.contains("foreign") || entry.media_type.contains("nondistributable") {
            return Err(unsupported(format!("a layer is `{}`, which the registry does not hold", entry.media_type)));
        }
        if !entry.media_type.is_empty() && !entry.media_type.contains("gzip") {
            return Err(unsupported(format!("a layer is `{}`, and only gzip is known", entry.media_type)));
        }
        let sha256 = entry.digest.parse().map_err(|error| malformed(format!("{error}")))?;
        Ok(Layer { url: self.url("blobs", &entry.digest)?, sha256, size: entry.size })
    }

    fn url(&self, kind: &str, reference: &str) -> Result<Url, ContainerError> {
        let text = format!("{}/v2/{}/{kind}/{reference}", self.base, self.repository);
        Url::parse(&text).map_err(|error| ContainerError::Malformed { image: text, why: error.to_string() })
    }

    /// A manifest or a config, asked for by tag or digest; in the second case its digest is compared.
    fn document(
        &self,
        kind: &str,
        reference: &str,
        secret: Option<Secret>,
    ) -> Result<(String, Option<Secret>), ContainerError> {
        let ask = Ask::get(self.url(kind, reference)?, self.redirects()).header(header::ACCEPT, ACCEPT);
        let mut secret = secret;
        let mut answer = self.client.send(&ask.clone().authorized(secret.clone()))?;
        if answer.status == 401 {
            secret = self.token(&answer)?;
            answer = self.client.send_patiently(&ask.authorized(secret.clone()))?;
        }
        let text = answer.good()?.text(LONGEST)?;
        if let Ok(digest) = reference.parse::<Sha256Digest>()
            && Sha256Digest::of(text.as_bytes()) != digest
        {
            return Err(ContainerError::Digest { what: format!("document `{reference}`") });
        }
        Ok((text, secret))
    }

    /// A short-lived token for anybody, from the place that the registry names when it refuses.
    fn token(&self, refusal: &Answer) -> Result<Option<Secret>, ContainerError> {
        #[derive(Deserialize)]
        struct Token {
            token: String,
        }
        let challenge = refusal.header("www-authenticate").unwrap_or_default();
        let value = |key: &str| {
            let rest = challenge.split_once(&format!("{key}=\""))?.1;
            rest.split_once('"').map(|(value, _)| value.to_owned())
        };
        let realm = value("realm").unwrap_or_else(|| format!("{}/token", self.base));
        let malformed = |why: String| ContainerError::Malformed { image: self.repository.clone(), why };
        let mut url = Url::parse(&realm).map_err(|error| malformed(format!("`{realm}`: {error}")))?;
        let service = value("service").unwrap_or_else(|| "ghcr.io".to_owned());
        url.query_pairs_mut()
            .append_pair("service", &service)
            .append_pair("scope", &format!("repository:{}:pull", self.repository));
        let text = self.client.text(&Ask::get(url, self.redirects()), LONGEST)?;
        let token: Token = serde_json::from_str(&text).map_err(|error| malformed(error.to_string()))?;
        Ok(Secret::bearer(&token.token))
    }
}

/// The layers whose making touched `/app` or CUDA's libraries; all of them where the history does not tell.
fn worth_having<'a>(layers: &'a [Entry], history: &[History]) -> Vec<&'a Entry> {
    let made: Vec<&str> =
        history.iter().filter(|step| !step.empty_layer).map(|step| step.created_by.as_str()).collect();
    if made.len() != layers.len() {
        return layers.iter().collect();
    }
    let is_wanted = |step: &str| {
        let cuda = ["libcublas", "cuda-cudart", "cuda-libraries"].iter().any(|word| step.contains(word));
        cuda || step.contains("/app")
    };
    let wanted: Vec<&Entry> =
        layers.iter().zip(&made).filter(|(_, step)| is_wanted(step)).map(|(layer, _)| layer).collect();
    if wanted.is_empty() { layers.iter().collect() } else { wanted }
}

/// Where a file of a layer belongs in the build's folder: what lies in `/app`, and CUDA's three libraries.
/// The marks of deleted files belong where those files do.
pub fn place(name: &str) -> Option<String> {
    if name == "app/.wh..wh..opq" || name == ".wh.app" {
        return Some(".wh..wh..opq".to_owned());
    }
    let (folder, base) = name.rsplit_once('/').unwrap_or(("", name));
    if let Some(deleted) = base.strip_prefix(".wh.") {
        let of = place(&format!("{folder}/{deleted}"))?;
        let (folder, base) =
            of.rsplit_once('/').map_or((String::new(), of.as_str()), |(folder, base)| (format!("{folder}/"), base));
        return Some(format!("{folder}.wh.{base}"));
    }
    if let Some(inside) = name.strip_prefix("app/") {
        return Some(inside.to_owned()).filter(|inside| !inside.is_empty());
    }
    let (folder, base) = name.rsplit_once('/')?;
    let is_library = ["libcudart.so", "libcublas.so", "libcublasLt.so"].iter().any(|stem| base.starts_with(stem));
    (folder.starts_with("usr/local/cuda") && !folder.contains("stubs") && is_library).then(|| base.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_llama_and_cuda_are_taken_out_of_an_image() {
        assert_eq!(place("app/llama-server").as_deref(), Some("llama-server"));
        assert_eq!(place("app/.wh.gone.so").as_deref(), Some(".wh.gone.so"));
        assert_eq!(place("app/tools/.wh.old").as_deref(), Some("tools/.wh.old"));
        assert_eq!(place("app/tools/.wh..wh..opq").as_deref(), Some("tools/.wh..wh..opq"));
        assert_eq!(place(".wh.app").as_deref(), Some(".wh..wh..opq"));
        let deleted = "usr/local/cuda-12.8/lib64/.wh.libcublas.so.12";
        assert_eq!(place(deleted).as_deref(), Some(".wh.libcublas.so.12"));
        assert_eq!(place("etc/.wh.passwd"), None);
        let library = "usr/local/cuda-12.8/targets/x86_64-linux/lib/libcublasLt.so.12.8.4.1";
        assert_eq!(place(library).as_deref(), Some("libcublasLt.so.12.8.4.1"));
        for name in
            ["app/", "etc/passwd", "usr/local/cuda/lib64/stubs/libcudart.so", "usr/lib/libcublas.so.12", "libc.so"]
        {
            assert_eq!(place(name), None, "{name}");
        }
    }

    #[test]
    fn layers_are_chosen_by_what_made_them() {
        let entry =
            |digest: &str| Entry { digest: digest.to_owned(), size: 0, media_type: String::new(), platform: None };
        let step = |text: &str, empty_layer| History { created_by: text.to_owned(), empty_layer };
        let layers = [entry("base"), entry("cuda"), entry("app")];
        let history = [
            step("ADD rootfs", false),
            step("ENV X", true),
            step("RUN apt-get install cuda-libraries-12-8", false),
            step("COPY /app/full /app", false),
        ];
        let chosen: Vec<_> = worth_having(&layers, &history).iter().map(|layer| layer.digest.as_str()).collect();
        assert_eq!(chosen, ["cuda", "app"]);
        assert_eq!(worth_having(&layers, &history[..2]).len(), 3);
    }
}
