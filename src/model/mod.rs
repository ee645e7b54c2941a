//! Models: what a name means, where its files are, and which are on this machine.

pub mod discover;
pub mod hash;
pub mod name;
pub mod pull;
pub mod receipts;
pub mod remove;
pub mod repository;
mod resolve;
pub mod selection;

pub use resolve::{catalogue_name, resolve};

use std::path::{Path, PathBuf};

use crate::gguf;
use crate::source::repository::RepositoryId;

/// What a MODEL turned out to be: its header, whether or not its files are here.
#[derive(Debug, Clone)]
pub struct ResolvedModel {
    /// As it was typed.
    pub source: String,
    pub model: gguf::Model,
    pub place: Place,
    /// What people should know about the choice.
    pub notes: Vec<String>,
}

/// Where a model's files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The first file, on this machine.
    Local(PathBuf),
    /// On the hub, in this repository; the names of its files, the first of which llama-server is told.
    Hub {
        repository: RepositoryId,
        files: Vec<String>,
    },
    /// On ModelScope, which llama-server cannot fetch from.
    ModelScope {
        repository: RepositoryId,
        files: Vec<String>,
    },
    Url(url::Url),
}

impl ResolvedModel {
    /// The file for `-m`, when it is on this machine.
    pub fn path(&self) -> Option<&Path> {
        match &self.place {
            Place::Local(path) => Some(path),
            _ => None,
        }
    }

    /// What tells llama-server which model to load: the file, or where it fetches it from itself.
    pub fn server_arguments(&self) -> Vec<String> {
        match &self.place {
            Place::Local(path) => vec!["-m".to_owned(), path.display().to_string()],
            Place::Hub { repository, files } => {
                let file = files.first().cloned().unwrap_or_default();
                vec!["-hf".to_owned(), repository.to_string(), "-hff".to_owned(), file]
            }
            Place::ModelScope { files, .. } => vec!["-m".to_owned(), files.first().cloned().unwrap_or_default()],
            Place::Url(url) => vec!["-mu".to_owned(), url.to_string()],
        }
    }

    /// A name for files and services: the model file's own, without its ending and shard number.
    pub fn short_name(&self) -> String {
        let file = self.model.shards.first().map(|shard| shard.name.as_str()).unwrap_or_default();
        let file = file.rsplit(['/', '\\']).next().unwrap_or(file);
        let prefix = crate::source::quantization::GgufName::parse(file).map(|name| name.prefix);
        prefix.unwrap_or_else(|| file.to_owned())
    }
}
