//! `inspect MODEL`: a model that is not a file here. Its header, and everything that its repository offers, so that a
//! person picks before downloading.

use crate::cli::fit::FitArguments;
use crate::command::{Program, fit};
use crate::failure::Failure;
use crate::gguf::Model;
use crate::model::name::{Hub, ModelName, Selection};
use crate::model::repository::{Contents, Repository};
use crate::model::selection::{Selected, select};
use crate::model::{Place, ResolvedModel, catalogue_name, resolve};
use crate::report::inspect::{Gguf, Inspection, Kind};
use crate::report::repository::{Largest, Offer, RepositoryView, SidecarFile};
use crate::source::huggingface::{self, RemoteFile};
use crate::source::quantization::{GgufName, Sidecar, is_model_start};
use crate::source::repository::RepositoryId;
use crate::units::Bytes;

/// Inspects the model that `text` names.
pub(super) fn inspect(program: &Program, text: &str) -> Result<Inspection, Failure> {
    let path = std::path::Path::new(text);
    let parsed = ModelName::parse(text, &huggingface::endpoint(&program.host)?)?;
    let is_of_catalogue = matches!(parsed, ModelName::Catalogue { .. });
    let name = match parsed {
        ModelName::Catalogue { name, quantization } if !program.global.offline => {
            catalogue_name(&name, quantization.as_deref())?
        }
        other => other,
    };
    let ModelName::Hub { hub, repository, revision, selection } = name else { return header_only(program, text) };
    let client = program.client()?;
    let repository = match Repository::look(program, &client, hub, &repository, revision.as_deref()) {
        Ok(repository) => repository,
        // The catalogue knows the shape without the hub.
        Err(failure) if is_of_catalogue => {
            program.printer.note(&format!("{failure}"));
            return header_only(program, text);
        }
        Err(failure) => return Err(failure),
    };
    // A tag that names several models, or none, is no reason to hide what there is.
    let chosen = match repository.select(&selection) {
        Ok(selected) => Some(selected),
        Err(failure) if matches!(selection, Selection::Quantization(None)) => {
            program.printer.note(&failure.to_string());
            first_model(&repository)
        }
        Err(failure) => return Err(failure),
    };
    let mut view = view(&repository);
    let Some(selected) = chosen else {
        return Ok(Inspection { repository: Some(view), ..Inspection::new(path, Kind::Gguf) });
    };
    let (model, _) = repository.open(program, &client, &selected)?;
    foresee(program, &model, &mut view);
    repository.names()[selected.shards[0]].clone_into(&mut view.inspected);
    view.notes.extend(selected.note);
    Ok(Inspection { gguf: Some(Gguf::of(&model)), repository: Some(view), ..Inspection::new(path, Kind::Gguf) })
}

/// A model without a repository to look into: its header is all there is.
fn header_only(program: &Program, text: &str) -> Result<Inspection, Failure> {
    let resolved = resolve(program, text)?;
    for note in &resolved.notes {
        program.printer.note(note);
    }
    let path = std::path::Path::new(text);
    Ok(Inspection { gguf: Some(Gguf::of(&resolved.model)), ..Inspection::new(path, Kind::Gguf) })
}

/// Says for each model the largest context on the GPUs at hand. Only one header was read: the others' weights are taken
/// as its own, scaled to their size. Without a GPU, or for a model that cannot be planned, nothing is said.
fn foresee(program: &Program, model: &Model, view: &mut RepositoryView) {
    match program.gpus() {
        Ok(gpus) if gpus.iter().any(|gpu| gpu.visible) => {}
        _ => return,
    }
    let inspected = model.file_bytes();
    for offer in &mut view.offers {
        let scaled = scaled(model, inspected, offer.bytes.0);
        let resolved = ResolvedModel {
            source: offer.pull.clone(),
            model: scaled,
            place: Place::Local(offer.pull.clone().into()),
            notes: Vec::new(),
            mtp: None,
        };
        match fit::plan_of(program, &FitArguments::default(), &[resolved]) {
            Ok(plan) => offer.largest = Some(Largest::of(&plan, offer.bytes.0 != inspected)),
            Err(failure) => {
                view.notes.push(format!("its memory cannot be foreseen: {failure}"));
                return;
            }
        }
    }
}

/// The model as if its matrices were quantized to files of `bytes` in all. Vectors stay as they are.
fn scaled(model: &Model, inspected: u64, bytes: u64) -> Model {
    let mut scaled = model.clone();
    let matrices: u64 = model.tensors.iter().filter(|tensor| tensor.dims[1] > 1).map(|tensor| tensor.bytes).sum();
    let others = inspected.saturating_sub(matrices);
    let ratio = bytes.saturating_sub(others) as f64 / matrices.max(1) as f64;
    if bytes != inspected {
        for tensor in scaled.tensors.iter_mut().filter(|tensor| tensor.dims[1] > 1) {
            tensor.bytes = (tensor.bytes as f64 * ratio) as u64;
        }
    }
    scaled
}

fn first_model(repository: &Repository) -> Option<Selected> {
    let names = repository.names();
    let first = names.iter().find(|name| is_model_start(name))?;
    repository.select(&Selection::File(first.parse().ok()?)).ok()
}

/// Every model of the repository, in the hub's order.
fn view(repository: &Repository) -> RepositoryView {
    let names = repository.names();
    let offers =
        (0..names.len()).filter(|index| is_model_start(names[*index])).map(|index| offer(repository, &names, index));
    let sidecars = (0..names.len()).filter_map(|index| {
        let kind = Sidecar::of(names[index]).filter(|_| GgufName::parse(names[index]).is_some())?;
        Some(SidecarFile { kind, file: names[index].to_owned(), bytes: bytes_of(repository, index) })
    });
    let prefix = if repository.hub == Hub::ModelScope { "ms:" } else { "" };
    let mut view = RepositoryView {
        name: format!("{prefix}{}", repository.id),
        commit: None,
        inspected: String::new(),
        offers: offers.collect(),
        sidecars: sidecars.collect(),
        has_preset: false,
        refused: Vec::new(),
        notes: repository.notes.clone(),
    };
    if let Contents::Listed { listing, .. } = &repository.contents {
        view.commit = Some(listing.commit.to_string());
        view.has_preset = listing.has_preset();
        view.refused.clone_from(&listing.refused);
    }
    view
}

fn offer(repository: &Repository, names: &[&str], first: usize) -> Offer {
    let name = names[first];
    let selected = name.parse().ok().map(|file| select(&repository.id, names, &Selection::File(file)));
    let (shards, problem) = match selected {
        Some(Ok(selected)) => (selected.shards, None),
        Some(Err(error)) => (vec![first], Some(error.to_string())),
        None => (vec![first], None),
    };
    Offer {
        quantization: GgufName::parse(name).and_then(|name| name.tag).unwrap_or_default(),
        pull: pull_name(&repository.id, names, first),
        files: shards.iter().map(|index| names[*index].to_owned()).collect(),
        bytes: Bytes(shards.iter().map(|index| bytes_of(repository, *index).0).sum()),
        sha256: shards.iter().filter_map(|index| listed(repository, *index)?.sha256).collect(),
        largest: None,
        is_here: shards.iter().all(|index| repository.local_path(*index).is_some()),
        problem,
    }
}

/// The shortest name that means just this model.
fn pull_name(id: &RepositoryId, names: &[&str], first: usize) -> String {
    let tag = GgufName::parse(names[first]).and_then(|name| name.tag);
    let by_tag = Selection::Quantization(tag.clone());
    match (tag, select(id, names, &by_tag)) {
        (Some(tag), Ok(selected)) if selected.shards[0] == first => format!("{id}:{tag}"),
        _ => format!("{id}/{}", names[first]),
    }
}

fn listed(repository: &Repository, index: usize) -> Option<&RemoteFile> {
    match &repository.contents {
        Contents::Listed { listing, .. } => listing.files.get(index),
        Contents::Cached(_) => None,
    }
}

fn bytes_of(repository: &Repository, index: usize) -> Bytes {
    match &repository.contents {
        Contents::Listed { listing, .. } => Bytes(listing.files[index].bytes),
        Contents::Cached(files) => Bytes(files[index].bytes),
    }
}
