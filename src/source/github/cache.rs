//! Small answers kept on disk: fresh ones are not asked for again, old ones are asked for by their entity tag, and serve
//! when the network does not.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header;
use serde::{Deserialize, Serialize};

use crate::net::client::{Ask, Client};
use crate::net::digest::Sha256Digest;
use crate::net::{self, Error};
use crate::units::Bytes;

#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    url: String,
    etag: Option<String>,
    /// Seconds of the epoch.
    fetched: i64,
    body: String,
}

pub(super) fn text(client: &Client, ask: &Ask, limit: Bytes, folder: &Path, fresh: Duration) -> Result<String, Error> {
    let url = ask.url.as_str();
    let path = folder.join(format!("{}.json", &Sha256Digest::of(url.as_bytes()).to_string()[..24]));
    let kept = read(&path).filter(|kept| kept.url == url);
    if let Some(kept) = &kept {
        let age = Timestamp::now().as_second() - kept.fetched;
        if (0..fresh.as_secs() as i64).contains(&age) {
            return Ok(kept.body.clone());
        }
    }
    let mut ask = ask.clone();
    if let Some(etag) = kept.as_ref().and_then(|kept| kept.etag.as_deref()) {
        ask = ask.header(header::IF_NONE_MATCH, etag);
    }
    let answer = match client.send_patiently(&ask) {
        Ok(answer) => answer,
        // A refusal is an answer of its own; silence, an exhausted limit and `--offline` are not.
        Err(error @ Error::Status { status: 400..=402 | 404 | 410, .. }) => return Err(error),
        Err(error) => return kept.map(|kept| kept.body).ok_or(error),
    };
    if answer.status == 304
        && let Some(kept) = kept
    {
        write(&path, &Kept { fetched: Timestamp::now().as_second(), ..kept }, folder);
        return read(&path).map(|kept| kept.body).ok_or(Error::Status {
            url: net::shown(&ask.url),
            status: 304,
            message: "and nothing is kept".to_owned(),
            retry_after: None,
        });
    }
    let etag = answer.header("etag").map(str::to_owned);
    let body = answer.text(limit)?;
    write(
        &path,
        &Kept { url: url.to_owned(), etag, fetched: Timestamp::now().as_second(), body: body.clone() },
        folder,
    );
    Ok(body)
}

fn read(path: &Path) -> Option<Kept> {
    if fs_err::metadata(path).ok()?.len() > super::LONGEST_KEPT {
        return None;
    }
    serde_json::from_str(&fs_err::read_to_string(path).ok()?).ok()
}

/// A cache that cannot be written is no cache, and no reason to stop.
fn write(path: &Path, kept: &Kept, folder: &Path) {
    let write = || -> std::io::Result<()> {
        fs_err::create_dir_all(folder)?;
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        serde_json::to_writer(&mut file, kept)?;
        crate::host::replace::persist(file, path)?;
        Ok(())
    };
    if let Err(error) = write() {
        tracing::debug!(%error, "an answer is not kept");
    }
}
