//! Asks whether this holds: CUDA works after a suspend.

use super::{Check, Context, Finding, Group, Needs, Remedy};

pub(super) struct CudaSurvivedSuspend;

impl Check for CudaSurvivedSuspend {
    fn id(&self) -> &'static str {
        "cuda-survived-suspend"
    }
    fn title(&self) -> &'static str {
        "CUDA works after a suspend"
    }
    fn explanation(&self) -> &'static str {
        "After a suspend the module `nvidia_uvm` can be left broken: `nvidia-smi` works, and CUDA says `unknown \
         error` (999) until the module is loaded anew. The driver can be told to save the card's memory over a \
         suspend."
    }
    fn group(&self) -> Group {
        Group::Driver
    }
    fn needs(&self) -> Needs {
        Needs::Card
    }
    fn breaks_driver(&self) -> bool {
        true
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        let Some(api) = context.facts.driver_api.value() else { return vec![self.skip("CUDA was not started")] };
        if api.init != Some(999) || context.on_windows() || context.facts.wsl.is_some() {
            return vec![self.pass("CUDA does not report an unknown error")];
        }
        vec![
            self.fail("CUDA reports an unknown error (999), as it does after a suspend")
                .remedy(Remedy::command(
                    "End what uses the card, then load the module anew",
                    "sudo rmmod nvidia_uvm && sudo modprobe nvidia_uvm",
                ))
                .remedy(Remedy::command(
                    "To keep it from coming back",
                    "echo 'options nvidia NVreg_PreserveVideoMemoryAllocations=1 NVreg_TemporaryFilePath=/var/tmp' \
                 | sudo tee /etc/modprobe.d/nvidia-suspend.conf \
                 && sudo systemctl enable nvidia-suspend nvidia-resume nvidia-hibernate",
                )),
        ]
    }
}
