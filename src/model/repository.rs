//! One repository of models: what the hub lists, or, without the hub, what the cache holds.

use std::path::PathBuf;

use super::name::{Hub, ModelNameError, Selection};
use super::selection::{Selected, select};
use crate::command::Program;
use crate::failure::Failure;
use crate::gguf::{Header, Model, OpenError};
use crate::net;
use crate::net::client::{Ask, Client};
use crate::net::digest::Sha256Digest;
use crate::source::hub_cache::{CachedFile, CachedRepository, HubCache};
use crate::source::huggingface::{self, HuggingFace, Listing, RemoteFile};
use crate::source::modelscope::ModelScope;
use crate::source::remote_header::{RemoteHeader, RemoteHeaderError};
use crate::source::repository::RepositoryId;

/// A repository as it can be seen now.
#[derive(Debug)]
pub struct Repository {
    pub hub: Hub,
    pub id: RepositoryId,
    pub cached: CachedRepository,
    pub contents: Contents,
    /// Why the hub was not asked, or what it would not do.
    pub notes: Vec<String>,
}

#[derive(Debug)]
pub enum Contents {
    /// What the hub lists, and for each file how it is fetched.
    Listed { listing: Listing, asks: Vec<Ask> },
    /// The files of the newest snapshot in the cache.
    Cached(Vec<CachedFile>),
}

impl Repository {
    /// Asks the hub; offline, or when the hub does not answer, looks into the cache.
    pub fn look(
        program: &Program,
        client: &Client,
        hub: Hub,
        id: &RepositoryId,
        revision: Option<&str>,
    ) -> Result<Self, Failure> {
        let cached = cache_of(program, hub)?.repository(id);
        let mut notes = Vec::new();
        let mut asked = client.clone();
        if !newest_files(&cached, revision).is_empty() {
            // With the files at hand nobody has to wait long for a hub that does not answer.
            asked.settings.retry.tries = asked.settings.retry.tries.min(2);
        }
        let is_offline = program.global.offline || huggingface::is_offline(&program.host);
        if !is_offline {
            match list(program, &asked, hub, id, revision) {
                Ok((listing, asks)) => {
                    let contents = Contents::Listed { listing, asks };
                    return Ok(Self { hub, id: id.clone(), cached, contents, notes });
                }
                Err(error) if error.is_temporary() && !newest_files(&cached, revision).is_empty() => {
                    notes.push(format!("{error}: what the cache holds is used instead"));
                }
                Err(error) => return Err(error.into()),
            }
        }
        let files = newest_files(&cached, revision);
        if files.is_empty() {
            return Err(ModelNameError::NotCached { repository: id.clone() }.into());
        }
        Ok(Self { hub, id: id.clone(), cached, contents: Contents::Cached(files), notes })
    }

    pub fn names(&self) -> Vec<&str> {
        match &self.contents {
            Contents::Listed { listing, .. } => listing.names(),
            Contents::Cached(files) => files.iter().map(|file| file.name.as_str()).collect(),
        }
    }

    pub fn select(&self, selection: &Selection) -> Result<Selected, Failure> {
        Ok(select(&self.id, &self.names(), selection)?)
    }

    /// The catalogue's digest of a file stands in for one that the hub leaves out. Where the hub's is another, its makers
    /// replaced the file, and people are told.
    pub fn compare(&mut self, name: &str, known: Sha256Digest) {
        let Contents::Listed { listing, .. } = &mut self.contents else { return };
        let Some(file) = listing.files.iter_mut().find(|file| file.name.as_str() == name) else { return };
        match file.sha256 {
            None => file.sha256 = Some(known),
            Some(listed) if listed != known => self.notes.push(format!(
                "the hub's `{name}` is not the file that the catalogue knows ({listed}, and not {known}): it was replaced since"
            )),
            Some(_) => {}
        }
    }

    /// Where a file lies in the cache, if all of it is there.
    pub fn local_path(&self, index: usize) -> Option<PathBuf> {
        match &self.contents {
            Contents::Cached(files) => files.get(index).map(|file| file.path.clone()),
            Contents::Listed { listing, .. } => {
                let file = listing.files.get(index)?;
                let there = self.cached.file(&listing.commit, &file.name).filter(|there| there.bytes == file.bytes);
                // Another snapshot may hold the very same bytes; the first file's siblings must then be there too.
                there.map(|there| there.path)
            }
        }
    }

    /// Where `pull` will put a file.
    pub fn path_after_pull(&self, index: usize) -> Option<PathBuf> {
        match &self.contents {
            Contents::Cached(files) => files.get(index).map(|file| file.path.clone()),
            Contents::Listed { listing, .. } => {
                listing.files.get(index).map(|file| self.cached.snapshot_path(&listing.commit, &file.name))
            }
        }
    }

    /// The model's header: from the cache where the files are there, else over the network without them.
    pub fn open(
        &self,
        program: &Program,
        client: &Client,
        selected: &Selected,
    ) -> Result<(Model, Option<PathBuf>), Failure> {
        let paths: Option<Vec<PathBuf>> = selected.shards.iter().map(|index| self.local_path(*index)).collect();
        if let Some(first) = paths.as_ref().and_then(|paths| paths.first()) {
            return Ok((Model::open(first)?, Some(first.clone())));
        }
        let Contents::Listed { listing, asks } = &self.contents else {
            return Err(ModelNameError::NotCached { repository: self.id.clone() }.into());
        };
        let mut parts = Vec::new();
        for index in &selected.shards {
            let file: &RemoteFile = &listing.files[*index];
            let remote = RemoteHeader::fetch(client, &asks[*index]).map_err(|error| match error {
                RemoteHeaderError::Net(error) => self.explain(program, client, listing, file, error),
                error @ RemoteHeaderError::TooLong { .. } => error.into(),
            })?;
            let named = |error| OpenError { file: format!("{}/{}", self.id, file.name), error };
            let header = Header::read(&remote).map_err(named)?;
            header.check_length(file.bytes).map_err(named)?;
            parts.push((file.name.to_string(), file.bytes, header));
        }
        Ok((Model::join(parts)?, None))
    }
}

impl Repository {
    /// What a refused file means in the hub's own words: its headers say why, the download only that.
    pub fn explain(
        &self,
        program: &Program,
        client: &Client,
        listing: &Listing,
        file: &RemoteFile,
        error: net::Error,
    ) -> Failure {
        if self.hub == Hub::HuggingFace && matches!(error, net::Error::Status { status: 401 | 403 | 404, .. }) {
            let asked =
                HuggingFace::new(&program.host, client).and_then(|mut hub| hub.look_up(listing, &mut file.clone()));
            if let Err(refusal) = asked {
                return refusal.into();
            }
        }
        error.into()
    }
}

/// ModelScope's repositories lie apart: two hubs may use one name for two things.
pub fn cache_of(program: &Program, hub: Hub) -> Result<HubCache, Failure> {
    Ok(match hub {
        Hub::HuggingFace => HubCache::locate(&program.host)?,
        Hub::ModelScope => HubCache::at(program.home()?.join("modelscope")),
    })
}

fn list(
    program: &Program,
    client: &Client,
    hub: Hub,
    id: &RepositoryId,
    revision: Option<&str>,
) -> Result<(Listing, Vec<Ask>), huggingface::HubError> {
    match hub {
        Hub::HuggingFace => {
            let mut hub = HuggingFace::new(&program.host, client)?;
            let mut listing = hub.list(id, revision)?;
            hub.complete(&mut listing)?;
            let asks = listing.files.iter().map(|file| hub.file(&listing, file)).collect();
            Ok((listing, asks))
        }
        Hub::ModelScope => {
            let hub = ModelScope::new(&program.host, client)?;
            let listing = hub.list(id, revision)?;
            let asks = listing.files.iter().map(|file| hub.file(&listing, file)).collect();
            Ok((listing, asks))
        }
    }
}

/// The files of the revision's snapshot, else of the first snapshot that has any.
fn newest_files(cached: &CachedRepository, revision: Option<&str>) -> Vec<CachedFile> {
    if let Some(revision) = revision {
        let commit = revision.parse().ok().or_else(|| cached.commit_of(revision));
        return commit.map(|commit| cached.files(&commit)).unwrap_or_default();
    }
    cached.snapshots().iter().map(|commit| cached.files(commit)).find(|files| !files.is_empty()).unwrap_or_default()
}
