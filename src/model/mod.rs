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
    /// The draft heads that lie beside it in its repository, as a MODEL.
    pub mtp: Option<String>,
}

/// Where a model's files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The first file, on this machine.
    Local(PathBuf),
    /// Not here yet: where the first file will lie after `pull`.
    AfterPull(PathBuf),
    /// On the hub, at a commit that nobody looked up: the first of its files, which llama-server can fetch itself.
    Hub { repository: RepositoryId, file: String },
}

/// What tells llama-server which model to load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// `-m`
    File(PathBuf),
    /// `--hf-repo` and `--hf-file`
    Hub { repository: String, file: String },
}

impl ResolvedModel {
    /// The file for `-m`, when it is on this machine.
    pub fn path(&self) -> Option<&Path> {
        match &self.place {
            Place::Local(path) => Some(path),
            _ => None,
        }
    }

    /// What tells llama-server which model to load: the file, here or after `pull`; or where it fetches it from itself.
    pub fn reference(&self) -> Reference {
        match &self.place {
            Place::Local(path) | Place::AfterPull(path) => Reference::File(path.clone()),
            Place::Hub { repository, file } => {
                Reference::Hub { repository: repository.to_string(), file: file.clone() }
            }
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
