//! The Hugging Face hub and its mirrors: which files a repository has at which commit, and what the hub's refusals mean.

use reqwest::header::HeaderMap;
use serde::Deserialize;
use thiserror::Error;
use url::Url;

use super::hub_cache::{expand_home, is_true};
use super::quantization::GgufName;
use super::repository::{Commit, RepositoryId, RepositoryPath};
use crate::host::{Host, environment};
use crate::net;
use crate::net::client::{Answer, Ask, Client, Secret};
use crate::net::digest::Sha256Digest;
use crate::net::redirect::Redirects;
use crate::units::{Bytes, MIB};

const PUBLIC_ENDPOINT: &str = "https://huggingface.co/";
/// A page of a tree has at most 1000 entries of some 300 bytes.
const LARGEST_ANSWER: Bytes = Bytes(32 * MIB);
/// A repository of a hundred thousand files is no model.
const MOST_PAGES: usize = 100;
/// A mirror that hides the sha256 of more models than this is not asked for each.
const MOST_LOOK_UPS: usize = 40;

#[derive(Debug, Error)]
pub enum HubError {
    #[error("HF_ENDPOINT is `{0}`, which is not an http or https address")]
    BadEndpoint(String),
    #[error("the hub keeps `{repository}` for people who accepted its terms{}", said(.message))]
    Gated { repository: RepositoryId, page: String, message: String, with_token: bool },
    #[error("the hub has no `{repository}`, or it is private{}", said(.message))]
    NoRepository { repository: RepositoryId, message: String, with_token: bool },
    #[error("`{repository}` has no branch, tag or commit `{revision}`")]
    NoRevision { repository: RepositoryId, revision: String },
    #[error("`{repository}` has no file `{file}`")]
    NoFile { repository: RepositoryId, file: String },
    #[error("the hub has disabled `{repository}`{}", said(.message))]
    Disabled { repository: RepositoryId, message: String },
    #[error("the hub refuses `{repository}` with status {status}{}", said(.message))]
    Refused { repository: RepositoryId, status: u16, message: String },
    #[error("`{url}` answered something else than a hub does: {why}")]
    BadAnswer { url: String, why: String },
    #[error(transparent)]
    Net(#[from] net::Error),
}

fn said(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}

impl HubError {
    /// The hub could not be asked, or is busy: what the cache holds may be used instead.
    pub fn is_temporary(&self) -> bool {
        matches!(
            self,
            Self::Net(
                net::Error::Transport { .. }
                    | net::Error::Body { .. }
                    | net::Error::AskedToWait { .. }
                    | net::Error::Status { status: 408 | 429 | 500..=599, .. }
            )
        )
    }
}

/// A file of a repository, as the hub lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteFile {
    pub name: RepositoryPath,
    pub bytes: u64,
    /// Known for every file that is stored outside git, so for every model.
    pub sha256: Option<Sha256Digest>,
    /// What the file's blob is called in the cache: its sha256, or for small text files git's own hash.
    pub etag: String,
}

/// What a repository holds at one commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    pub repository: RepositoryId,
    /// The branch or tag that was asked for.
    pub revision: String,
    pub commit: Commit,
    /// In the hub's order; names that could leave the cache are not among them.
    pub files: Vec<RemoteFile>,
    /// Names that were refused, for people to see.
    pub refused: Vec<String>,
}

impl Listing {
    pub fn names(&self) -> Vec<&str> {
        self.files.iter().map(|file| file.name.as_str()).collect()
    }

    /// The repository brings arguments of its own for llama-server, which `-hf` would obey.
    pub fn has_preset(&self) -> bool {
        self.files.iter().any(|file| file.name.as_str() == "preset.ini")
    }
}

#[derive(Debug)]
pub struct HuggingFace<'a> {
    client: &'a Client,
    endpoint: Url,
    token: Option<Secret>,
}

/// `HF_ENDPOINT`, or the public hub. Ends in a slash.
pub fn endpoint(host: &Host) -> Result<Url, HubError> {
    let Some(text) = host.text_variable(environment::HF_ENDPOINT.name) else {
        return Url::parse(PUBLIC_ENDPOINT).map_err(|_| HubError::BadEndpoint(PUBLIC_ENDPOINT.to_owned()));
    };
    let url = Url::parse(&format!("{}/", text.trim_end_matches('/'))).ok();
    url.filter(|url| matches!(url.scheme(), "http" | "https") && url.host().is_some())
        .ok_or(HubError::BadEndpoint(text))
}

/// `HF_HUB_OFFLINE` as the Python hub reads it.
pub fn is_offline(host: &Host) -> bool {
    host.text_variable(environment::HF_HUB_OFFLINE.name).is_some_and(|text| is_true(&text))
}

/// `HF_TOKEN`, else the file that `hf auth login` writes.
pub fn token(host: &Host) -> Option<String> {
    let clean = |text: String| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    if let Some(token) = host.text_variable(environment::HF_TOKEN.name).and_then(clean) {
        return Some(token);
    }
    let folder = |name: &str| host.variable(name).map(|path| expand_home(host, path.into()));
    let home = folder(environment::HF_HOME.name)
        .or_else(|| Some(folder(environment::XDG_CACHE_HOME.name)?.join("huggingface")))
        .or_else(|| Some(host.home()?.join(".cache").join("huggingface")));
    let path = folder(environment::HF_TOKEN_PATH.name).or_else(|| Some(home?.join("token")))?;
    host.read_to_string(path).ok().and_then(clean)
}

impl<'a> HuggingFace<'a> {
    pub fn new(host: &Host, client: &'a Client) -> Result<Self, HubError> {
        let token = token(host).and_then(|token| Secret::bearer(&token));
        Ok(Self { client, endpoint: endpoint(host)?, token })
    }

    /// What the repository holds. Without a revision: `main`, else the first branch, as llama.cpp chooses.
    pub fn list(&mut self, repository: &RepositoryId, revision: Option<&str>) -> Result<Listing, HubError> {
        let (revision, commit) = match revision {
            Some(revision) => (revision.to_owned(), self.commit_of(repository, revision)?),
            None => self.default_branch(repository)?,
        };
        let mut listing =
            Listing { repository: repository.clone(), revision, commit, files: Vec::new(), refused: Vec::new() };
        let tree = format!("api/models/{repository}/tree/{}?recursive=true", listing.commit);
        let mut next = Some(self.url(&tree)?);
        for _ in 0..MOST_PAGES {
            let Some(url) = next else { return Ok(listing) };
            let answer = self.send(&Ask::get(url, Redirects::Any), repository)?;
            next = next_page(&answer.headers, &answer.url).filter(|next| same_host(next, &self.endpoint));
            let entries: Vec<TreeEntry> = parse(answer)?;
            for entry in entries {
                entry.add_to(&mut listing);
            }
        }
        Err(HubError::BadAnswer { url: tree, why: format!("its tree has more than {MOST_PAGES} pages") })
    }

    /// The request for a file's bytes, as it is at this commit.
    pub fn file(&self, listing: &Listing, file: &RemoteFile) -> Ask {
        let mut url = self.endpoint.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(listing.repository.as_str().split('/'));
            segments.push("resolve").push(listing.commit.as_str()).extend(file.name.as_str().split('/'));
        }
        Ask::get(url, Redirects::Any).authorized(self.token.clone())
    }

    /// Size and sha256 of a file as the first hop of its address says them, for mirrors whose listing leaves them out.
    pub fn look_up(&mut self, listing: &Listing, file: &mut RemoteFile) -> Result<(), HubError> {
        let mut ask = self.file(listing, file);
        ask.method = reqwest::Method::HEAD;
        ask.redirects = Redirects::Returned;
        let answer = self.send(&ask, &listing.repository)?;
        if let Some(sha256) = linked_sha256(&answer.headers) {
            file.sha256 = Some(sha256);
            file.etag = sha256.to_string();
        }
        if let Some(bytes) = answer.header("x-linked-size").and_then(|text| text.parse().ok()) {
            file.bytes = bytes;
        }
        Ok(())
    }

    /// Looks up the sha256 of models that the listing gives none for.
    pub fn complete(&mut self, listing: &mut Listing) -> Result<(), HubError> {
        let mut files = std::mem::take(&mut listing.files);
        let models =
            files.iter_mut().filter(|file| file.sha256.is_none() && GgufName::parse(file.name.as_str()).is_some());
        for file in models.take(MOST_LOOK_UPS) {
            self.look_up(listing, file)?;
        }
        listing.files = files;
        Ok(())
    }

    /// The page where people accept a model's terms.
    fn page(&self, repository: &RepositoryId) -> String {
        format!("{}{repository}", self.endpoint)
    }

    fn url(&self, path: &str) -> Result<Url, HubError> {
        self.endpoint.join(path).map_err(|_| HubError::BadEndpoint(self.endpoint.to_string()))
    }

    fn default_branch(&mut self, repository: &RepositoryId) -> Result<(String, Commit), HubError> {
        let url = self.url(&format!("api/models/{repository}/refs"))?;
        let refs: Refs = match self.send(&Ask::get(url, Redirects::Any), repository) {
            Ok(answer) => parse(answer)?,
            // A mirror without this call still knows `main`.
            Err(HubError::Refused { status: 404 | 405 | 501, .. } | HubError::NoRevision { .. }) => {
                return Ok(("main".to_owned(), self.commit_of(repository, "main")?));
            }
            Err(error) => return Err(error),
        };
        let branches: Vec<(String, Commit)> = refs
            .branches
            .into_iter()
            .filter_map(|branch| Some((branch.name, branch.target_commit.parse().ok()?)))
            .collect();
        let main = branches.iter().find(|(name, _)| name == "main").or(branches.first()).cloned();
        main.ok_or_else(|| HubError::NoRevision { repository: repository.clone(), revision: "main".to_owned() })
    }

    fn commit_of(&mut self, repository: &RepositoryId, revision: &str) -> Result<Commit, HubError> {
        if let Ok(commit) = revision.parse() {
            return Ok(commit);
        }
        let mut url = self.url(&format!("api/models/{repository}/revision/"))?;
        if let Ok(mut segments) = url.path_segments_mut() {
            // A branch may hold a slash; the hub wants it as one segment.
            segments.pop_if_empty().push(revision);
        }
        let info: Info = parse(self.send(&Ask::get(url.clone(), Redirects::Any), repository)?)?;
        info.sha
            .parse()
            .map_err(|_| HubError::BadAnswer { url: net::shown(&url), why: "it names no commit".to_owned() })
    }

    /// Asks with the token and patience. A token that the hub does not know turns public models away too, so a refused
    /// one is tried without.
    fn send(&mut self, ask: &Ask, repository: &RepositoryId) -> Result<Answer, HubError> {
        let retry = self.client.settings.retry;
        let mut failures = 0;
        loop {
            let answer = self.client.send(&ask.clone().authorized(self.token.clone()));
            let error = match answer {
                Ok(answer) if answer.status < 400 => return Ok(answer),
                Ok(answer) if answer.status == 401 && self.token.is_some() && error_code(&answer.headers).is_none() => {
                    tracing::warn!(
                        "the hub does not know this token (HF_TOKEN, or the file of `hf auth login`); going on without"
                    );
                    self.token = None;
                    continue;
                }
                Ok(answer) => match self.refusal(&answer, repository) {
                    Some(refusal) => return Err(refusal),
                    None => match answer.good() {
                        Ok(answer) => return Ok(answer),
                        Err(error) => error,
                    },
                },
                Err(error) => error,
            };
            failures += 1;
            match retry.wait(&error, failures) {
                Some(wait) => std::thread::sleep(wait),
                None => return Err(retry.explained(error).into()),
            }
        }
    }

    /// What the hub means by a refusal; none where trying again may help.
    fn refusal(&self, answer: &Answer, repository: &RepositoryId) -> Option<HubError> {
        let message =
            answer.header("x-error-message").unwrap_or_default().chars().filter(|c| !c.is_control()).take(300);
        let (repository, message) = (repository.clone(), message.collect::<String>());
        let with_token = self.token.is_some();
        Some(match (error_code(&answer.headers), answer.status) {
            (Some("GatedRepo"), _) => HubError::Gated { page: self.page(&repository), repository, message, with_token },
            (Some("RepoNotFound"), _) | (None, 401) => HubError::NoRepository { repository, message, with_token },
            (Some("RevisionNotFound"), _) => {
                let revision = answer.url.path_segments().and_then(Iterator::last).unwrap_or_default().to_owned();
                HubError::NoRevision { repository, revision }
            }
            (Some("EntryNotFound"), _) => {
                let file = answer.url.path_segments().and_then(Iterator::last).unwrap_or_default().to_owned();
                HubError::NoFile { repository, file }
            }
            (Some("DisabledRepo"), _) => HubError::Disabled { repository, message },
            (_, status @ (400 | 401 | 403 | 404 | 405 | 410 | 451 | 501)) => {
                HubError::Refused { repository, status, message }
            }
            _ => return None,
        })
    }
}

fn error_code(headers: &HeaderMap) -> Option<&str> {
    headers.get("x-error-code")?.to_str().ok()
}

/// `X-Linked-ETag` of the first hop: the sha256 of a file that is stored outside git.
pub fn linked_sha256(headers: &HeaderMap) -> Option<Sha256Digest> {
    headers.get("x-linked-etag")?.to_str().ok()?.trim_start_matches("W/").trim_matches('"').parse().ok()
}

fn same_host(one: &Url, other: &Url) -> bool {
    one.origin() == other.origin()
}

/// `Link: <…>; rel="next"`
fn next_page(headers: &HeaderMap, base: &Url) -> Option<Url> {
    let links = headers.get("link")?.to_str().ok()?;
    let next = links.split(',').find(|link| link.contains("rel=\"next\"") || link.contains("rel=next"))?;
    base.join(next.split_once('<')?.1.split_once('>')?.0).ok()
}

fn parse<T: serde::de::DeserializeOwned>(answer: Answer) -> Result<T, HubError> {
    let url = net::shown(&answer.url);
    let text = answer.text(LARGEST_ANSWER)?;
    serde_json::from_str(&text).map_err(|error| {
        let why = if text.trim_start().starts_with('<') { "a web page".to_owned() } else { error.to_string() };
        HubError::BadAnswer { url, why }
    })
}

#[derive(Debug, Deserialize)]
struct Refs {
    branches: Vec<Branch>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Branch {
    name: String,
    target_commit: String,
}

#[derive(Debug, Deserialize)]
struct Info {
    sha: String,
}

#[derive(Debug, Deserialize)]
struct TreeEntry {
    #[serde(rename = "type")]
    kind: String,
    path: String,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    oid: String,
    lfs: Option<Lfs>,
}

#[derive(Debug, Deserialize)]
struct Lfs {
    oid: String,
    size: Option<u64>,
}

impl TreeEntry {
    fn add_to(self, listing: &mut Listing) {
        if self.kind != "file" {
            return;
        }
        let Ok(name) = self.path.parse() else {
            listing.refused.push(self.path.escape_debug().to_string());
            return;
        };
        let sha256: Option<Sha256Digest> = self.lfs.as_ref().and_then(|lfs| lfs.oid.parse().ok());
        let git_hash =
            (self.oid.len() == 40 && self.oid.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(self.oid);
        let Some(etag) = sha256.map(|digest| digest.to_string()).or(git_hash) else {
            listing.refused.push(format!("{name} (its hash is not one)"));
            return;
        };
        let bytes = self.lfs.as_ref().and_then(|lfs| lfs.size).unwrap_or(self.size);
        listing.files.push(RemoteFile { name, bytes, sha256, etag });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn host(variables: &[(&str, &str)], root: &std::path::Path) -> Host {
        let environment = variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
        Host::Recorded { root: root.to_owned(), environment, outputs: BTreeMap::new() }
    }

    #[test]
    fn the_token_is_looked_for_as_the_python_hub_does() {
        let root = tempfile::tempdir().unwrap();
        fs_err::create_dir_all(root.path().join("home/u/.cache/huggingface")).unwrap();
        fs_err::write(root.path().join("home/u/.cache/huggingface/token"), "hf_login\n").unwrap();
        fs_err::write(root.path().join("mine"), "hf_file").unwrap();
        let home = (if cfg!(windows) { "USERPROFILE" } else { "HOME" }, "/home/u");
        assert_eq!(token(&host(&[home], root.path())).as_deref(), Some("hf_login"));
        assert_eq!(token(&host(&[home, ("HF_TOKEN_PATH", "/mine")], root.path())).as_deref(), Some("hf_file"));
        assert_eq!(token(&host(&[home, ("HF_TOKEN", " hf_x ")], root.path())).as_deref(), Some("hf_x"));
        assert_eq!(token(&host(&[home, ("HF_HOME", "/none")], root.path())), None);
    }

    #[test]
    fn the_endpoint_is_a_web_address() {
        let root = std::path::Path::new("/");
        let of = |text| endpoint(&host(&[("HF_ENDPOINT", text)], root)).map(String::from);
        assert_eq!(of("https://mirror.example/hf").unwrap(), "https://mirror.example/hf/");
        assert!(matches!(of("mirror.example"), Err(HubError::BadEndpoint(_))));
        assert!(matches!(of("ftp://mirror.example"), Err(HubError::BadEndpoint(_))));
    }

    #[test]
    fn a_tree_is_read_and_hostile_names_are_left_out() {
        let sha256 = "ab".repeat(32);
        let text = format!(
            r#"[{{"type": "directory", "path": "sub", "size": 0, "oid": "x"}},
                {{"type": "file", "path": "m-Q8_0.gguf", "size": 134, "oid": "{0}",
                  "lfs": {{"oid": "{sha256}", "size": 5000, "pointerSize": 134}}, "xetHash": "y"}},
                {{"type": "file", "path": "../../evil.gguf", "size": 1, "oid": "{0}"}},
                {{"type": "file", "path": "README.md", "size": 7, "oid": "{0}"}},
                {{"type": "file", "path": "odd.gguf", "size": 7, "oid": "../../x"}}]"#,
            "0".repeat(40)
        );
        let entries: Vec<TreeEntry> = serde_json::from_str(&text).unwrap();
        let mut listing = Listing {
            repository: "o/r".parse().unwrap(),
            revision: "main".into(),
            commit: "0".repeat(40).parse().unwrap(),
            files: Vec::new(),
            refused: Vec::new(),
        };
        for entry in entries {
            entry.add_to(&mut listing);
        }
        assert_eq!(listing.names(), ["m-Q8_0.gguf", "README.md"]);
        assert_eq!((listing.files[0].bytes, listing.files[0].etag.as_str()), (5000, sha256.as_str()));
        assert_eq!((listing.files[1].sha256, listing.files[1].bytes), (None, 7));
        assert_eq!(listing.refused.len(), 2);
    }

    #[test]
    fn the_next_page_is_read_off_the_link_header() {
        let mut headers = HeaderMap::new();
        let base = Url::parse("https://hub.example/api/x").unwrap();
        assert_eq!(next_page(&headers, &base), None);
        let link = "<https://hub.example/api/x?cursor=abc>; rel=\"next\", <https://hub.example/api/x>; rel=\"first\"";
        headers.insert("link", link.parse().unwrap());
        assert_eq!(next_page(&headers, &base).unwrap().query(), Some("cursor=abc"));
    }
}
