//! A model as the plan shows it, and as llama-server is told to load it.

use crate::failure::Failure;
use crate::fit::Model;
use crate::fit::plan::PlanModel;
use crate::gguf;
use crate::model::{Reference, ResolvedModel};
use crate::script::arguments::Location;
use crate::units::Bytes;

/// What llama-server is told to load.
pub(super) fn location(model: &ResolvedModel) -> Result<Location, Failure> {
    let path = match model.reference() {
        Reference::File(path) => std::path::absolute(path)?,
        Reference::Hub { repository, file } => return Ok(Location { repository: Some(repository), file }),
    };
    let text = path.to_str().map(str::to_owned);
    let file = text
        .ok_or_else(|| Failure::usage(format!("{} is not Unicode: llama-server cannot be given it", path.display())))?;
    Ok(Location { repository: None, file })
}

pub(super) fn shown(resolved: &ResolvedModel, shape: &Model) -> PlanModel {
    let model = &resolved.model;
    let name = model.metadata.get("general.name").and_then(gguf::Value::as_text).map(str::to_owned);
    PlanModel {
        source: resolved.source.clone(),
        name: name.filter(|name| !name.is_empty()).unwrap_or_else(|| resolved.short_name()),
        architecture: model.architecture().unwrap_or_default().to_owned(),
        quantization: quantization(resolved),
        parameters: model.parameters(),
        file_bytes: Bytes(model.file_bytes()),
        layers: shape.layers(),
        train_context: shape.train_context,
    }
}

/// As the metadata says it, else as the file's name does.
fn quantization(resolved: &ResolvedModel) -> String {
    if let Some(name) = resolved.model.file_type() {
        return name.to_owned();
    }
    let file = resolved.model.shards.first().map(|shard| shard.name.as_str()).unwrap_or_default();
    let tag = crate::source::quantization::GgufName::parse(file).and_then(|name| name.tag);
    tag.unwrap_or_else(|| "unknown".to_owned())
}
