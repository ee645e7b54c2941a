//! How bytes come over the network: one client, redirects by hand, downloads that survive cuts, stalls and kills.

pub mod client;
pub mod digest;
pub mod download;
pub mod journal;
pub mod redirect;
pub mod retry;

use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;
use url::Url;

use crate::net::digest::Sha256Digest;
use crate::units::Bytes;

/// What can go wrong between us and a server. URLs are shown without their query, which may hold a signature.
#[derive(Debug, Error)]
pub enum Error {
    #[error("`{url}` was not fetched: the network is off (`--offline`)")]
    Offline { url: String },
    #[error("the certificate bundle `{path}` cannot be used: {why}")]
    CertificateBundle { path: PathBuf, why: String },
    #[error("the HTTP client did not start")]
    Start(#[source] reqwest::Error),
    #[error("`{url}` did not answer")]
    Transport { url: String, source: reqwest::Error },
    #[error("the answer of `{url}` broke off")]
    Body { url: String, source: std::io::Error },
    #[error("`{url}` answered {status}{}", said(.message))]
    Status { url: String, status: u16, message: String, retry_after: Option<Duration> },
    #[error("`{url}` asks to wait {} s before the next try", .wait.as_secs())]
    AskedToWait { url: String, wait: Duration },
    #[error("`{from}` redirects to `{to}`, which is refused: {why}")]
    RedirectRefused { from: String, to: String, why: &'static str },
    #[error("`{url}` redirects in circles")]
    TooManyRedirects { url: String },
    #[error("the answer of `{url}` is longer than the {limit} that it may be")]
    TooLong { url: String, limit: Bytes },
    #[error("`{url}` sent a web page instead of the file")]
    WebPage { url: String },
    #[error("`{url}` sent another range than the one asked for ({answer})")]
    WrongRange { url: String, answer: String },
    #[error("`{url}` stopped serving ranges")]
    RangesStopped { url: String },
    #[error("`{url}` changed while it was downloaded")]
    Changed { url: String },
    #[error("`{url}` has {served} bytes, and {expected} were promised")]
    Size { url: String, expected: u64, served: u64 },
    #[error("`{name}` has sha256 {actual}, and {expected} was promised")]
    Digest { name: String, expected: Sha256Digest, actual: Sha256Digest },
    #[error("`{name}` is not what it should be: {why}")]
    Content { name: String, why: String },
    #[error("`{path}` needs {needed} more, and its disk has {free} free")]
    NoSpace { path: PathBuf, needed: Bytes, free: Bytes },
    #[error("`{path}` is {length} characters long, and this system allows {limit}")]
    PathTooLong { path: PathBuf, length: usize, limit: usize },
    #[error("another process is downloading `{path}`")]
    Busy { path: PathBuf },
    #[error(transparent)]
    File(#[from] std::io::Error),
}

/// A URL for people and logs: without user, password and query.
pub fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    // Neither can fail for the http and https URLs that come here; if they did, the text would only be longer.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.into()
}

fn said(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}
