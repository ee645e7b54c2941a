//! Asks whether this holds: model files are well-formed.

use super::{Check, Context, Finding, Group, Remedy, counted, file_name};

pub(super) struct ModelsWellFormed;

impl Check for ModelsWellFormed {
    fn id(&self) -> &'static str {
        "models-well-formed"
    }
    fn title(&self) -> &'static str {
        "Model files are well-formed"
    }
    fn explanation(&self) -> &'static str {
        "Reads the header of each model file as llama.cpp would. A type number that only a fork writes, or that was \
         removed (`invalid ggml type`), metadata of an unknown form, and layers without any tensor (`missing tensor`) \
         come from broken or foreign conversions: llama.cpp refuses such a file."
    }
    fn group(&self) -> Group {
        Group::Models
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        let read = context.model_headers();
        if read.is_empty() {
            return vec![self.skip("no model's header was read")];
        }
        let findings: Vec<Finding> = read
            .iter()
            .filter_map(|(model, header)| {
                let problem = header.problem.clone().or_else(|| {
                    let layers = counted(header.missing_layers, "layer", "layers");
                    (header.missing_layers > 0).then(|| format!("lacks {layers} that its header announces"))
                })?;
                Some(
                    self.warn(format!("`{}` {problem}", file_name(&model.path)))
                        .seen(model.size.to_string(), model.path.display().to_string())
                        .remedy(Remedy::command(
                            "Fetch a conversion that llama.cpp reads",
                            "llama-doctor pull ORG/REPOSITORY",
                        )),
                )
            })
            .collect();
        if findings.is_empty() { vec![self.pass(counted(read.len() as u64, "file", "files"))] } else { findings }
    }
}
