//! Asks whether this holds: a llama.cpp build is on the machine.

use super::{Check, Context, Finding, Group};

pub(super) struct BuildFound;

impl Check for BuildFound {
    fn id(&self) -> &'static str {
        "build-found"
    }
    fn title(&self) -> &'static str {
        "A llama.cpp build is on the machine"
    }
    fn explanation(&self) -> &'static str {
        "Looks for llama.cpp in llama-doctor's own store, on the path, in Python environments, Node packages, \
         conda, Homebrew, Nix, Scoop, Winget and llama.app's folder, and beside LM Studio, Ollama, Jan and \
         text-generation-webui. Docker images are not searched: run llama-doctor inside the container. \
         `--build PATH` names a build instead."
    }
    fn group(&self) -> Group {
        Group::Builds
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        match context.build_to_run() {
            None => {
                vec![self.skip("none was found (Docker images are not searched): `llama-doctor install` brings one")]
            }
            Some(build) => vec![self.pass(format!("{} in {}", Context::name_of(build), build.path.display()))],
        }
    }
}
