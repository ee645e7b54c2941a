//! The project's releases on GitHub: which tag a version means, and which files a release has. Works without one API call.

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::header;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use url::Url;

use crate::manifest::releases::releases;
use crate::net;
use crate::net::client::{Ask, Client, Secret};
use crate::net::digest::Sha256Digest;
use crate::net::redirect::Redirects;
use crate::units::{BuildTag, Bytes, KIB, MIB};

mod cache;
mod pages;

pub const PUBLIC_URL: &str = "https://github.com";
pub const PUBLIC_API_URL: &str = "https://api.github.com";

#[derive(Debug, Error)]
pub enum GithubError {
    #[error(transparent)]
    Net(#[from] net::Error),
    #[error("`{variable}` is `{text}`, which is not an http or https URL")]
    Mirror { variable: &'static str, text: String },
    #[error("there is no release `{tag}` of llama.cpp")]
    NoRelease { tag: String },
    #[error("release `{tag}` names no build: it has no `{POINTER}`")]
    NoPointer { tag: String },
    #[error("`{url}` holds no list of releases: {why}")]
    Malformed { url: String, why: String },
    #[error("no release of llama.cpp was found{}", .then.as_ref().map_or_else(String::new, |then| format!(", by the feed neither: {then}")))]
    NothingFound {
        #[source]
        first: Box<Self>,
        then: Option<String>,
    },
    #[error("the feed of releases names no build")]
    EmptyFeed,
    #[error(transparent)]
    File(#[from] std::io::Error),
}

/// The one file of a stable release: the name of the nightly that it is.
const POINTER: &str = "nightly-tag.txt";
const LONGEST_POINTER: Bytes = Bytes(128);
/// A release of thirty files is 60 KB of JSON, a page of twenty releases 1.2 MB.
const LONGEST_LIST: Bytes = Bytes(16 * MIB);
const PAGE: u32 = 20;
/// GitHub counts even a "not modified" against an anonymous caller's sixty an hour.
const FRESH: Duration = Duration::from_mins(10);

/// What the user asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    Stable,
    Nightly,
    Exact(BuildTag),
}

/// One file of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    pub name: String,
    pub url: String,
    /// Where only a web page told of the file, its size is not known.
    pub size: Option<u64>,
    pub sha256: Option<Sha256Digest>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    pub tag: String,
    /// Those whose upload is done.
    pub artifacts: Vec<Artifact>,
    /// Names of those whose upload is not.
    pub unfinished: Vec<String>,
}

impl Release {
    /// The number of a nightly.
    pub fn number(&self) -> Option<u32> {
        number(&self.tag)
    }
}

fn number(tag: &str) -> Option<u32> {
    match tag.parse() {
        Ok(BuildTag::Nightly(number)) => Some(number),
        _ => None,
    }
}

#[derive(Debug)]
pub struct Github {
    client: Client,
    base: String,
    api: String,
    token: Option<Secret>,
    hosts: Vec<String>,
    cache: PathBuf,
}

/// Where to ask, and as whom.
#[derive(Debug, Clone, Default)]
pub struct Place {
    pub base: Option<String>,
    pub api: Option<String>,
    pub token: Option<String>,
    /// More hosts that redirects may lead to.
    pub hosts: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct ApiRelease {
    tag_name: String,
    #[serde(default)]
    draft: bool,
    #[serde(default)]
    assets: Vec<ApiAsset>,
}

#[derive(Debug, Deserialize)]
struct ApiAsset {
    name: String,
    #[serde(default)]
    size: Option<u64>,
    #[serde(default)]
    digest: Option<String>,
    #[serde(default)]
    state: Option<String>,
}

impl Github {
    /// `cache` is a folder of ours for what the API said.
    pub fn new(client: &Client, place: Place, cache: &Path) -> Result<Self, GithubError> {
        let url = |variable: &'static str, text: Option<String>, public: &str| {
            let text = text.unwrap_or_else(|| public.to_owned());
            match Url::parse(&text) {
                Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(text.trim_end_matches('/').to_owned()),
                _ => Err(GithubError::Mirror { variable, text }),
            }
        };
        // There is always another place to ask, so patience is short.
        let mut client = client.clone();
        client.settings.retry.tries = client.settings.retry.tries.min(3);
        client.settings.retry.longest_asked_wait = Duration::from_secs(3);
        Ok(Self {
            client,
            base: url("LLAMA_DOCTOR_GITHUB_URL", place.base, PUBLIC_URL)?,
            api: url("LLAMA_DOCTOR_GITHUB_API_URL", place.api, PUBLIC_API_URL)?,
            token: place.token.as_deref().and_then(Secret::bearer),
            hosts: releases().hosts.allowed.iter().cloned().chain(place.hosts).collect(),
            cache: cache.to_owned(),
        })
    }

    /// Where files of releases may come from.
    pub fn redirects(&self) -> Redirects {
        Redirects::Hosts(self.hosts.clone())
    }

    /// The release that a version means, and what was noteworthy on the way. `complete` says whether a release has
    /// all that is needed: a channel whose newest release does not have it yet steps back to an older one.
    pub fn find(
        &self,
        version: Version,
        complete: &dyn Fn(&Release) -> bool,
    ) -> Result<(Release, Vec<String>), GithubError> {
        let mut notes = Vec::new();
        let tag = match version {
            Version::Exact(tag @ BuildTag::Nightly(_)) => {
                return Ok((self.release(&tag.to_string(), &mut notes)?, notes));
            }
            Version::Exact(tag @ BuildTag::Release { .. }) => {
                let nightly = self.pointer(&format!("download/{tag}"), &tag.to_string())?;
                notes.push(format!("{tag} is build {nightly}"));
                return Ok((self.release(&nightly, &mut notes)?, notes));
            }
            Version::Stable => self.stable(&mut notes)?,
            Version::Nightly => self.newest(&mut notes)?,
        };
        let newest = self.release(&tag, &mut notes)?;
        if complete(&newest) {
            return Ok((newest, notes));
        }
        for older in self.older_than(newest.number().unwrap_or(0), &mut notes) {
            if complete(&older) {
                notes.push(format!("{tag} does not have all its files yet: the next older build is {}", older.tag));
                return Ok((older, notes));
            }
        }
        Ok((newest, notes))
    }

    /// The current stable build: by its pointer file, else by the API, else the newest build that the feed names.
    fn stable(&self, notes: &mut Vec<String>) -> Result<String, GithubError> {
        let error = match self.pointer("latest/download", "stable") {
            Ok(tag) => return Ok(tag),
            Err(error) => error,
        };
        let latest = self.api_text(&format!("{}/releases/latest", self.repository_api())).ok();
        let named = latest.and_then(|text| serde_json::from_str::<ApiRelease>(&text).ok());
        if let Some(release) = named {
            if number(&release.tag_name).is_some() {
                return Ok(release.tag_name);
            }
            if let Ok(tag) = self.pointer(&format!("download/{}", release.tag_name), &release.tag_name) {
                return Ok(tag);
            }
        }
        let newest = self.newest(notes).map_err(|other| {
            // The same silence need not be told twice.
            let is_another = std::mem::discriminant(&other) != std::mem::discriminant(&error);
            GithubError::NothingFound { then: is_another.then(|| other.to_string()), first: Box::new(error) }
        });
        notes.push("which build is stable could not be learned: the newest build is taken".to_owned());
        newest
    }

    /// The newest nightly, by number: by the API, else by the feed.
    fn newest(&self, notes: &mut Vec<String>) -> Result<String, GithubError> {
        match self.list() {
            Ok(releases) => {
                if let Some(newest) = releases.into_iter().next() {
                    return Ok(newest.tag);
                }
            }
            Err(error) => notes.push(format!("the API did not help ({error}); the feed is asked")),
        }
        let tags = self.feed()?;
        tags.into_iter().next().ok_or(GithubError::EmptyFeed)
    }

    /// Builds before `number`, newest first.
    fn older_than(&self, number: u32, notes: &mut Vec<String>) -> Vec<Release> {
        let older = |release: &Release| release.number().is_some_and(|other| other < number);
        if let Ok(releases) = self.list() {
            return releases.into_iter().filter(older).collect();
        }
        let tags = self.feed().unwrap_or_default();
        let tags = tags.iter().filter(|tag| self::number(tag).is_some_and(|other| other < number)).take(3);
        tags.filter_map(|tag| self.release(tag, notes).ok()).collect()
    }

    fn repository_api(&self) -> String {
        format!("{}/repos/{}", self.api, releases().repository)
    }

    fn download_url(&self, tag: &str, name: &str) -> String {
        format!("{}/{}/releases/download/{tag}/{name}", self.base, releases().repository)
    }

    fn pointer(&self, path: &str, tag: &str) -> Result<String, GithubError> {
        let url = format!("{}/{}/releases/{path}/{POINTER}", self.base, releases().repository);
        let none = || GithubError::NoPointer { tag: tag.to_owned() };
        let text = match self.cached(&self.ask(&url)?, LONGEST_POINTER) {
            Err(net::Error::Status { status: 404, .. }) => return Err(none()),
            other => other?,
        };
        let name = text.trim();
        if number(name).is_some() { Ok(name.to_owned()) } else { Err(none()) }
    }

    /// The files of one release: by the API, else by the page that lists them.
    fn release(&self, tag: &str, notes: &mut Vec<String>) -> Result<Release, GithubError> {
        let url = format!("{}/releases/tags/{tag}", self.repository_api());
        let error = match self.api_text(&url) {
            Ok(text) => {
                let release = serde_json::from_str::<ApiRelease>(&text)
                    .map_err(|error| GithubError::Malformed { url, why: error.to_string() })?;
                return Ok(self.understood(release));
            }
            Err(net::Error::Status { status: 404, .. }) => return Err(GithubError::NoRelease { tag: tag.to_owned() }),
            Err(error) => error,
        };
        let url = format!("{}/{}/releases/expanded_assets/{tag}", self.base, releases().repository);
        match self.cached(&self.ask(&url)?, Bytes(2 * MIB)) {
            Ok(page) => {
                notes.push(format!("the API did not help ({error}); the files are read from the release's page"));
                let files = pages::assets(&page);
                let artifact = |(name, sha256): (String, _)| Artifact {
                    url: self.download_url(tag, &name),
                    name,
                    size: None,
                    sha256,
                };
                let artifacts = files.into_iter().map(artifact).collect();
                Ok(Release { tag: tag.to_owned(), artifacts, unfinished: Vec::new() })
            }
            Err(net::Error::Status { status: 404, .. }) => Err(GithubError::NoRelease { tag: tag.to_owned() }),
            Err(_) => Err(error.into()),
        }
    }

    /// The attestations of the file with this digest, as Sigstore's bundles. None is not an error.
    pub fn attestations(&self, digest: Sha256Digest) -> Result<Vec<serde_json::Value>, net::Error> {
        let url = format!("{}/attestations/sha256:{digest}", self.repository_api());
        match self.api_text(&url) {
            Ok(text) => crate::install::attest::bundles(&text).map_err(|why| net::Error::Content { name: url, why }),
            Err(net::Error::Status { status: 404, .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// The newest builds, by number.
    fn list(&self) -> Result<Vec<Release>, GithubError> {
        let url = format!("{}/releases?per_page={PAGE}", self.repository_api());
        let text = self.api_text(&url)?;
        let releases = serde_json::from_str::<Vec<ApiRelease>>(&text)
            .map_err(|error| GithubError::Malformed { url, why: error.to_string() })?;
        let mut builds: Vec<Release> = releases
            .into_iter()
            .filter(|release| !release.draft && number(&release.tag_name).is_some())
            .map(|release| self.understood(release))
            .collect();
        builds.sort_by_key(|release| std::cmp::Reverse(release.number()));
        Ok(builds)
    }

    fn feed(&self) -> Result<Vec<String>, GithubError> {
        let url = format!("{}/{}/releases.atom", self.base, releases().repository);
        let text = self.cached(&self.ask(&url)?, Bytes(4 * MIB))?;
        let mut tags = pages::feed_tags(&text);
        tags.retain(|tag| number(tag).is_some());
        tags.sort_by_key(|tag| std::cmp::Reverse(number(tag)));
        tags.dedup();
        Ok(tags)
    }

    fn understood(&self, release: ApiRelease) -> Release {
        let is_there = |asset: &ApiAsset| asset.state.as_deref().is_none_or(|state| state == "uploaded");
        let (there, coming): (Vec<_>, Vec<_>) = release.assets.into_iter().partition(is_there);
        let artifact = |asset: ApiAsset| Artifact {
            // Never the address in the answer: a mirror of the API repeats GitHub's own.
            url: self.download_url(&release.tag_name, &asset.name),
            sha256: asset.digest.and_then(|digest| digest.parse().ok()),
            name: asset.name,
            size: asset.size,
        };
        Release {
            artifacts: there.into_iter().map(artifact).collect(),
            unfinished: coming.into_iter().map(|asset| asset.name).collect(),
            tag: release.tag_name,
        }
    }

    fn ask(&self, url: &str) -> Result<Ask, GithubError> {
        let url =
            Url::parse(url).map_err(|error| GithubError::Malformed { url: url.to_owned(), why: error.to_string() })?;
        Ok(Ask::get(url, self.redirects()))
    }

    /// One answer of the API. A token that is refused is left out: what is asked here is public.
    fn api_text(&self, url: &str) -> Result<String, net::Error> {
        let Ok(url) = Url::parse(url) else {
            return Err(net::Error::Content { name: url.to_owned(), why: "it is not a URL".to_owned() });
        };
        let ask = Ask::get(url, self.redirects())
            .header(header::ACCEPT, "application/vnd.github+json")
            .header(header::HeaderName::from_static("x-github-api-version"), "2022-11-28");
        let authorized = ask.clone().authorized(self.token.clone());
        match self.cached(&authorized, LONGEST_LIST) {
            Err(net::Error::Status { status: 401, .. }) if self.token.is_some() => self.cached(&ask, LONGEST_LIST),
            other => other,
        }
    }

    fn cached(&self, ask: &Ask, limit: Bytes) -> Result<String, net::Error> {
        cache::text(&self.client, ask, limit, &self.cache, FRESH)
    }
}

/// What a page of ours in the cache may hold at most.
const LONGEST_KEPT: u64 = 32 * MIB + 64 * KIB;
