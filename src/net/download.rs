//! One file over the network: slices in parallel, a journal, and the digest before the file gets its name.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use reqwest::header;
use url::Url;

use crate::net::client::{Answer, Ask, Client, Secret, content_type};
use crate::net::digest::Sha256Digest;
use crate::net::journal::{Identity, Journal, RangeSet};
use crate::net::redirect::{Redirects, same_origin};
use crate::net::{Error, shown};
use crate::units::{Bytes, MIB};

mod part;
mod slices;
mod whole;

use part::Part;

/// What to download, where to, and what is known of it beforehand.
#[derive(Debug, Clone)]
pub struct Request {
    pub url: Url,
    /// The file's final path. Beside it lie `NAME.part`, `NAME.part.journal` and `NAME.part.lock` while it is not whole.
    pub destination: PathBuf,
    pub size: Option<u64>,
    pub sha256: Option<Sha256Digest>,
    pub authorization: Option<Secret>,
    pub redirects: Redirects,
    /// How many slices are fetched at once.
    pub connections: usize,
    pub slice: Bytes,
    /// Looks at the first bytes (at most [`SNIFFED`]) as soon as they are there, and says what is wrong with them.
    pub sniff: Option<Sniff>,
    /// What people call the file, where its name on the disk says nothing.
    pub label: Option<String>,
}

pub type Sniff = fn(&[u8]) -> Result<(), String>;

pub const SNIFFED: usize = 16;
pub const SLICE: Bytes = Bytes(16 * MIB);
pub const CONNECTIONS: usize = 8;

impl Request {
    pub fn new(url: Url, destination: impl Into<PathBuf>, redirects: Redirects) -> Self {
        Self {
            url,
            destination: destination.into(),
            size: None,
            sha256: None,
            authorization: None,
            redirects,
            connections: CONNECTIONS,
            slice: SLICE,
            sniff: None,
            label: None,
        }
    }

    fn name(&self) -> String {
        if let Some(label) = &self.label {
            return label.clone();
        }
        self.destination.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// Who is told how a download goes. Called from several threads.
pub trait Progress: Sync {
    /// A file begins, or begins again; `already` of its bytes were on the disk.
    fn started(&self, name: &str, total: Option<Bytes>, already: Bytes);
    /// This many more bytes have arrived.
    fn advanced(&self, bytes: u64);
    /// Something that a patient reader would like to know: a wait, a restart.
    fn noted(&self, text: &str);
    fn finished(&self);
}

/// Tells nobody.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {
    fn started(&self, _: &str, _: Option<Bytes>, _: Bytes) {}
    fn advanced(&self, _: u64) {}
    fn noted(&self, _: &str) {}
    fn finished(&self) {}
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Downloaded {
    pub path: PathBuf,
    pub size: Bytes,
    pub sha256: Sha256Digest,
    /// How much came over the network in this run.
    pub fetched: Bytes,
}

const BUFFER: usize = 1 << 17;
/// How often a file is begun again because it changed, or because its resumed part was bad.
const MOST_RESTARTS: u32 = 2;
/// Kept free on the disk beside the file itself.
const DISK_MARGIN: u64 = 16 * MIB;

/// Downloads a file, or finishes what an earlier run began. The file has its name only when it is whole and its digest right.
pub fn download(client: &Client, request: &Request, progress: &dyn Progress) -> Result<Downloaded, Error> {
    part::check_length(&request.destination)?;
    if let Some(there) = already_there(request)? {
        // A kill between the file's naming and the journal's end leaves a journal.
        part::remove(&request.destination)?;
        return Ok(there);
    }
    if let Some(folder) = request.destination.parent() {
        fs_err::create_dir_all(folder)?;
    }
    let lock = part::Lock::take(&request.destination)?;
    if let Some(there) = already_there(request)? {
        lock.release();
        return Ok(there);
    }
    let fetched = AtomicU64::new(0);
    let mut ranges = Ranges::Wanted;
    let mut restarts = 0;
    let result = loop {
        let transfer = Transfer { client, request, progress, fetched: &fetched };
        let (error, resumed) = match transfer.run(ranges) {
            Ok(done) => break Ok(done),
            Err(failed) => failed,
        };
        restarts += 1;
        let again = restarts <= MOST_RESTARTS
            && match &error {
                Error::Changed { .. } => true,
                Error::Digest { .. } | Error::Content { .. } => resumed,
                Error::WrongRange { .. } | Error::RangesStopped { .. } => ranges == Ranges::Wanted,
                _ => false,
            };
        match &error {
            Error::WrongRange { .. } | Error::RangesStopped { .. } => ranges = Ranges::Unwanted,
            Error::Changed { .. } | Error::Digest { .. } | Error::Content { .. } | Error::Size { .. } => {
                part::remove(&request.destination)?;
            }
            _ => {}
        }
        if !again {
            break Err(error);
        }
        progress.noted(&format!("{error}; beginning it again"));
    };
    progress.finished();
    lock.release();
    result
}

/// A file that is there already counts when its size and digest are right; with neither known, it is fetched again.
fn already_there(request: &Request) -> Result<Option<Downloaded>, Error> {
    let size = match fs_err::metadata(&request.destination) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let (Some(expected), true) = (request.sha256, request.size.is_none_or(|expected| expected == size)) else {
        return Ok(None);
    };
    let sha256 = Sha256Digest::of_file(&request.destination)?;
    let there = Downloaded { path: request.destination.clone(), size: Bytes(size), sha256, fetched: Bytes(0) };
    Ok((sha256 == expected).then_some(there))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ranges {
    Wanted,
    /// This server cannot be trusted with them.
    Unwanted,
}

struct Transfer<'a> {
    client: &'a Client,
    request: &'a Request,
    progress: &'a dyn Progress,
    fetched: &'a AtomicU64,
}

/// The error, and whether bytes of an earlier run took part in it.
type Failed = (Error, bool);

impl Transfer<'_> {
    fn run(&self, ranges: Ranges) -> Result<Downloaded, Failed> {
        let fresh = |error: Error| (error, false);
        let (known, arrived) = self.left_behind().map_err(fresh)?.unzip();
        let arrived = arrived.unwrap_or_default();
        let resumed = arrived.bytes() > 0;
        if let Some(identity) = &known
            && arrived.front() == identity.size
        {
            return self.finish(None, identity.size).map_err(|error| (error, resumed));
        }
        if ranges == Ranges::Unwanted {
            return self.whole(None).map_err(fresh);
        }
        let first = known.as_ref().map_or(0..self.request.slice.0, |identity| {
            arrived.missing(identity.size, self.request.slice.0).first().cloned().unwrap_or(0..1)
        });
        let answer = self.first_answer(&first, known.as_ref()).map_err(|error| (error, resumed))?;
        if answer.status == 416 {
            // An empty file has no first byte.
            let is_empty = self.request.size.unwrap_or(0) == 0 && answer.header("content-range") == Some("bytes */0");
            return if is_empty { self.empty().map_err(fresh) } else { Err((changed(&answer), resumed)) };
        }
        if answer.status != 206 {
            return match known {
                Some(_) if etag(&answer) != known.and_then(|identity| identity.etag) => {
                    Err((changed(&answer), resumed))
                }
                _ => self.whole(Some(answer)).map_err(fresh),
            };
        }
        let moved_on =
            |known: &Identity| known.etag.is_some() && etag(&answer).is_some() && known.etag != etag(&answer);
        if known.as_ref().is_some_and(moved_on) {
            return Err((changed(&answer), resumed));
        }
        let total = checked_range(&answer, &first, known.as_ref().map(|identity| identity.size)).map_err(fresh)?;
        self.check_size(&answer.url, total).map_err(fresh)?;
        let identity =
            Identity { url: shown(&self.request.url), size: total, etag: etag(&answer), sha256: self.request.sha256 };
        self.in_slices(identity, arrived, first, answer).map_err(|error| (error, resumed))
    }

    /// The journal and ranges of an earlier run, if they are of this very file.
    fn left_behind(&self) -> Result<Option<(Identity, RangeSet)>, Error> {
        let Some((identity, arrived)) = Journal::read(&part::journal_path(&self.request.destination))? else {
            return Ok(None);
        };
        let part_size =
            fs_err::metadata(part::part_path(&self.request.destination)).map_or(0, |metadata| metadata.len());
        let is_same = match (identity.sha256, self.request.sha256) {
            // The same content from another mirror continues the same file.
            (Some(before), Some(now)) => before == now,
            _ => identity.url == shown(&self.request.url),
        };
        let is_ours =
            is_same && part_size == identity.size && self.request.size.is_none_or(|expected| expected == identity.size);
        Ok(is_ours.then_some((identity, arrived)))
    }

    fn first_answer(&self, range: &Range<u64>, known: Option<&Identity>) -> Result<Answer, Error> {
        let mut failures = 0;
        loop {
            let asked = self.client.send(&self.ask(&self.request.url, Some(range), known)).and_then(|answer| {
                if answer.status == 416 { Ok(answer) } else { answer.good().and_then(not_a_web_page) }
            });
            match asked {
                Ok(answer) => return Ok(answer),
                Err(error) => self.pause(error, &mut failures, None)?,
            }
        }
    }

    fn ask(&self, url: &Url, range: Option<&Range<u64>>, known: Option<&Identity>) -> Ask {
        let mut ask = Ask::get(url.clone(), self.request.redirects.clone());
        if let Some(range) = range {
            // A range even for the whole: some hosts refuse to send very large files without one.
            ask = ask.header(header::RANGE, format!("bytes={}-{}", range.start, range.end - 1));
            if let Some(etag) = known.and_then(|identity| identity.etag.as_deref()) {
                ask = ask.header(header::IF_RANGE, etag);
            }
        }
        // A resolved URL is asked directly, and may be of another host: the secret is for the one that was named.
        let is_home = same_origin(&self.request.url, url);
        ask.authorized(self.request.authorization.clone().filter(|_| is_home))
    }

    /// Waits before another try, or gives the error back when there shall be none.
    fn pause(&self, error: Error, failures: &mut u32, stop: Option<&AtomicBool>) -> Result<(), Error> {
        *failures += 1;
        let Some(wait) = self.client.settings.retry.wait(&error, *failures) else {
            return Err(self.client.settings.retry.explained(error));
        };
        tracing::debug!(%error, ?wait, "trying again");
        if wait > Duration::from_secs(2) {
            self.progress.noted(&format!("{error}; trying again in {} s", wait.as_secs()));
        }
        let until = Instant::now() + wait;
        while Instant::now() < until && !stop.is_some_and(|stop| stop.load(Ordering::Relaxed)) {
            std::thread::sleep((until - Instant::now()).min(Duration::from_millis(50)));
        }
        Ok(())
    }

    fn check_size(&self, url: &Url, served: u64) -> Result<(), Error> {
        match self.request.size {
            Some(expected) if expected != served => Err(Error::Size { url: shown(url), expected, served }),
            _ => Ok(()),
        }
    }

    fn sniff(&self, bytes: &[u8]) -> Result<(), Error> {
        let look = self.request.sniff.unwrap_or(|_| Ok(()));
        look(&bytes[..bytes.len().min(SNIFFED)]).map_err(|why| Error::Content { name: self.request.name(), why })
    }

    fn empty(&self) -> Result<Downloaded, Error> {
        Part::open(&self.request.destination, Some(0))?;
        self.finish(None, 0)
    }

    /// Compares the digest and gives the file its name.
    fn finish(&self, hashed: Option<Sha256Digest>, size: u64) -> Result<Downloaded, Error> {
        let sha256 = match hashed {
            Some(sha256) => sha256,
            None => Sha256Digest::of_file(&part::part_path(&self.request.destination))?,
        };
        if let Some(expected) = self.request.sha256.filter(|expected| *expected != sha256) {
            return Err(Error::Digest { name: self.request.name(), expected, actual: sha256 });
        }
        part::settle(&self.request.destination)?;
        Ok(Downloaded {
            path: self.request.destination.clone(),
            size: Bytes(size),
            sha256,
            fetched: Bytes(self.fetched.load(Ordering::Relaxed)),
        })
    }
}

/// A strong entity tag; a weak one promises nothing about bytes.
fn etag(answer: &Answer) -> Option<String> {
    answer.header("etag").filter(|etag| !etag.starts_with("W/")).map(str::to_owned)
}

fn changed(answer: &Answer) -> Error {
    Error::Changed { url: shown(&answer.url) }
}

/// A login page of a hotel, or an error page with status 200.
fn not_a_web_page(answer: Answer) -> Result<Answer, Error> {
    let is_page = content_type(&answer.headers).is_some_and(|kind| kind.starts_with("text/html"));
    if is_page { Err(Error::WebPage { url: shown(&answer.url) }) } else { Ok(answer) }
}

/// The whole file's size from `Content-Range: bytes START-END/TOTAL`, when it is the range that was asked for.
fn checked_range(answer: &Answer, asked: &Range<u64>, size: Option<u64>) -> Result<u64, Error> {
    let text = answer.header("content-range").unwrap_or("none");
    let parsed = text.strip_prefix("bytes ").and_then(|rest| {
        let (range, total) = rest.split_once('/')?;
        let (start, end) = range.split_once('-')?;
        Some((start.parse::<u64>().ok()?, end.parse::<u64>().ok()?, total.parse::<u64>().ok()?))
    });
    match parsed {
        Some((start, last, total))
            if start == asked.start && last >= start && last < total && last < asked.end && total > 0 =>
        {
            match size {
                Some(size) if size != total => Err(changed(answer)),
                _ => Ok(total),
            }
        }
        _ => Err(Error::WrongRange { url: shown(&answer.url), answer: text.to_owned() }),
    }
}

/// Whether anything of an unfinished download lies beside `destination`.
pub fn is_begun(destination: &Path) -> bool {
    part::part_path(destination).exists()
}
