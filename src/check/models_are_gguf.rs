//! Asks whether this holds: every .gguf file is a GGUF file.

use super::{Check, Context, Finding, Group, Remedy};
use crate::host::facts::ModelFileKind;

pub(super) struct ModelsAreGguf;

impl Check for ModelsAreGguf {
    fn id(&self) -> &'static str {
        "models-are-gguf"
    }
    fn title(&self) -> &'static str {
        "Every .gguf file is a GGUF file"
    }
    fn explanation(&self) -> &'static str {
        "A file named `.gguf` can be something else: a Git LFS pointer of 130 bytes (`git lfs pull` was not run), \
         a web page (the address had `/blob/` instead of `/resolve/`, or asked for a login), a service's error \
         text, or a model in the format of 2023. llama.cpp says `invalid magic characters`. Told from the first \
         bytes."
    }
    fn group(&self) -> Group {
        Group::Models
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        let Some(models) = context.facts.models.value().filter(|models| !models.is_empty()) else {
            return vec![self.skip("no model files were found")];
        };
        let mut findings = Vec::new();
        for model in models {
            let what = match model.kind {
                ModelFileKind::Gguf => continue,
                ModelFileKind::LfsPointer => "a Git LFS pointer: the model itself was never fetched",
                ModelFileKind::Html => "a web page",
                ModelFileKind::ErrorText => "a service's error text",
                ModelFileKind::Zip => "a zip archive",
                ModelFileKind::OldGgml => "in the format before GGUF, which llama.cpp no longer reads",
                ModelFileKind::Empty => "empty",
                ModelFileKind::Other => "no GGUF",
            };
            let name = model.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            findings.push(
                self.warn(format!("`{name}` is {what}"))
                    .seen(model.size.to_string(), model.path.display().to_string())
                    .remedy(match model.kind {
                        ModelFileKind::LfsPointer => {
                            Remedy::command("Fetch it, in its folder", format!("git lfs pull --include '{name}'"))
                        }
                        _ => Remedy::command("Fetch it again", "llama-doctor pull ORG/REPOSITORY"),
                    }),
            );
        }
        if findings.is_empty() {
            findings.push(self.pass(format!("{} files", models.len())));
        }
        findings
    }
}
