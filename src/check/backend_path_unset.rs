//! Asks whether this holds: no variable adds a foreign backend.

use super::{Check, Context, Finding, Group, remedy};

pub(super) struct BackendPathUnset;

impl Check for BackendPathUnset {
    fn id(&self) -> &'static str {
        "backend-path-unset"
    }
    fn title(&self) -> &'static str {
        "No variable adds a foreign backend"
    }
    fn explanation(&self) -> &'static str {
        "`GGML_BACKEND_PATH` makes every llama.cpp load one more backend file. Left over from another build, it \
         mixes versions: `incompatible API version`, missing symbols, or a crash."
    }
    fn group(&self) -> Group {
        Group::Environment
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        match context.variable("GGML_BACKEND_PATH") {
            None => vec![self.pass("GGML_BACKEND_PATH is not set")],
            Some(value) => vec![
                self.warn("GGML_BACKEND_PATH makes every llama.cpp load one more backend")
                    .seen(format!("GGML_BACKEND_PATH={value}"), "environment")
                    .remedy(remedy::unset(*context, "GGML_BACKEND_PATH")),
            ],
        }
    }
}
