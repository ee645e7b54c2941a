//! The Hugging Face hub and its mirrors: which files a repository has at which commit, and what the hub's refusals mean.

use thiserror::Error;
use url::Url;

use super::quantization::GgufName;
use super::repository::{Commit, RepositoryId, RepositoryPath};
use crate::host::Host;
use crate::net;
use crate::net::client::{Answer, Ask, Client, Secret};
use crate::net::digest::Sha256Digest;
use crate::net::redirect::Redirects;

mod answers;
mod settings;

pub use answers::linked_sha256;
use answers::{Info, Refs, TreeEntry, error_code, next_page, parse, same_host};
pub use settings::{endpoint, is_offline, token};

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
