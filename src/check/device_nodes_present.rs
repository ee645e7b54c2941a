//! Asks whether this holds: the driver's device files exist.

use super::{Check, Context, Finding, Group, Needs, Remedy};
use crate::host::facts::DeviceNode;

pub(super) struct DeviceNodesPresent;

impl Check for DeviceNodesPresent {
    fn id(&self) -> &'static str {
        "device-nodes-present"
    }
    fn title(&self) -> &'static str {
        "The driver's device files exist"
    }
    fn explanation(&self) -> &'static str {
        "The module is loaded, and `/dev/nvidiactl` or `/dev/nvidia0` is missing: on servers without a display \
         nothing creates them until a program with rights asks. CUDA then reports no device (100) or an unknown \
         error (999)."
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
        let kernel = &context.facts.kernel_driver;
        if context.container().is_some() || kernel.module_loaded.value() != Some(&true) {
            return vec![self.skip("the module is not this system's own")];
        }
        let Some(nodes) = kernel.device_nodes.value() else { return vec![self.skip("/dev cannot be listed")] };
        let has = |name: &str| nodes.iter().any(|node| node.path.ends_with(name));
        let numbered = |node: &DeviceNode| {
            let name = node.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            name.strip_prefix("nvidia").is_some_and(|number| number.parse::<u32>().is_ok())
        };
        if has("nvidiactl") && nodes.iter().any(numbered) {
            return vec![self.pass("/dev/nvidiactl and a card's own file")];
        }
        let missing = if has("nvidiactl") { "/dev/nvidia0" } else { "/dev/nvidiactl" };
        vec![
            self.fail(format!("The driver is loaded, and `{missing}` does not exist"))
                .remedy(Remedy::command("Create it now", "sudo nvidia-modprobe -c 0 -u"))
                .remedy(Remedy::command("And at every start", "sudo systemctl enable --now nvidia-persistenced")),
        ]
    }
}
