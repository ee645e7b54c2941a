//! Asks whether this holds: programs of other distributions start here.

use super::{Check, Context, Family, Finding, Group, Remedy};

pub(super) struct ProgramLoaderUsual;

impl Check for ProgramLoaderUsual {
    fn id(&self) -> &'static str {
        "program-loader-usual"
    }
    fn title(&self) -> &'static str {
        "Programs of other distributions start here"
    }
    fn explanation(&self) -> &'static str {
        "NixOS and Guix have no `/lib64/ld-linux-x86-64.so.2`: programs that were built elsewhere do not start \
         there. Use the distribution's own llama.cpp with CUDA switched on, or `nix-ld`."
    }
    fn group(&self) -> Group {
        Group::System
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        if context.on_windows() {
            return vec![self.skip("a matter of Linux")];
        }
        if context.variable("NIX_LD").is_some_and(|loader| !loader.is_empty()) {
            return vec![self.pass("nix-ld starts them")];
        }
        if context.family() == Family::Nixos {
            return vec![
                self.warn("NixOS does not start programs that were built elsewhere")
                    .remedy(Remedy::command(
                        "Use its own build",
                        "nix-shell -p 'llama-cpp.override { cudaSupport = true; }'",
                    ))
                    .remedy(Remedy::advice(
                        "Or set `programs.nix-ld.enable = true` and `LD_LIBRARY_PATH=/run/opengl-driver/lib`",
                    )),
            ];
        }
        vec![self.pass("an ordinary distribution")]
    }
}
