//! Asks whether this holds: this user may use the driver's device files.

use super::{Check, Context, Finding, Group, Needs, Remedy};
use crate::host::facts::DeviceNode;

pub(super) struct DevicePermissions;

impl Check for DevicePermissions {
    fn id(&self) -> &'static str {
        "device-permissions"
    }
    fn title(&self) -> &'static str {
        "This user may use the driver's device files"
    }
    fn explanation(&self) -> &'static str {
        "CUDA opens `/dev/nvidiactl`, `/dev/nvidia0` and `/dev/nvidia-uvm`. Where the system restricts them to a \
         group, other users get `permission denied`, NVML 4, and llama.cpp runs on the processor. A service may \
         be locked out by systemd (`PrivateDevices=yes`, `DeviceAllow`)."
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
        let Some(nodes) = context.facts.kernel_driver.device_nodes.value().filter(|nodes| !nodes.is_empty()) else {
            return vec![self.skip("no device files to look at")];
        };
        let needed =
            |node: &&DeviceNode| !["modeset", "tools"].iter().any(|word| node.path.to_string_lossy().contains(word));
        let Some(node) = nodes.iter().filter(needed).find(|node| !node.accessible) else {
            return vec![self.pass("all can be opened")];
        };
        vec![
            self.fail(format!("This user may not use `{}`", node.path.display()))
                .seen(format!("mode and owner {}", node.mode), node.path.display().to_string())
                .remedy(Remedy::command(
                    "Join the groups that may, then log in again",
                    "sudo usermod -aG video,render $USER",
                ))
                .remedy(Remedy::advice("In a systemd service, set `PrivateDevices=no` and allow the devices")),
        ]
    }
}
