//! Asks whether this holds: the driver's libraries and its kernel module have one version.

use super::{Check, Context, Family, Finding, Group, Needs, Remedy};

pub(super) struct DriverLibraryMismatch;

impl Check for DriverLibraryMismatch {
    fn id(&self) -> &'static str {
        "driver-library-mismatch"
    }
    fn title(&self) -> &'static str {
        "The driver's libraries and its kernel module have one version"
    }
    fn explanation(&self) -> &'static str {
        "An update replaces the driver's libraries at once, while the old kernel module stays loaded until the \
         next start: NVML answers 18, `Driver/library version mismatch`, and CUDA 803. Two driver packages side \
         by side do the same for good.\n\nA restart mends it; so does unloading the module when nothing uses the \
         card. To keep automatic updates from doing it again, hold the packages back."
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
        let facts = context.facts;
        let module = facts.kernel_driver.module_version.value();
        let library = facts.user_driver.library_version.value();
        let differ = matches!((module, library), (Some(module), Some(library)) if module != library);
        if facts.driver.nvml_code != Some(18) && (!differ || facts.driver.version.value().is_some()) {
            return vec![match module {
                Some(module) => self.pass(format!("both are {module}")),
                None => self.skip("no module of NVIDIA's is loaded"),
            }];
        }
        let mut finding = self.fail("The driver was updated while it ran: its libraries and its kernel module differ");
        if let Some(module) = module {
            finding = finding.seen(format!("kernel module {module}"), "/proc/driver/nvidia/version");
        }
        if let Some(library) = library {
            finding = finding.seen(format!("libraries {library}"), "libnvidia-ml.so.1");
        }
        if context.container().is_some() {
            return vec![
                finding.remedy(Remedy::advice("Restart the container; if that does not help, restart the host")),
            ];
        }
        let unload = "sudo rmmod nvidia_uvm nvidia_drm nvidia_modeset nvidia && sudo modprobe nvidia";
        let mut remedies = vec![
            Remedy::command("Restart the machine", "sudo reboot"),
            Remedy::command("Or, when no program and no display uses the card", unload),
        ];
        if matches!(context.family(), Family::Ubuntu | Family::Debian) {
            remedies.push(Remedy::command(
                "Keep automatic updates from repeating it",
                "sudo apt-mark hold 'nvidia-*' 'libnvidia-*'",
            ));
        }
        vec![finding.remedies(remedies)]
    }
}
