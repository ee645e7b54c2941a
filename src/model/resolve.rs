//! From what was typed to a header and a place.

use url::Url;

use super::name::{Hub, ModelName, ModelNameError, Selection};
use super::pull::{self, name_of_url};
use super::receipts::Receipts;
use super::repository::{Contents, Repository, cache_of};
use super::selection::select;
use super::{Place, ResolvedModel};
use crate::command::Program;
use crate::failure::Failure;
use crate::gguf::{Header, Model, OpenError};
use crate::manifest::models::{self, CatalogueError};
use crate::net::client::Ask;
use crate::net::redirect::Redirects;
use crate::source::huggingface;
use crate::source::remote_header::RemoteHeader;
use crate::source::repository::RepositoryId;

/// What a catalogue name means without `:QUANT`.
const DEFAULT_QUANTIZATION: &str = "Q4_K_M";

/// Finds the model that `text` names. Files are not downloaded: of a model that is not here, the header is read over the
/// network. A file on this machine and a name of the catalogue need no network.
pub fn resolve(program: &Program, text: &str) -> Result<ResolvedModel, Failure> {
    let endpoint = huggingface::endpoint(&program.host)?;
    resolve_name(program, text, ModelName::parse(text, &endpoint)?)
}

fn resolve_name(program: &Program, text: &str, name: ModelName) -> Result<ResolvedModel, Failure> {
    match name {
        ModelName::File(path) => {
            let model = Model::open(&path)?;
            // llama-server wants the first shard, whichever was named.
            let first = model.shards.first().map_or_else(|| path.clone(), |shard| path.with_file_name(&shard.name));
            Ok(ResolvedModel {
                source: text.to_owned(),
                model,
                place: Place::Local(first),
                notes: Vec::new(),
                mtp: None,
            })
        }
        ModelName::Hub { hub, repository, revision, selection } => {
            let client = program.client()?;
            let repository = Repository::look(program, &client, hub, &repository, revision.as_deref())?;
            let selected = repository.select(&selection)?;
            let (model, path) = repository.open(program, &client, &selected)?;
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
            let place = match path
                .map(Place::Local)
                .or_else(|| repository.path_after_pull(selected.shards[0]).map(Place::AfterPull))
            {
                Some(place) => place,
                None => Place::Hub {
                    repository: repository.id.clone(),
                    file: repository.names()[selected.shards[0]].to_owned(),
                },
            };
            let prefix = if hub == Hub::ModelScope { "ms:" } else { "" };
            let mtp = selected.mtp.map(|index| format!("{prefix}{}/{}", repository.id, repository.names()[index]));
            Ok(ResolvedModel { source: text.to_owned(), model, place, notes, mtp })
        }
        ModelName::Url(url) => from_url(program, text, &url),
        ModelName::Catalogue { name, quantization } => from_catalogue(program, text, &name, quantization.as_deref()),
    }
}

/// A model of the catalogue needs no network: its shape is embedded. Where its file is in the cache, that is taken.
fn from_catalogue(
    program: &Program,
    text: &str,
    name: &str,
    quantization: Option<&str>,
) -> Result<ResolvedModel, Failure> {
    let file = match models::file(name, quantization) {
        Err(CatalogueError::UnknownQuantization { .. }) if !program.global.offline => {
            let name = catalogue_name(name, quantization)?;
            return resolve_name(program, text, name);
        }
        file => file?,
    };
    let repository: RepositoryId = file.entry.repository.parse().map_err(ModelNameError::from)?;
    let cached = cache_of(program, Hub::HuggingFace)?.repository(&repository);
    let selection = Selection::Quantization(Some(file.quantization.clone()));
    for commit in cached.snapshots() {
        let files = cached.files(&commit);
        let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
        if let Ok(selected) = select(&repository, &names, &selection)
            && let Ok(model) = Model::open(&files[selected.shards[0]].path)
        {
            let place = Place::Local(files[selected.shards[0]].path.clone());
            return Ok(ResolvedModel { source: text.to_owned(), model, place, notes: Vec::new(), mtp: None });
        }
    }
    let notes = vec![format!(
        "planned from the catalogue's shape; `llama-doctor pull {text}` brings the file from {repository}"
    )];
    let place = Place::Hub { repository, file: file.file_name };
    Ok(ResolvedModel { source: text.to_owned(), model: file.model, place, notes, mtp: None })
}

/// Where the hub keeps a model of the catalogue.
pub fn catalogue_name(name: &str, quantization: Option<&str>) -> Result<ModelName, Failure> {
    let Some(entry) = models::by_name(name) else {
        // The error that names its neighbours.
        return Err(models::file(name, None)
            .err()
            .map_or_else(|| ModelNameError::Unknown(name.to_owned()).into(), Into::into));
    };
    Ok(ModelName::Hub {
        hub: Hub::HuggingFace,
        repository: entry.repository.parse().map_err(ModelNameError::from)?,
        revision: None,
        selection: Selection::Quantization(Some(quantization.unwrap_or(DEFAULT_QUANTIZATION).to_owned())),
    })
}

fn from_url(program: &Program, text: &str, url: &Url) -> Result<ResolvedModel, Failure> {
    let pulled = Receipts::in_home(&program.home()?).read()?;
    let pulled =
        pulled.iter().rfind(|receipt| receipt.source == url.as_str()).and_then(|receipt| receipt.files.first());
    if let Some(file) = pulled.filter(|file| file.path.is_file()) {
        let (model, place) = (Model::open(&file.path)?, Place::Local(file.path.clone()));
        return Ok(ResolvedModel { source: text.to_owned(), model, place, notes: Vec::new(), mtp: None });
    }
    let client = program.client()?;
    let remote = RemoteHeader::fetch(&client, &Ask::get(url.clone(), Redirects::Any))?;
    let name = url.path_segments().and_then(Iterator::last).unwrap_or_default().to_owned();
    let named = |error| OpenError { file: name.clone(), error };
    let header = Header::read(&remote).map_err(named)?;
    let length = crate::gguf::Bytes::len(&remote);
    header.check_length(length).map_err(named)?;
    let model = Model::join(vec![(name, length, header)])?;
    let place = Place::AfterPull(pull::folder_of_url(program, url)?.join(name_of_url(url)?.file_name()));
    Ok(ResolvedModel { source: text.to_owned(), model, place, notes: Vec::new(), mtp: None })
}
