//! What the hub's answers hold: its headers and its JSON.

use reqwest::header::HeaderMap;
use serde::Deserialize;
use url::Url;

use super::{HubError, Listing, RemoteFile};
use crate::net;
use crate::net::client::Answer;
use crate::net::digest::Sha256Digest;
use crate::units::{Bytes, MIB};

/// A page of a tree has at most 1000 entries of some 300 bytes.
const LARGEST_ANSWER: Bytes = Bytes(32 * MIB);

pub(super) fn error_code(headers: &HeaderMap) -> Option<&str> {
    headers.get("x-error-code")?.to_str().ok()
}

/// `X-Linked-ETag` of the first hop: the sha256 of a file that is stored outside git.
pub fn linked_sha256(headers: &HeaderMap) -> Option<Sha256Digest> {
    headers.get("x-linked-etag")?.to_str().ok()?.trim_start_matches("W/").trim_matches('"').parse().ok()
}

pub(super) fn same_host(one: &Url, other: &Url) -> bool {
    one.origin() == other.origin()
}

/// `Link: <…>; rel="next"`
pub(super) fn next_page(headers: &HeaderMap, base: &Url) -> Option<Url> {
    let links = headers.get("link")?.to_str().ok()?;
    let next = links.split(',').find(|link| link.contains("rel=\"next\"") || link.contains("rel=next"))?;
    base.join(next.split_once('<')?.1.split_once('>')?.0).ok()
}

pub(super) fn parse<T: serde::de::DeserializeOwned>(answer: Answer) -> Result<T, HubError> {
    let url = net::shown(&answer.url);
    let text = answer.text(LARGEST_ANSWER)?;
    serde_json::from_str(&text).map_err(|error| {
        let why = if text.trim_start().starts_with('<') { "a web page".to_owned() } else { error.to_string() };
        HubError::BadAnswer { url, why }
    })
}

#[derive(Debug, Deserialize)]
pub(super) struct Refs {
    pub(super) branches: Vec<Branch>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Branch {
    pub(super) name: String,
    pub(super) target_commit: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Info {
    pub(super) sha: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct TreeEntry {
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
    pub(super) fn add_to(self, listing: &mut Listing) {
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
