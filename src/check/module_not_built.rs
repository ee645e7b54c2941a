//! Asks whether this holds: the driver's module exists for the running kernel.

use super::{Check, Context, Family, Finding, Group, Needs, Remedy};

pub(super) struct ModuleNotBuilt;

impl Check for ModuleNotBuilt {
    fn id(&self) -> &'static str {
        "module-not-built"
    }
    fn title(&self) -> &'static str {
        "The driver's module exists for the running kernel"
    }
    fn explanation(&self) -> &'static str {
        "DKMS builds the driver's module for each kernel. After a kernel update without matching headers, or a \
         failed build, the module exists for the old kernel only, and the new one starts without a driver. \
         Detected by module files under `/lib/modules` for other kernels and none for this one."
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
        if context.container().is_some() || !context.on_real_linux() || kernel.module_loaded.value() == Some(&true) {
            return vec![self.skip("the module is loaded, or not this system's own")];
        }
        let Some(files) = kernel.module_files.value() else {
            return vec![self.skip("the kernel's modules cannot be listed")];
        };
        if !files.is_empty() {
            return vec![self.pass("the module is there for the running kernel")];
        }
        let release = context.facts.host.kernel.value().map_or("the running kernel", String::as_str);
        let build = match context.family() {
            Family::Ubuntu | Family::Debian => "sudo apt install linux-headers-$(uname -r) && sudo dkms autoinstall",
            Family::Fedora | Family::RedHat => "sudo dnf install kernel-devel-$(uname -r) && sudo akmods --force",
            Family::Arch => "sudo pacman -S linux-headers && sudo dkms autoinstall",
            _ => "sudo dkms autoinstall",
        };
        vec![
            self.fail(format!("The driver's module was not built for the running kernel {release}"))
                .seen(format!("built for {}", kernel.other_kernels_with_module.join(", ")), "/lib/modules")
                .remedy(Remedy::command("Build it", build))
                .remedy(Remedy::command("Then load it", "sudo modprobe nvidia")),
        ]
    }
}
