//! Asks whether this holds: the driver's module is loaded.

use super::{Check, Context, Finding, Group, Needs, Remedy};

pub(super) struct ModuleNotLoaded;

impl Check for ModuleNotLoaded {
    fn id(&self) -> &'static str {
        "module-not-loaded"
    }
    fn title(&self) -> &'static str {
        "The driver's module is loaded"
    }
    fn explanation(&self) -> &'static str {
        "The driver is installed for the running kernel, and its module is not loaded. Usually the machine was \
         not restarted after the installation; sometimes another module keeps it out, or loading failed: `sudo \
         dmesg | grep -i nvrm` says why."
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
        if context.container().is_some() || !context.on_real_linux() {
            return vec![self.skip("the driver is not this system's own")];
        }
        match kernel.module_loaded.value() {
            None => return vec![self.skip("the kernel's modules cannot be listed")],
            Some(true) => return vec![self.pass("the module is loaded")],
            Some(false) => {}
        }
        if context.facts.driver.version.value().is_some() {
            return vec![self.pass("the driver answers")];
        }
        vec![
            self.fail("The driver is installed and its kernel module is not loaded")
                .remedy(Remedy::command("Load it", "sudo modprobe nvidia"))
                .remedy(Remedy::command(
                    "If that fails, the reason is in the kernel log",
                    "sudo dmesg | grep -iE 'nvrm|nvidia' | tail",
                )),
        ]
    }
}
