//! Asks whether this holds: WSL passes Windows' GPU on.

use super::{Check, Context, Finding, Group, Remedy};

pub(super) struct WslGpuPassed;

impl Check for WslGpuPassed {
    fn id(&self) -> &'static str {
        "wsl-gpu-passed"
    }
    fn title(&self) -> &'static str {
        "WSL passes Windows' GPU on"
    }
    fn explanation(&self) -> &'static str {
        "WSL 2 shows the GPU as `/dev/dxg` and puts Windows' driver libraries into `/usr/lib/wsl/lib`. When one \
         of them is absent, WSL is too old, Windows has no NVIDIA driver, or GPU support is switched off \
         (`gpuSupport=false` in `.wslconfig`)."
    }
    fn group(&self) -> Group {
        Group::Containers
    }
    fn breaks_driver(&self) -> bool {
        true
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        let Some(wsl) = context.facts.wsl.as_ref().filter(|wsl| wsl.version >= 2) else {
            return vec![self.skip("not WSL 2")];
        };
        if wsl.dxg && wsl.driver_libraries {
            return vec![self.pass("/dev/dxg and the driver's libraries are there")];
        }
        if !wsl.dxg && !context.card_seen() {
            return vec![self.skip("WSL shows no GPU, and there may be none")];
        }
        let what = if wsl.dxg {
            "Windows' driver libraries are not in `/usr/lib/wsl/lib`"
        } else {
            "`/dev/dxg` does not exist"
        };
        vec![
            self.fail(format!("WSL does not pass the GPU on: {what}"))
                .remedy(Remedy::command("Update WSL, in PowerShell", "wsl --update; wsl --shutdown"))
                .remedy(Remedy::advice("Install NVIDIA's driver in Windows, from https://www.nvidia.com/drivers")),
        ]
    }
}
