//! Asks whether this holds: the build knows the models here.

use super::over_builds::over_builds;
use super::{Check, Context, Finding, Group, Remedy, file_name};
use crate::build::Build;
use crate::host::facts::ModelHeader;

pub(super) struct ModelsKnownToBuild;

impl Check for ModelsKnownToBuild {
    fn id(&self) -> &'static str {
        "models-known-to-build"
    }
    fn title(&self) -> &'static str {
        "The build knows the architectures of the models here"
    }
    fn explanation(&self) -> &'static str {
        "A model names its architecture, and a build knows those that existed when it was made. A newer one ends with \
         `unknown model architecture`. Detected by looking for the name among the texts of the build's libllama; a \
         newer build mends it."
    }
    fn group(&self) -> Group {
        Group::Models
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        let read = context.model_headers();
        if read.is_empty() {
            return vec![self.skip("no model's header was read")];
        }
        over_builds(self, *context, |build| {
            let strange = read.iter().filter_map(|(model, header)| Some((model, unknown_to(build, header)?)));
            strange
                .map(|(model, architecture)| {
                    self.warn(format!(
                        "{} does not know the architecture `{architecture}` of `{}`",
                        Context::name_of(build),
                        file_name(&model.path)
                    ))
                    .seen(format!("general.architecture is {architecture}"), model.path.display().to_string())
                    .remedy(Remedy::command("Install a newer build", "llama-doctor install"))
                })
                .collect()
        })
    }
}

fn unknown_to<'a>(build: &Build, header: &'a ModelHeader) -> Option<&'a str> {
    let architecture = header.architecture.as_deref().filter(|_| header.vocabulary)?;
    build.unknown_architectures.iter().any(|unknown| unknown == architecture).then_some(architecture)
}
