//! ModelScope: its own API, the same answers as the Hugging Face hub gives. llama.cpp's `-hf` cannot use it, so what is
//! pulled from it lies as plain files or in our cache under the same layout.

use serde::Deserialize;
use url::Url;

use super::huggingface::{HubError, Listing, RemoteFile};
use super::repository::RepositoryId;
use crate::host::{Host, environment};
use crate::net;
use crate::net::client::{Ask, Client, Secret};
use crate::net::digest::Sha256Digest;
use crate::net::redirect::Redirects;
use crate::units::{Bytes, MIB};

/// The host that the site's own client uses (`modelscope` 1.x, `MODELSCOPE_DOMAIN`).
const PUBLIC_ENDPOINT: &str = "https://www.modelscope.cn/";
const DEFAULT_BRANCH: &str = "master";
const LARGEST_ANSWER: Bytes = Bytes(32 * MIB);

#[derive(Debug)]
pub struct ModelScope<'a> {
    client: &'a Client,
    endpoint: Url,
    token: Option<Secret>,
}

impl<'a> ModelScope<'a> {
    pub fn new(host: &Host, client: &'a Client) -> Result<Self, HubError> {
        let domain = host.text_variable(environment::MODELSCOPE_DOMAIN.name);
        let text = match &domain {
            None => PUBLIC_ENDPOINT.to_owned(),
            Some(address) if address.contains("://") => format!("{}/", address.trim_end_matches('/')),
            Some(name) => format!("https://{name}/"),
        };
        let endpoint = Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let endpoint = endpoint.ok_or(HubError::BadEndpoint(text))?;
        let token = host.text_variable(environment::MODELSCOPE_API_TOKEN.name);
        Ok(Self { client, endpoint, token: token.and_then(|token| Secret::bearer(&token)) })
    }

    /// What the repository holds on a branch; `master` is the default there.
    pub fn list(&self, repository: &RepositoryId, revision: Option<&str>) -> Result<Listing, HubError> {
        let revision = revision.unwrap_or(DEFAULT_BRANCH);
        let mut url = self.url(&format!("api/v1/models/{repository}/repo/files"))?;
        url.query_pairs_mut().append_pair("Revision", revision).append_pair("Recursive", "true");
        let answer = self.client.send_patiently(&Ask::get(url.clone(), Redirects::Any).authorized(self.token.clone()));
        let text = match answer {
            Ok(answer) => answer.text(LARGEST_ANSWER)?,
            Err(net::Error::Status { status: 401 | 403 | 404, message, .. }) => {
                let with_token = self.token.is_some();
                return Err(HubError::NoRepository { repository: repository.clone(), message, with_token });
            }
            Err(error) => return Err(error.into()),
        };
        let bad = |why: String| HubError::BadAnswer { url: net::shown(&url), why };
        let answer: Answer = serde_json::from_str(&text).map_err(|error| bad(error.to_string()))?;
        let Some(data) = answer.data else {
            let (repository, with_token) = (repository.clone(), self.token.is_some());
            return Err(HubError::NoRepository { repository, message: answer.message, with_token });
        };
        let newest = data.files.iter().find_map(|file| file.revision.parse().ok());
        let mut listing = Listing {
            repository: repository.clone(),
            revision: revision.to_owned(),
            commit: newest.ok_or_else(|| bad("no file of it names a commit".to_owned()))?,
            files: Vec::new(),
            refused: Vec::new(),
        };
        for file in data.files.into_iter().filter(|file| file.kind == "blob") {
            let sha256: Option<Sha256Digest> = file.sha256.parse().ok();
            match (file.path.parse(), sha256) {
                (Ok(name), Some(digest)) => {
                    listing.files.push(RemoteFile { name, bytes: file.size, sha256, etag: digest.to_string() });
                }
                (Ok(name), None) => listing.refused.push(format!("{name} (it has no sha256)")),
                (Err(_), _) => listing.refused.push(file.path.escape_debug().to_string()),
            }
        }
        Ok(listing)
    }

    /// The request for a file's bytes. Files are fetched by branch: their revisions differ from file to file there, and
    /// the sha256 holds them to what was listed.
    pub fn file(&self, listing: &Listing, file: &RemoteFile) -> Ask {
        let mut url = self.endpoint.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("models").extend(listing.repository.as_str().split('/'));
            segments.push("resolve").push(&listing.revision).extend(file.name.as_str().split('/'));
        }
        Ask::get(url, Redirects::Any).authorized(self.token.clone())
    }

    fn url(&self, path: &str) -> Result<Url, HubError> {
        self.endpoint.join(path).map_err(|_| HubError::BadEndpoint(self.endpoint.to_string()))
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    data: Option<Data>,
    #[serde(default)]
    message: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Data {
    #[serde(default)]
    files: Vec<File>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct File {
    path: String,
    #[serde(rename = "Type")]
    kind: String,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    sha256: String,
    #[serde(default)]
    revision: String,
}
