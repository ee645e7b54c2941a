//! Asks whether this holds: llama.cpp reads the version of every model file.

use super::{Check, Context, Finding, Group, Remedy};

pub(super) struct ModelsVersionReadable;

impl Check for ModelsVersionReadable {
    fn id(&self) -> &'static str {
        "models-version-readable"
    }
    fn title(&self) -> &'static str {
        "llama.cpp reads the version of every model file"
    }
    fn explanation(&self) -> &'static str {
        "GGUF files carry a version. llama.cpp reads 2 and 3; version 1 is of August 2023 and must be fetched or \
         converted anew. A huge number is a file of the other byte order."
    }
    fn group(&self) -> Group {
        Group::Models
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        let Some(models) = context.facts.models.value().filter(|models| !models.is_empty()) else {
            return vec![self.skip("no model files were found")];
        };
        let odd: Vec<Finding> = models
            .iter()
            .filter_map(|model| {
                let version = model.gguf_version.filter(|version| !matches!(version, 2 | 3))?;
                let name = model.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let what = if version > 0xffff {
                    "a file of the other byte order".to_owned()
                } else {
                    format!("GGUF version {version}, and llama.cpp reads 2 and 3")
                };
                Some(
                    self.warn(format!("`{name}` is {what}"))
                        .seen(format!("version {version}"), model.path.display().to_string())
                        .remedy(Remedy::command("Fetch a newer conversion", "llama-doctor pull ORG/REPOSITORY")),
                )
            })
            .collect();
        if odd.is_empty() { vec![self.pass("2 or 3")] } else { odd }
    }
}
