//! Asks whether this holds: projectors belong to the models beside them.

use std::path::Path;

use super::{Check, Context, Finding, Group, Remedy, file_name};
use crate::host::facts::ModelFile;

pub(super) struct ProjectorsFitModels;

impl Check for ProjectorsFitModels {
    fn id(&self) -> &'static str {
        "projectors-fit-models"
    }
    fn title(&self) -> &'static str {
        "Projectors belong to the models beside them"
    }
    fn explanation(&self) -> &'static str {
        "A projector (`mmproj-*.gguf`) turns images into the embeddings of one text model, and fits no model of another \
         width: `mismatch between text model (n_embd = 4096) and mmproj (n_embd = 2560)`. Compared with the models in \
         the same folder; llama.cpp's own cache, where all models lie together, tells nothing."
    }
    fn group(&self) -> Group {
        Group::Models
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        let read = context.model_headers();
        let projectors: Vec<_> = read.iter().filter(|(_, header)| !header.projector_widths.is_empty()).collect();
        if projectors.is_empty() {
            return vec![self.skip("no projector was found")];
        }
        let mut findings = Vec::new();
        for (projector, header) in projectors {
            let beside = |other: &ModelFile| {
                other.path.parent() == projector.path.parent() && !holds_all_models(other.path.parent())
            };
            let widths: Vec<u64> = read
                .iter()
                .filter(|(model, header)| beside(model) && header.vocabulary)
                .filter_map(|(_, header)| header.embedding_length)
                .collect();
            let Some(width) = widths.first() else { continue };
            if widths.iter().any(|width| header.projector_widths.contains(width)) {
                continue;
            }
            findings.push(
                self.warn(format!("`{}` is a projector for another model", file_name(&projector.path)))
                    .seen(
                        format!("no tensor of it is {width} wide, as the model beside it"),
                        projector.path.display().to_string(),
                    )
                    .remedy(Remedy::command(
                        "Fetch the one from the model's own repository",
                        "llama-doctor pull ORG/REPOSITORY",
                    )),
            );
        }
        if findings.is_empty() { vec![self.pass("each fits a model beside it")] } else { findings }
    }
}

/// llama.cpp's own cache.
fn holds_all_models(folder: Option<&Path>) -> bool {
    folder.and_then(Path::file_name).is_some_and(|name| name == "llama.cpp")
}
