//! Asks whether this holds: programs in WSL find Windows' driver.

use super::{Check, Context, Finding, Group, Remedy};
use crate::host::facts::Fact;

pub(super) struct WslLibrariesOnPath;

impl Check for WslLibrariesOnPath {
    fn id(&self) -> &'static str {
        "wsl-libraries-on-path"
    }
    fn title(&self) -> &'static str {
        "Programs in WSL find Windows' driver"
    }
    fn explanation(&self) -> &'static str {
        "Inside WSL, `nvidia-smi` works by its full path even when the loader does not know `/usr/lib/wsl/lib`. \
         llama.cpp asks the loader for `libcuda.so.1`: without that folder in its cache it silently runs on the \
         processor."
    }
    fn group(&self) -> Group {
        Group::Containers
    }
    fn breaks_driver(&self) -> bool {
        true
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        let Some(wsl) = context.facts.wsl.as_ref().filter(|wsl| wsl.driver_libraries) else {
            return vec![self.skip("not WSL, or without Windows' driver")];
        };
        match &context.facts.user_driver.libcuda {
            Fact::Known { .. } => vec![self.pass("the loader finds libcuda.so.1")],
            Fact::Unknown { .. } => vec![
                self.fail("The loader does not look into `/usr/lib/wsl/lib`, where Windows' driver is")
                    .seen(
                        "libcuda.so.1 exists, and the loader does not find it",
                        format!("/usr/lib/wsl/lib, WSL {}", wsl.version),
                    )
                    .remedy(Remedy::command(
                        "Tell the loader",
                        "echo /usr/lib/wsl/lib | sudo tee /etc/ld.so.conf.d/ld.wsl.conf && sudo ldconfig",
                    )),
            ],
        }
    }
}
