//! Asks whether this holds: every model file is complete.

use super::{Check, Context, Finding, Group, Remedy};

pub(super) struct ModelsComplete;

impl Check for ModelsComplete {
    fn id(&self) -> &'static str {
        "models-complete"
    }
    fn title(&self) -> &'static str {
        "Every model file is complete"
    }
    fn explanation(&self) -> &'static str {
        "A download or a copy that was cut off leaves a file whose header promises more data than there is: `data \
         is not within the file bounds, model is corrupted or incomplete`. Found by comparing the header's tensor \
         table with the file's size."
    }
    fn group(&self) -> Group {
        Group::Models
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        let Some(models) = context.facts.models.value().filter(|models| !models.is_empty()) else {
            return vec![self.skip("no model files were found")];
        };
        let cut: Vec<Finding> = models
            .iter()
            .filter_map(|model| {
                let missing = model.truncated_by?;
                let name = model.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                Some(
                    self.warn(format!("`{name}` lacks its last {missing}"))
                        .seen(format!("{} present", model.size), model.path.display().to_string())
                        .remedy(Remedy::command("Fetch it again", "llama-doctor pull ORG/REPOSITORY")),
                )
            })
            .collect();
        if cut.is_empty() { vec![self.pass("none is cut off")] } else { cut }
    }
}
