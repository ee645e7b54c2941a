//! Asks whether this holds: every split model has all its parts.

use super::{Check, Context, Finding, Group, Remedy};

pub(super) struct ModelsHaveAllShards;

impl Check for ModelsHaveAllShards {
    fn id(&self) -> &'static str {
        "models-have-all-shards"
    }
    fn title(&self) -> &'static str {
        "Every split model has all its parts"
    }
    fn explanation(&self) -> &'static str {
        "Large models come in parts named `-00001-of-00003.gguf`. All must lie in one folder under their own \
         names; llama.cpp is given the first and finds the others by name."
    }
    fn group(&self) -> Group {
        Group::Models
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        let Some(models) = context.facts.models.value().filter(|models| !models.is_empty()) else {
            return vec![self.skip("no model files were found")];
        };
        let lacking: Vec<Finding> = models
            .iter()
            .filter(|model| !model.missing_shards.is_empty())
            .map(|model| {
                let shown: Vec<&str> = model.missing_shards.iter().take(3).map(String::as_str).collect();
                self.warn(format!("A split model lacks {} of its parts", model.missing_shards.len()))
                    .seen(shown.join(", "), model.path.display().to_string())
                    .remedy(Remedy::command("Fetch them", "llama-doctor pull ORG/REPOSITORY"))
            })
            .collect();
        if lacking.is_empty() { vec![self.pass("none lacks a part")] } else { lacking }
    }
}
