//! Asks whether this holds: the `NVSwitch` fabric manager runs.

use super::{Check, Context, Finding, Group, Needs, Remedy};

pub(super) struct FabricManagerRunning;

impl Check for FabricManagerRunning {
    fn id(&self) -> &'static str {
        "fabric-manager-running"
    }
    fn title(&self) -> &'static str {
        "The NVSwitch fabric manager runs"
    }
    fn explanation(&self) -> &'static str {
        "Servers whose GPUs are joined by NVSwitch (HGX, DGX) need the service `nvidia-fabricmanager` in exactly \
         the driver's version. Without it NVML works and CUDA says `system not yet initialized` (802)."
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
        if api.init != Some(802) {
            return vec![self.pass("CUDA does not ask for it")];
        }
        vec![
            self.fail("CUDA waits for the NVSwitch fabric manager (802)")
                .remedy(Remedy::command("Start it", "sudo systemctl enable --now nvidia-fabricmanager"))
                .remedy(Remedy::advice("Its version must equal the driver's")),
        ]
    }
}
