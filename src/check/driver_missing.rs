//! Asks whether this holds: NVIDIA's driver is installed.

use super::{Check, Context, Finding, Group, Needs, remedy};
use crate::host::windows_facts::{DisplayAdapter, PCI_VENDOR_NVIDIA};

pub(super) struct DriverMissing;

impl Check for DriverMissing {
    fn id(&self) -> &'static str {
        "driver-missing"
    }
    fn title(&self) -> &'static str {
        "NVIDIA's driver is installed"
    }
    fn explanation(&self) -> &'static str {
        "A card without NVIDIA's driver cannot compute. On Linux the driver has no module file for any kernel and \
         no loaded module; on Windows the registry shows the card with Microsoft's basic driver, and `nvcuda.dll` \
         is absent. The CUDA toolkit is not needed: official llama.cpp builds bring or find what they need \
         besides the driver."
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
        if context.container().is_some() || context.facts.wsl.is_some() {
            return vec![self.skip("the driver is not this system's own")];
        }
        if context.on_windows() {
            let Some(adapters) = context.windows().and_then(|windows| windows.display_adapters.value()) else {
                return vec![self.skip("the registry's adapters were not read")];
            };
            let of_nvidia = |adapter: &&DisplayAdapter| adapter.pci.is_some_and(|id| id.vendor == PCI_VENDOR_NVIDIA);
            let driven = adapters.iter().filter(of_nvidia).any(|adapter| adapter.nvidia_driver.is_some());
            if driven || context.facts.driver.version.value().is_some() {
                return vec![self.pass("NVIDIA's driver is installed")];
            }
            let name = adapters.iter().find(of_nvidia).map_or("the card", |adapter| adapter.name.as_str());
            return vec![
                self.fail("The card has no NVIDIA driver")
                    .seen(name, "the registry's display class")
                    .remedies(remedy::install_driver(*context)),
            ];
        }
        let kernel = &context.facts.kernel_driver;
        if kernel.module_loaded.value() == Some(&true) || context.facts.driver.version.value().is_some() {
            return vec![self.pass("the kernel module is loaded")];
        }
        let Some(files) = kernel.module_files.value() else {
            return vec![self.skip("the kernel's modules cannot be listed")];
        };
        if !files.is_empty() || !kernel.other_kernels_with_module.is_empty() {
            return vec![self.pass("the module is on the disk")];
        }
        vec![
            self.fail("NVIDIA's driver is not installed")
                .seen("no nvidia module for any kernel", "/lib/modules")
                .remedies(remedy::install_driver(*context)),
        ]
    }
}
