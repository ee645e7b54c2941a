//! From what was typed to a header and a place.

use url::Url;

use super::name::{Hub, ModelName, ModelNameError};
use super::repository::{Contents, Repository};
use super::{Place, ResolvedModel};
use crate::command::Program;
use crate::failure::Failure;
use crate::gguf::{Header, Model, OpenError};
use crate::net::client::Ask;
use crate::net::redirect::Redirects;
use crate::source::huggingface;
use crate::source::remote_header::RemoteHeader;

/// Finds the model that `text` names. Files are not downloaded: of a model that is not here, the header is read over the
/// network. A file on this machine and a name of the catalogue need no network.
pub fn resolve(program: &Program, text: &str) -> Result<ResolvedModel, Failure> {
    let endpoint = huggingface::endpoint(&program.host)?;
    match ModelName::parse(text, &endpoint)? {
        ModelName::File(path) => {
            let model = Model::open(&path)?;
            // llama-server wants the first shard, whichever was named.
            let first = model.shards.first().map_or_else(|| path.clone(), |shard| path.with_file_name(&shard.name));
            Ok(ResolvedModel { source: text.to_owned(), model, place: Place::Local(first), notes: Vec::new() })
        }
        ModelName::Hub { hub, repository, revision, selection } => {
            let client = program.client()?;
            let repository = Repository::look(program, &client, hub, &repository, revision.as_deref())?;
            let selected = repository.select(&selection)?;
            let (model, path) = repository.open(&client, &selected)?;
            let mut notes = repository.notes.clone();
            notes.extend(selected.note.clone());
            if let Contents::Listed { listing, .. } = &repository.contents
                && listing.has_preset()
            {
                notes.push(format!(
                    "`{}` holds a preset.ini: `llama-server -hf` would take its arguments from there; nothing here does",
                    listing.repository
                ));
            }
            let names = repository.names();
            let files = selected.shards.iter().map(|index| names[*index].to_owned()).collect();
            let place = match (path, hub) {
                (Some(path), _) => Place::Local(path),
                (None, Hub::HuggingFace) => Place::Hub { repository: repository.id.clone(), files },
                (None, Hub::ModelScope) => Place::ModelScope { repository: repository.id.clone(), files },
            };
            Ok(ResolvedModel { source: text.to_owned(), model, place, notes })
        }
        ModelName::Url(url) => from_url(program, text, url),
        ModelName::Catalogue { .. } => Err(ModelNameError::Unknown(text.to_owned()).into()),
    }
}

fn from_url(program: &Program, text: &str, url: Url) -> Result<ResolvedModel, Failure> {
    let client = program.client()?;
    let remote = RemoteHeader::fetch(&client, &Ask::get(url.clone(), Redirects::Any))?;
    let name = url.path_segments().and_then(Iterator::last).unwrap_or_default().to_owned();
    let named = |error| OpenError { file: name.clone(), error };
    let header = Header::read(&remote).map_err(named)?;
    let length = crate::gguf::Bytes::len(&remote);
    header.check_length(length).map_err(named)?;
    let model = Model::join(vec![(name, length, header)])?;
    Ok(ResolvedModel { source: text.to_owned(), model, place: Place::Url(url), notes: Vec::new() })
}
