//! Asks whether this holds: the driver's memory module nvidia-uvm is loaded.

use super::{Check, Context, Finding, Group, Needs, Remedy};

pub(super) struct UvmLoaded;

impl Check for UvmLoaded {
    fn id(&self) -> &'static str {
        "uvm-loaded"
    }
    fn title(&self) -> &'static str {
        "The driver's memory module nvidia-uvm is loaded"
    }
    fn explanation(&self) -> &'static str {
        "`nvidia-smi` needs the module `nvidia` alone; CUDA also needs `nvidia_uvm`, which is loaded on demand by \
         programs with rights. Without it CUDA fails with 999, 100 or 304 while `nvidia-smi` looks perfect."
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
        if !context.on_real_linux() || kernel.module_loaded.value() != Some(&true) {
            return vec![self.skip("the module is not this system's own")];
        }
        let node =
            kernel.device_nodes.value().is_some_and(|nodes| nodes.iter().any(|node| node.path.ends_with("nvidia-uvm")));
        if node && (kernel.uvm_loaded.value() != Some(&false) || context.container().is_some()) {
            return vec![self.pass("/dev/nvidia-uvm is there")];
        }
        let works = context.facts.driver_api.value().is_some_and(|api| api.init == Some(0));
        if works {
            return vec![self.pass("CUDA starts: the module comes on demand")];
        }
        if context.container().is_some() {
            return vec![self.fail("The container lacks `/dev/nvidia-uvm`, without which CUDA does not start").remedy(
                Remedy::command(
                    "Load the module on the host, then start the container again",
                    "sudo nvidia-modprobe -u -c=0",
                ),
            )];
        }
        vec![
            self.fail("The module `nvidia_uvm` is not loaded: nvidia-smi works without it, CUDA does not")
                .remedy(Remedy::command("Load it", "sudo modprobe nvidia_uvm && sudo nvidia-modprobe -u -c=0")),
        ]
    }
}
