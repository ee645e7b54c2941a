//! Which files of a repository make up the model that was asked for.

use thiserror::Error;

use super::name::Selection;
use crate::source::quantization::{self, Choice, GgufName};
use crate::source::repository::RepositoryId;

/// The files of one model, as indices into a repository's names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selected {
    /// All shards, in order; a model in one file has one.
    pub shards: Vec<usize>,
    /// The projector that llama.cpp would load beside it.
    pub projector: Option<usize>,
    /// The draft heads that llama.cpp would load for `--spec-type draft-mtp`.
    pub mtp: Option<usize>,
    /// Something was chosen that nobody asked for by name.
    pub note: Option<String>,
}

#[derive(Debug, Error, PartialEq, Eq)]
pub enum SelectionError {
    #[error("`{repository}` holds no GGUF model")]
    NoModel { repository: RepositoryId },
    #[error("`{repository}` holds no model that `{tag}` names")]
    NoMatch { repository: RepositoryId, tag: String, tags: Vec<String> },
    #[error("`{repository}{}` names more than one model", .tag.as_ref().map(|tag| format!(":{tag}")).unwrap_or_default())]
    Several { repository: RepositoryId, tag: Option<String>, names: Vec<String> },
    #[error("`{repository}` has no file `{file}`")]
    NoFile { repository: RepositoryId, file: String },
    #[error("the split model in `{repository}` lacks {}", .missing.join(", "))]
    MissingShards { repository: RepositoryId, missing: Vec<String> },
}

/// Applies llama.cpp's rules to a repository's names, in the hub's order.
pub fn select(repository: &RepositoryId, names: &[&str], selection: &Selection) -> Result<Selected, SelectionError> {
    let repository = || repository.clone();
    let mut note = None;
    let first = match selection {
        Selection::File(file) => {
            let missing = || SelectionError::NoFile { repository: repository(), file: file.to_string() };
            // Any shard stands for its model.
            let first = GgufName::parse(file.as_str()).map_or_else(|| file.to_string(), |name| name.sibling(1));
            names.iter().position(|name| *name == first).ok_or_else(missing)?
        }
        Selection::Quantization(tag) => match quantization::choose(names, tag.as_deref()) {
            Choice::One(index) => index,
            Choice::First(index) => {
                note = Some(format!(
                    "there is neither Q4_K_M nor Q8_0: `{}` is the first model, as llama.cpp chooses",
                    names[index]
                ));
                index
            }
            Choice::Several(indices) => {
                let names = indices.iter().map(|index| names[*index].to_owned()).collect();
                return Err(SelectionError::Several { repository: repository(), tag: tag.clone(), names });
            }
            Choice::None => {
                return Err(match tag {
                    Some(tag) if names.iter().any(|name| quantization::is_model_start(name)) => {
                        SelectionError::NoMatch { repository: repository(), tag: tag.clone(), tags: tags(names) }
                    }
                    _ => SelectionError::NoModel { repository: repository() },
                });
            }
        },
    };
    let shards = quantization::shards_of(names, first)
        .map_err(|missing| SelectionError::MissingShards { repository: repository(), missing })?;
    let tag = match selection {
        Selection::Quantization(tag) => tag.as_deref(),
        Selection::File(_) => None,
    };
    let projector = quantization::projector_of(names, names[first]);
    Ok(Selected { shards, projector, mtp: quantization::mtp_of(names, names[first], tag), note })
}

/// The quantizations that a repository has, in its order.
fn tags(names: &[&str]) -> Vec<String> {
    let mut tags: Vec<String> = Vec::new();
    for name in names.iter().filter(|name| quantization::is_model_start(name)) {
        if let Some(tag) = GgufName::parse(name).and_then(|name| name.tag).filter(|tag| !tags.contains(tag)) {
            tags.push(tag);
        }
    }
    tags
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 6] = [
        "README.md",
        "m-Q4_K_M.gguf",
        "m-Q8_0-00001-of-00002.gguf",
        "m-Q8_0-00002-of-00002.gguf",
        "m-F16-00001-of-00002.gguf",
        "mmproj-F16.gguf",
    ];

    fn by_tag(tag: Option<&str>) -> Result<Selected, SelectionError> {
        select(&"o/r".parse().unwrap(), &NAMES, &Selection::Quantization(tag.map(str::to_owned)))
    }

    #[test]
    fn a_tag_finds_all_shards_and_the_projector() {
        assert_eq!(by_tag(None).unwrap().shards, [1]);
        let selected = by_tag(Some("q8_0")).unwrap();
        assert_eq!((selected.shards, selected.projector), (vec![2, 3], Some(5)));
    }

    #[test]
    fn any_shard_stands_for_its_model() {
        let file = Selection::File("m-Q8_0-00002-of-00002.gguf".parse().unwrap());
        assert_eq!(select(&"o/r".parse().unwrap(), &NAMES, &file).unwrap().shards, [2, 3]);
    }

    #[test]
    fn what_does_not_fit_says_what_there_is() {
        let Err(SelectionError::NoMatch { tags, .. }) = by_tag(Some("Q2_K")) else { panic!() };
        assert_eq!(tags, ["Q4_K_M", "Q8_0", "F16"]);
        let Err(SelectionError::MissingShards { missing, .. }) = by_tag(Some("F16")) else { panic!() };
        assert_eq!(missing, ["m-F16-00002-of-00002.gguf"]);
        let Err(SelectionError::Several { names, .. }) =
            select(&"o/r".parse().unwrap(), &["a-Q8_0.gguf", "b-Q8_0.gguf"], &Selection::Quantization(None))
        else {
            panic!()
        };
        assert_eq!(names, ["a-Q8_0.gguf", "b-Q8_0.gguf"]);
    }
}
