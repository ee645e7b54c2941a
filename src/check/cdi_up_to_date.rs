//! Asks whether this holds: the container device files fit the driver.

use super::{Check, Context, Finding, Group, Needs, Remedy};

pub(super) struct CdiUpToDate;

impl Check for CdiUpToDate {
    fn id(&self) -> &'static str {
        "cdi-up-to-date"
    }
    fn title(&self) -> &'static str {
        "The container device files fit the driver"
    }
    fn explanation(&self) -> &'static str {
        "Podman, and Docker with CDI, read which driver files to mount from `/etc/cdi/nvidia.yaml`. It names \
         files with the driver's version; after a driver update they are gone, and containers no longer start \
         until the file is written anew."
    }
    fn group(&self) -> Group {
        Group::Containers
    }
    fn needs(&self) -> Needs {
        Needs::Driver
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        let Some(tools) = context.facts.container.tools.as_ref().filter(|tools| !tools.cdi_specifications.is_empty())
        else {
            return vec![self.skip("no CDI specification of NVIDIA's")];
        };
        let Some(missing) = tools.cdi_missing_files.first() else {
            return vec![self.pass("every file it names exists")];
        };
        vec![
            self.warn("The container device specification names driver files that are gone")
                .seen(missing.display().to_string(), tools.cdi_specifications[0].display().to_string())
                .remedy(Remedy::command("Write it anew", "sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml")),
        ]
    }
}
