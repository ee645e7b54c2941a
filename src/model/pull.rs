//! Bringing a model here: into the shared cache, or as plain files into a folder. Every file is checked by its sha256
//! before it gets its name, and what is there already is checked and kept.

use std::path::{Path, PathBuf};

use reqwest::header::HeaderMap;
use serde::Serialize;
use thiserror::Error;
use url::Url;

use super::hash::sha256_of;
use super::name::{Hub, Selection};
use super::receipts::{PulledFile, Receipt, Receipts};
use super::repository::{Contents, Repository};
use crate::command::Program;
use crate::failure::Failure;
use crate::gguf::{Header, OpenError};
use crate::host::{disk, replace};
use crate::net;
use crate::net::client::{Ask, Client};
use crate::net::digest::Sha256Digest;
use crate::net::download::{Progress, Request, download};
use crate::net::redirect::Redirects;
use crate::source::hub_cache::HubCacheError;
use crate::source::huggingface::{self, Listing, RemoteFile};
use crate::source::repository::RepositoryPath;
use crate::units::{Bytes, MIB};

/// What a pull brought.
#[derive(Debug, Clone, Serialize)]
pub struct Pulled {
    pub source: String,
    pub files: Vec<File>,
    /// Files that belong to the model itself, in order: the first is what llama-server is told.
    #[serde(skip)]
    pub shards: usize,
    /// What other commands are told to use it.
    pub model: String,
    pub notes: Vec<String>,
}

#[derive(Debug, Clone, Serialize)]
pub struct File {
    pub name: String,
    pub path: PathBuf,
    pub bytes: Bytes,
    pub sha256: Option<Sha256Digest>,
    /// What the server of an address calls this version.
    #[serde(skip)]
    pub version: Option<String>,
    /// How much came over the network in this run.
    pub fetched_bytes: Bytes,
}

#[derive(Debug, Error)]
pub enum PullError {
    #[error("`{folder}` needs {needed} more for this model, and its disk has {free} free")]
    NoSpace { folder: PathBuf, needed: Bytes, free: Bytes },
    #[error("`{0}` is on this machine already")]
    Local(PathBuf),
    #[error("`{path}` is there already and is another file")]
    InTheWay { path: PathBuf },
}

/// How a pull is to be done.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Plain files into this folder, instead of the shared cache.
    pub to: Option<PathBuf>,
    /// Leave a vision model's projector out.
    pub without_projector: bool,
    /// Bring the draft heads beside the model, too.
    pub with_draft: bool,
}

/// Kept free beside the files.
const DISK_MARGIN: u64 = 64 * MIB;

/// Pulls the files of a repository that `selection` means.
pub fn from_repository(
    program: &Program,
    client: &Client,
    repository: &Repository,
    selection: &Selection,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Pulled, Failure> {
    let selected = repository.select(selection)?;
    let mut indices = selected.shards.clone();
    indices.extend(selected.projector.filter(|_| !options.without_projector));
    indices.extend(selected.mtp.filter(|_| options.with_draft));
    let mut notes = repository.notes.clone();
    notes.extend(selected.note);
    if options.with_draft && selected.mtp.is_none() {
        notes.push("its repository has no draft heads (`mtp-*.gguf`)".to_owned());
    }
    let first_name = repository.names()[indices[0]].to_owned();
    let files = match &repository.contents {
        Contents::Cached(files) => {
            notes.push("the network is off: the files were there, and the hub was not asked for newer ones".to_owned());
            indices
                .iter()
                .map(|index| kept(&files[*index].name, &files[*index].path, files[*index].bytes, None))
                .collect()
        }
        Contents::Listed { listing, asks } => {
            let wanted: Vec<Wanted<'_>> =
                indices.iter().map(|index| Wanted { file: &listing.files[*index], ask: &asks[*index] }).collect();
            notes.extend(
                wanted.iter().filter(|wanted| wanted.file.sha256.is_none()).map(|wanted| {
                    format!("the hub says no sha256 for `{}`: only its size was checked", wanted.file.name)
                }),
            );
            let puller = Puller { program, client, repository, listing, progress };
            match &options.to {
                None => puller.pull_to_cache(&wanted)?,
                Some(folder) => puller.pull_to_folder(&wanted, folder)?,
            }
        }
    };
    let prefix = if repository.hub == Hub::ModelScope { "ms:" } else { "" };
    let source = format!("{prefix}{}/{first_name}", repository.id);
    let model = files.first().map(|file| file.path.display().to_string()).unwrap_or_default();
    finish(program, Pulled { source, files, shards: selected.shards.len(), model, notes })
}

/// Pulls one file by its address into `options.to`, or into a folder of ours.
pub fn from_url(
    program: &Program,
    client: &Client,
    url: &Url,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Pulled, Failure> {
    let name = name_of_url(url)?;
    let text = name.to_string();
    let remote = crate::source::remote_header::RemoteHeader::fetch(client, &Ask::get(url.clone(), Redirects::Any))?;
    Header::read(&remote).map_err(|error| OpenError { file: text.clone(), error })?;
    let headers = remote.hops.first().map_or(&remote.headers, |hop| &hop.headers);
    let promised = huggingface::linked_sha256(headers);
    let version = version_of(&remote.headers);
    let folder = match &options.to {
        Some(folder) => folder.clone(),
        None => folder_of_url(program, url)?,
    };
    let path = folder.join(name.file_name());
    let size = crate::gguf::Bytes::len(&remote);
    let known = || unchanged(program, url, &path, size, version.as_deref());
    let sha256 = match promised {
        Some(promised) => Some(promised),
        None => known()?,
    };
    let request =
        Request { size: Some(size), sha256, sniff: Some(sniff), ..Request::new(url.clone(), path, Redirects::Any) };
    let done = download(client, &request, progress)?;
    let mut notes = Vec::new();
    if promised.is_none() && done.fetched.0 > 0 {
        notes.push(format!("its server says no sha256; this one has {}", done.sha256));
    }
    let file = File {
        name: text,
        path: done.path,
        bytes: done.size,
        sha256: Some(done.sha256),
        version,
        fetched_bytes: done.fetched,
    };
    let model = file.path.display().to_string();
    finish(program, Pulled { source: url.to_string(), files: vec![file], shards: 1, model, notes })
}

/// `ETag`, else `Last-Modified`: what a server without digests says of a file's version.
fn version_of(headers: &HeaderMap) -> Option<String> {
    let named = |name: &str| headers.get(name)?.to_str().ok().map(str::to_owned);
    named("etag").or_else(|| named("last-modified"))
}

/// The digest of the file that an earlier pull brought from this address, if its server still has that version.
fn unchanged(
    program: &Program,
    url: &Url,
    path: &Path,
    size: u64,
    version: Option<&str>,
) -> Result<Option<Sha256Digest>, Failure> {
    let path = std::path::absolute(path)?;
    let receipts = Receipts::in_home(&program.home()?).read()?;
    let mut pulled = receipts.iter().rev().filter(|receipt| receipt.source == url.as_str()).flat_map(|one| &one.files);
    let same = pulled.find(|file| {
        file.path == path && file.bytes.0 == size && version.is_some() && file.version.as_deref() == version
    });
    Ok(same.and_then(|file| file.sha256))
}

/// What the file at an address is called; refused where that is no file name everywhere.
pub fn name_of_url(url: &Url) -> Result<RepositoryPath, Failure> {
    let text = url.path_segments().and_then(Iterator::last).unwrap_or_default();
    Ok(text.parse().map_err(super::name::ModelNameError::from)?)
}

/// Our own folder for files from an address.
pub fn folder_of_url(program: &Program, url: &Url) -> Result<PathBuf, Failure> {
    Ok(program.home()?.join("models").join(url.host_str().unwrap_or("unknown").replace(':', "_")))
}

/// Writes the receipt.
fn finish(program: &Program, pulled: Pulled) -> Result<Pulled, Failure> {
    let file = |file: &File| PulledFile {
        path: std::path::absolute(&file.path).unwrap_or_else(|_| file.path.clone()),
        bytes: file.bytes,
        sha256: file.sha256,
        version: file.version.clone(),
        ours: file.fetched_bytes.0 > 0,
    };
    let receipt = Receipt { source: pulled.source.clone(), files: pulled.files.iter().map(file).collect() };
    Receipts::in_home(&program.home()?).add(receipt)?;
    Ok(pulled)
}

struct Wanted<'a> {
    file: &'a RemoteFile,
    ask: &'a Ask,
}

struct Puller<'a> {
    program: &'a Program,
    client: &'a Client,
    repository: &'a Repository,
    listing: &'a Listing,
    progress: &'a dyn Progress,
}

impl Puller<'_> {
    fn pull_to_cache(&self, wanted: &[Wanted<'_>]) -> Result<Vec<File>, Failure> {
        let cached = &self.repository.cached;
        let missing = wanted.iter().filter(|wanted| {
            !cached.blob_path(&wanted.file.etag).exists()
                && !cached.snapshot_path(&self.listing.commit, &wanted.file.name).exists()
        });
        let blobs = cached.folder().join("blobs");
        check_space(cached.folder(), missing.map(|wanted| (wanted.file.bytes, blobs.join(&wanted.file.etag))))?;
        let mut files = Vec::new();
        for Wanted { file, ask } in wanted {
            files.push(self.pull_one_to_cache(file, ask)?);
        }
        cached.write_reference(&self.listing.revision, &self.listing.commit)?;
        Ok(files)
    }

    fn pull_one_to_cache(&self, file: &RemoteFile, ask: &Ask) -> Result<File, Failure> {
        let cached = &self.repository.cached;
        let commit = &self.listing.commit;
        let _lock = match cached.lock(&file.etag, false) {
            Err(HubCacheError::Locked { .. }) => {
                self.progress.noted(&format!("another program is downloading `{}`: waiting for it", file.name));
                cached.lock(&file.etag, true)?
            }
            lock => lock?,
        };
        let snapshot = cached.snapshot_path(commit, &file.name);
        let blob = cached.blob_path(&file.etag);
        for there in [&blob, &snapshot] {
            if !is_file_of(there, file.bytes) {
                continue;
            }
            if self.is_right(there, file)? {
                let is_blob = there == &blob;
                let path =
                    if is_blob { cached.publish(commit, &file.name, &file.etag, false)? } else { snapshot.clone() };
                return Ok(kept(&file.name, &path, file.bytes, file.sha256));
            }
            self.progress.noted(&format!("`{}` is damaged: downloading it again", there.display()));
            replace::remove_file(there)?;
        }
        if blob.exists() {
            // Of another length than its name promises: cut off by a program that gave it its name too early.
            replace::remove_file(&blob)?;
        }
        if let Some(twin) = cached.twin(commit, &file.name, file.bytes)
            && file.sha256.is_some()
            && self.is_right(&twin, file)?
        {
            // Without links an older commit's snapshot may be the only place of the very same bytes.
            let path = cached.share(&twin, commit, &file.name)?;
            return Ok(kept(&file.name, &path, file.bytes, file.sha256));
        }
        let done = self.download(file, ask, &blob)?;
        let path = cached.publish(commit, &file.name, &file.etag, true)?;
        Ok(File { path, ..done })
    }

    fn pull_to_folder(&self, wanted: &[Wanted<'_>], folder: &Path) -> Result<Vec<File>, Failure> {
        let path = |wanted: &Wanted<'_>| folder.join(wanted.file.name.file_name());
        let missing = wanted.iter().filter(|wanted| !path(wanted).exists());
        check_space(folder, missing.map(|wanted| (wanted.file.bytes, path(wanted))))?;
        let mut files = Vec::new();
        for one in wanted {
            let (path, file) = (path(one), one.file);
            if path.exists() {
                if !is_file_of(&path, file.bytes) || !self.is_right(&path, file)? {
                    return Err(PullError::InTheWay { path }.into());
                }
                files.push(kept(&file.name, &path, file.bytes, file.sha256));
            } else {
                files.push(self.download(file, one.ask, &path)?);
            }
        }
        Ok(files)
    }

    /// Whether a file's bytes are those that the hub promises; where it promises nothing, its length has to do.
    fn is_right(&self, path: &Path, file: &RemoteFile) -> Result<bool, Failure> {
        let Some(expected) = file.sha256 else { return Ok(true) };
        Ok(sha256_of(path, &format!("checking {}", file.name.file_name()), self.progress)? == expected)
    }

    fn download(&self, file: &RemoteFile, ask: &Ask, destination: &Path) -> Result<File, Failure> {
        let request = Request {
            size: Some(file.bytes),
            sha256: file.sha256,
            authorization: ask.authorization.clone(),
            sniff: file.name.as_str().ends_with("gguf").then_some(sniff as net::download::Sniff),
            label: Some(file.name.file_name().to_owned()),
            ..Request::new(ask.url.clone(), destination, ask.redirects.clone())
        };
        let done = download(self.client, &request, self.progress)
            .map_err(|error| self.repository.explain(self.program, self.client, self.listing, file, error))?;
        Ok(File {
            name: file.name.to_string(),
            path: done.path,
            bytes: done.size,
            sha256: Some(done.sha256),
            version: None,
            fetched_bytes: done.fetched,
        })
    }
}

fn kept(name: &RepositoryPath, path: &Path, bytes: u64, sha256: Option<Sha256Digest>) -> File {
    File {
        name: name.to_string(),
        path: path.to_owned(),
        bytes: Bytes(bytes),
        sha256,
        version: None,
        fetched_bytes: Bytes(0),
    }
}

fn is_file_of(path: &Path, bytes: u64) -> bool {
    fs_err::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.len() == bytes)
}

/// All files must fit before the first is begun. What an earlier run left is room already taken.
fn check_space(folder: &Path, missing: impl Iterator<Item = (u64, PathBuf)>) -> Result<(), Failure> {
    let mut needed = 0;
    for (bytes, destination) in missing {
        if !net::download::is_begun(&destination) {
            needed += bytes;
        }
    }
    let free = disk::free(folder)?;
    if needed > 0 && needed + DISK_MARGIN > free.0 {
        return Err(PullError::NoSpace { folder: folder.to_owned(), needed: Bytes(needed), free }.into());
    }
    Ok(())
}

/// The first bytes of a model; anything else is not worth its gigabytes.
fn sniff(bytes: &[u8]) -> Result<(), String> {
    let Some(start) = bytes.first_chunk::<8>() else { return Err("it is too short for a GGUF file".to_owned()) };
    match (&start[..4], u32::from_le_bytes([start[4], start[5], start[6], start[7]])) {
        (b"GGUF", 2 | 3) => Ok(()),
        (b"GGUF", version) => Err(format!("it is GGUF version {version}, and llama.cpp reads 2 and 3")),
        (b"vers", _) => Err("it is a Git LFS pointer instead of the file that it points to".to_owned()),
        _ if start.trim_ascii_start().starts_with(b"<") => Err("it is a web page instead of a GGUF file".to_owned()),
        _ => Err(format!("it begins with `{}` instead of `GGUF`", start.escape_ascii())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_tell_a_model() {
        assert_eq!(sniff(b"GGUF\x03\0\0\0\x01\0\0\0\0\0\0\0"), Ok(()));
        for (bytes, word) in [
            (&b"version https://"[..], "LFS"),
            (b"<!DOCTYPE html>", "web page"),
            (b"GGUF\x01\0\0\0", "version 1"),
            (b"PK\x03\x04\0\0\0\0", "begins with `PK"),
            (b"GG", "too short"),
        ] {
            assert!(sniff(bytes).unwrap_err().contains(word), "{bytes:?}");
        }
    }
}
