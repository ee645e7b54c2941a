//! Asks whether this holds: WSL is version 2.

use super::{Check, Context, Finding, Group, Remedy};

pub(super) struct WslVersion;

impl Check for WslVersion {
    fn id(&self) -> &'static str {
        "wsl-version"
    }
    fn title(&self) -> &'static str {
        "WSL is version 2"
    }
    fn explanation(&self) -> &'static str {
        "WSL 1 has no Linux kernel of its own and cannot reach a GPU at all. Recognised by the kernel's name, \
         which WSL 1 writes with a capital `Microsoft`. Converting a distribution keeps its files."
    }
    fn group(&self) -> Group {
        Group::Containers
    }
    fn breaks_driver(&self) -> bool {
        true
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        let Some(wsl) = &context.facts.wsl else { return vec![self.skip("not WSL")] };
        if wsl.version >= 2 {
            return vec![self.pass("WSL 2")];
        }
        vec![
            self.fail("This is WSL 1, which cannot use a GPU")
                .remedy(Remedy::command("Convert the distribution, in PowerShell", "wsl --set-version DISTRIBUTION 2"))
                .remedy(Remedy::command("And make version 2 the default", "wsl --set-default-version 2")),
        ]
    }
}
