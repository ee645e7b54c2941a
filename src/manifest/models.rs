//! `manifests/models.toml` and `manifests/shapes.toml`: models by name, with the shapes of their files, so that a plan needs no file.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;
use thiserror::Error;

use super::shapes::{self, Shape};
use crate::gguf;
use crate::net::digest::Sha256Digest;

/// One model of the catalogue.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogueModel {
    /// What is typed: `qwen2.5-14b-instruct`
    pub name: String,
    /// How its makers write it.
    pub title: String,
    /// SPDX where it has one.
    pub licence: String,
    /// The repository of GGUF files on the hub.
    pub repository: String,
    /// The file's name in it; `{QUANT}` stands for the quantization.
    pub file: String,
    /// Its row of `manifests/shapes.toml`.
    pub shape: String,
    /// Where it differs from the shape's (a fine-tune of the same architecture), tokens.
    #[serde(default)]
    pub train_context: Option<u32>,
    /// Where the figures of the files were read: a commit, or `main` where no list names one.
    pub revision: String,
    /// Lengths of files by quantization, where known.
    #[serde(default)]
    pub bytes: BTreeMap<String, u64>,
    /// sha256 of files by quantization, where known.
    #[serde(default)]
    pub sha256: BTreeMap<String, Sha256Digest>,
    #[serde(default)]
    pub sha256_source: String,
    pub source: String,
    pub checked: String,
}

/// What a name of the catalogue with a quantization means.
#[derive(Debug, Clone)]
pub struct CatalogueFile {
    pub entry: &'static CatalogueModel,
    /// `Q4_K_M`
    pub quantization: String,
    pub file_name: String,
    /// The header that the file has, as far as memory depends on it.
    pub model: gguf::Model,
}

#[derive(Debug, Error)]
pub enum CatalogueError {
    #[error("`{name}` is not in the catalogue")]
    UnknownName { name: String, nearest: Vec<String> },
    #[error("`{name}` is not known in the quantization `{quantization}`")]
    UnknownQuantization { name: String, quantization: String, known: Vec<String> },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    model: Vec<CatalogueModel>,
}

/// Parsed once; `tests/manifests.rs` proves that the embedded file parses.
#[expect(clippy::expect_used, reason = "the file is embedded and a test parses it")]
static MODELS: LazyLock<Vec<CatalogueModel>> = LazyLock::new(|| {
    toml::from_str::<File>(include_str!("../../manifests/models.toml")).expect("manifests/models.toml parses").model
});

/// Sorted by name.
pub fn all() -> &'static [CatalogueModel] {
    &MODELS
}

pub fn by_name(name: &str) -> Option<&'static CatalogueModel> {
    all().iter().find(|model| model.name.eq_ignore_ascii_case(name))
}

/// The file of `name` in `quantization`; without one `Q4_K_M`, else the first that the shape has.
pub fn file(name: &str, quantization: Option<&str>) -> Result<CatalogueFile, CatalogueError> {
    let entry =
        by_name(name).ok_or_else(|| CatalogueError::UnknownName { name: name.to_owned(), nearest: nearest(name) })?;
    let known = entry.quantizations();
    let wanted = quantization.unwrap_or("Q4_K_M");
    let chosen = known.iter().find(|one| one.eq_ignore_ascii_case(wanted)).or(match quantization {
        None => known.first(),
        Some(_) => None,
    });
    let model = chosen.and_then(|chosen| entry.header(chosen).map(|model| (chosen, model)));
    let (chosen, model) = model.ok_or_else(|| CatalogueError::UnknownQuantization {
        name: entry.name.clone(),
        quantization: wanted.to_owned(),
        known: known.iter().map(|one| (*one).to_owned()).collect(),
    })?;
    Ok(CatalogueFile { entry, quantization: (*chosen).to_owned(), file_name: entry.file_name(chosen), model })
}

impl CatalogueModel {
    /// The quantizations whose shape is embedded, largest first.
    pub fn quantizations(&self) -> Vec<&'static str> {
        self.embedded().map(Shape::quantizations).unwrap_or_default()
    }

    pub fn file_name(&self, quantization: &str) -> String {
        self.file.replace("{QUANT}", quantization)
    }

    fn embedded(&self) -> Option<&'static Shape> {
        shapes::by_name(&self.shape)
    }

    fn header(&self, quantization: &str) -> Option<gguf::Model> {
        let mut model = self.embedded()?.model(quantization, &self.file_name(quantization))?;
        if let (Some(bytes), [shard]) = (self.bytes.get(quantization), model.shards.as_mut_slice()) {
            // The data are at the end; what the shape cannot know is how long the header is.
            let data = shard.file_bytes - shard.data_offset;
            shard.data_offset = bytes.saturating_sub(data);
            shard.file_bytes = shard.data_offset + data;
        }
        model.metadata.insert("general.name".to_owned(), gguf::Value::Text(self.title.clone()));
        if let (Some(context), Some(architecture)) = (self.train_context, model.architecture().map(str::to_owned)) {
            model.metadata.insert(format!("{architecture}.context_length"), gguf::Value::Unsigned(context.into()));
        }
        Some(model)
    }
}

fn nearest(name: &str) -> Vec<String> {
    let wanted = name.to_ascii_lowercase();
    let mut scored: Vec<(usize, &CatalogueModel)> = all()
        .iter()
        .map(|model| {
            let holds = wanted.len() >= 3 && model.name.contains(&wanted);
            (if holds { 0 } else { super::gpus::edits(&model.name, &wanted) }, model)
        })
        .filter(|(distance, _)| *distance <= 4)
        .collect();
    scored.sort_by_key(|(distance, _)| *distance);
    scored.into_iter().take(3).map(|(_, model)| model.name.clone()).collect()
}
