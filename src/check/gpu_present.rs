//! Is there an NVIDIA card at all?

use super::{Check, Context, Finding, Group, Remedy};
use crate::host::facts::Fact;

pub(super) struct GpuPresent;

impl Check for GpuPresent {
    fn id(&self) -> &'static str {
        "gpu-present"
    }
    fn title(&self) -> &'static str {
        "An NVIDIA GPU is in the machine"
    }
    fn explanation(&self) -> &'static str {
        "Looks for an NVIDIA card on the PCI bus, in Windows' registry, and in the driver's own list. Without one, \
         llama.cpp runs on the processor: it works, slowly.\n\nA card that should be there and is not: laptops can \
         switch it off in the BIOS or with the maker's tool (Eco mode, iGPU only); a virtual machine must have it \
         passed through; a container must be started with `--gpus all`; a desktop card may not sit well in its slot."
    }
    fn group(&self) -> Group {
        Group::Hardware
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        if context.card_seen() {
            let names: Vec<&str> = context.facts.gpus.iter().map(|gpu| gpu.name.as_str()).collect();
            let count = context.pci_gpus().len();
            let unnamed =
                if count == 0 { "a card without an answer".to_owned() } else { format!("{count} on the PCI bus") };
            return vec![self.pass(if names.is_empty() { unnamed } else { names.join(", ") })];
        }
        let mut finding = self.warn("No NVIDIA GPU is in this machine: llama.cpp will use the processor");
        if let Some(windows) = context.windows() {
            let seen = match &windows.display_adapters {
                Fact::Known { value: adapters, .. } if adapters.is_empty() => {
                    "Windows lists no display adapter".to_owned()
                }
                Fact::Known { value: adapters, .. } => {
                    let names: Vec<&str> = adapters.iter().map(|adapter| adapter.name.as_str()).collect();
                    format!("Windows lists {}", names.join(", "))
                }
                Fact::Unknown { unknown } => format!("The display adapters could not be read: {unknown}"),
            };
            finding = finding.seen(seen, "registry");
        } else if let Some(reason) = context.facts.pci.why_unknown() {
            finding = finding.seen(format!("The PCI bus could not be read: {reason}"), "/sys/bus/pci/devices");
        }
        if context.facts.driver.nvml_code == Some(9) {
            finding =
                finding.seen("The driver's libraries are installed, and its kernel module is not loaded", "NVML 9");
        }
        if context.facts.wsl.is_some() {
            finding = finding.seen("WSL shows no card of Windows either", "/dev/dxg");
        }
        if let Some(kind) = context.container() {
            finding = finding.remedy(Remedy::advice(format!(
                "This is a container ({kind}): if the host has a card, start the container with `--gpus all`"
            )));
        }
        vec![finding.remedy(Remedy::command(
            "Plan for a card that you do not have yet",
            "llama-doctor fit MODEL --gpu rtx-3090",
        ))]
    }
}
