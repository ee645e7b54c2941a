//! The header of a GGUF file on a server, without the file: a few ranged requests, and little more than the header's own
//! length. A server that ignores ranges is read from the start and left as soon as the header is whole.

use std::io::{self, Read as _};

use reqwest::header::RANGE;
use thiserror::Error;

use crate::gguf::{Bytes, Extent, Reach};
use crate::net;
use crate::net::client::{Answer, Ask, Client, Hop};
use crate::units::{KIB, MIB};

/// What is asked for first: covers a header without vocabulary, and whatever is too much is not more than this.
const FIRST: u64 = 256 * KIB;
/// The last request may go this far past the estimate; reading stops where the header does.
const SLACK: u64 = 128 * KIB;
/// How much of the estimated header the second request asks for: enough to know the rest well, too little to be too much.
const SECOND_SHARE: f64 = 0.88;
/// The largest real headers have some 20 MB; a file that claims more than this is broken or hostile.
const LARGEST: u64 = 256 * MIB;
/// Read at a time, so that reading stops soon after the end.
const STEP: usize = 32 << 10;

#[derive(Debug, Error)]
pub enum RemoteHeaderError {
    #[error(transparent)]
    Net(#[from] net::Error),
    #[error("the header of `{url}` goes on after {limit} bytes")]
    TooLong { url: String, limit: u64 },
}

/// The first bytes of a remote file, as far as its header goes.
#[derive(Debug)]
pub struct RemoteHeader {
    start: Vec<u8>,
    /// Of the whole file, bytes.
    length: u64,
    pub requests: u32,
    /// The redirects of the first answer: the hub tells size and sha256 there.
    pub hops: Vec<Hop>,
    /// The first answer's own headers.
    pub headers: reqwest::header::HeaderMap,
}

impl RemoteHeader {
    /// Fetches as much of the start as the header needs. `ask` is a GET of the file.
    pub fn fetch(client: &Client, ask: &Ask) -> Result<Self, RemoteHeaderError> {
        let mut fetch =
            Fetch { client, ask: ask.clone(), bytes: Vec::new(), extent: Extent::default(), length: None, requests: 0 };
        let (hops, headers) = fetch.read_to(FIRST)?.unwrap_or_default();
        let mut reach = fetch.reach();
        while let Reach::GoesOn { item, header } = reach {
            let present = fetch.bytes.len() as u64;
            if fetch.length.is_some_and(|length| present >= length) {
                break;
            }
            if present >= LARGEST {
                return Err(RemoteHeaderError::TooLong { url: net::shown(&ask.url), limit: LARGEST });
            }
            fetch.read_to(next_end(present, item, header, fetch.requests))?;
            reach = fetch.reach();
        }
        let Fetch { bytes, length, requests, .. } = fetch;
        Ok(Self { length: length.unwrap_or(bytes.len() as u64), start: bytes, requests, hops, headers })
    }

    /// Bytes that were read from the network.
    pub fn downloaded(&self) -> u64 {
        self.start.len() as u64
    }
}

/// Where the next request ends.
fn next_end(present: u64, item: u64, header: u64, requests: u32) -> u64 {
    let whole = header.saturating_add(SLACK);
    // Far to go: look at most of it before guessing the rest.
    let end = if requests < 2 && header - present > 2 * FIRST {
        ((header as f64 * SECOND_SHARE) as u64).max(header.min(item.saturating_add(STEP as u64)))
    } else {
        whole
    };
    end.clamp(present + SLACK, LARGEST.max(present + SLACK))
}

impl Bytes for RemoteHeader {
    fn len(&self) -> u64 {
        self.length
    }

    /// Past the header there is nothing to see: a reader's window is filled up with zeros.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        if offset.saturating_add(into.len() as u64) > self.length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.start.len());
        let there = (self.start.len() - start).min(into.len());
        into[..there].copy_from_slice(&self.start[start..start + there]);
        into[there..].fill(0);
        Ok(())
    }
}

type FirstAnswer = (Vec<Hop>, reqwest::header::HeaderMap);

struct Fetch<'a> {
    client: &'a Client,
    ask: Ask,
    bytes: Vec<u8>,
    extent: Extent,
    length: Option<u64>,
    requests: u32,
}

impl Fetch<'_> {
    fn reach(&mut self) -> Reach {
        if self.is_no_gguf() {
            return Reach::Ends(self.bytes.len() as u64);
        }
        self.extent.walk(&self.bytes)
    }

    fn has_ended(&mut self) -> bool {
        self.is_no_gguf() || self.extent.end(&self.bytes).is_some()
    }

    /// The reader of the header says what it is instead.
    fn is_no_gguf(&self) -> bool {
        self.bytes.len() >= 4 && !self.bytes.starts_with(b"GGUF")
    }

    /// Reads on until `end`, the file's end or the header's, whichever comes first. Answers what the first answer said.
    fn read_to(&mut self, end: u64) -> Result<Option<FirstAnswer>, RemoteHeaderError> {
        let retry = self.client.settings.retry;
        let mut failures = 0;
        let mut first = None;
        loop {
            let before = self.bytes.len();
            let error = match self.request(end, &mut first) {
                Ok(()) => return Ok(first),
                Err(error) => error,
            };
            failures = if self.bytes.len() > before { 1 } else { failures + 1 };
            match retry.wait(&error, failures) {
                Some(wait) => std::thread::sleep(wait),
                None => return Err(retry.explained(error).into()),
            }
        }
    }

    fn request(&mut self, end: u64, first: &mut Option<FirstAnswer>) -> Result<(), net::Error> {
        let start = self.bytes.len() as u64;
        let end = self.length.map_or(end, |length| end.min(length));
        if end <= start {
            return Ok(());
        }
        self.requests += 1;
        let ask = self.ask.clone().header(RANGE, format!("bytes={start}-{}", end - 1));
        let answer = match self.client.send(&ask)?.good() {
            // A file shorter than the range has no such part: it is empty.
            Err(net::Error::Status { status: 416, .. }) if start == 0 => {
                self.length = Some(0);
                return Ok(());
            }
            answer => answer?,
        };
        self.take_length(&answer, start)?;
        if first.is_none() {
            *first = Some((answer.hops.clone(), answer.headers.clone()));
        }
        if let Some(hop) = answer.hops.first().filter(|hop| hop.url == self.ask.url) {
            // What the redirect led to is asked directly from now on, without the secret that is not meant for it.
            tracing::debug!(from = net::shown(&hop.url), to = net::shown(&answer.url), "going on there");
            self.ask.url = answer.url.clone();
            self.ask.authorization = None;
        }
        let wanted = self.length.map_or(end, |length| end.min(length));
        self.read_body(answer, wanted)
    }

    /// Learns the file's length, and drops what was read when the server sends it from the start again.
    fn take_length(&mut self, answer: &Answer, start: u64) -> Result<(), net::Error> {
        if answer.status == 206 {
            let text = answer.header("content-range").unwrap_or_default();
            let total = text.rsplit_once('/').and_then(|(_, total)| total.parse::<u64>().ok());
            let begins = text.strip_prefix("bytes ").and_then(|rest| rest.split('-').next()?.parse::<u64>().ok());
            let (Some(total), true) = (total, begins == Some(start)) else {
                return Err(net::Error::WrongRange { url: net::shown(&answer.url), answer: text.to_owned() });
            };
            if self.length.is_some_and(|length| length != total) {
                return Err(net::Error::Changed { url: net::shown(&answer.url) });
            }
            self.length = Some(total);
        } else {
            self.bytes.clear();
            self.extent = Extent::default();
            self.length = answer.header("content-length").and_then(|length| length.parse().ok());
        }
        Ok(())
    }

    fn read_body(&mut self, answer: Answer, end: u64) -> Result<(), net::Error> {
        let is_whole_file = answer.status != 206;
        let url = net::shown(&answer.url);
        let mut body = answer.body;
        let mut step = vec![0; STEP];
        loop {
            let left = end.saturating_sub(self.bytes.len() as u64);
            if left == 0 && !is_whole_file {
                return Ok(());
            }
            let room = if is_whole_file { STEP } else { STEP.min(usize::try_from(left).unwrap_or(STEP)) };
            let count = body.read(&mut step[..room]).map_err(|source| net::Error::Body { url: url.clone(), source })?;
            if count == 0 {
                if is_whole_file && self.length.is_none() {
                    self.length = Some(self.bytes.len() as u64);
                }
                let is_short = self.length.is_some_and(|length| (self.bytes.len() as u64) < end.min(length));
                let source = io::ErrorKind::UnexpectedEof.into();
                return if is_short { Err(net::Error::Body { url, source }) } else { Ok(()) };
            }
            self.bytes.extend_from_slice(&step[..count]);
            if self.has_ended() || self.bytes.len() as u64 >= LARGEST {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_grow_towards_the_estimate() {
        assert_eq!(next_end(FIRST, 300_000, 300_000, 1), FIRST + SLACK.max(300_000 + SLACK - FIRST));
        let far = next_end(FIRST, 2_000_000, 10_000_000, 1);
        assert!((8_500_000..9_000_000).contains(&far), "{far}");
        assert_eq!(next_end(8_000_000, 9_000_000, 10_000_000, 2), 10_000_000 + SLACK);
        assert_eq!(next_end(FIRST, u64::MAX, u64::MAX, 2), LARGEST);
    }

    #[test]
    fn past_the_header_there_are_zeros_and_past_the_file_nothing() {
        let headers = reqwest::header::HeaderMap::new();
        let remote = RemoteHeader { start: vec![1, 2], length: 6, requests: 1, hops: Vec::new(), headers };
        let mut window = [9; 4];
        remote.read_at(1, &mut window).unwrap();
        assert_eq!(window, [2, 0, 0, 0]);
        assert!(remote.read_at(4, &mut window).is_err());
    }
}
