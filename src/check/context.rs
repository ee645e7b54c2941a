//! What a check may look at: the facts, and the questions about them that many checks share.

use crate::build::{BackendState, Build};
use crate::host::facts::{Facts, Gpu, GpuOrigin, ModelFile, ModelHeader, OperatingSystem, PciGpu};
use crate::host::windows_facts::{PCI_VENDOR_NVIDIA, WindowsFacts};
use crate::manifest::generations::{Generation, generation_of_device};

#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    pub facts: &'a Facts,
}

/// Distributions that share their package commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    Ubuntu,
    Debian,
    Fedora,
    RedHat,
    Arch,
    Suse,
    Nixos,
    Alpine,
    Windows,
    Other,
}

impl<'a> Context<'a> {
    pub const fn new(facts: &'a Facts) -> Self {
        Self { facts }
    }

    pub fn on_windows(&self) -> bool {
        self.facts.host.operating_system == OperatingSystem::Windows
    }

    /// Linux with a kernel of its own: neither Windows nor WSL.
    pub fn on_real_linux(&self) -> bool {
        !self.on_windows() && self.facts.wsl.is_none()
    }

    pub fn windows(&self) -> Option<&'a WindowsFacts> {
        self.facts.host.windows.as_ref()
    }

    pub fn container(&self) -> Option<&'a str> {
        self.facts.container.kind.as_deref()
    }

    /// Whether all GPUs were named with `--gpu`.
    pub fn simulated(&self) -> bool {
        !self.facts.gpus.is_empty() && self.facts.gpus.iter().all(|gpu| gpu.origin == GpuOrigin::Simulated)
    }

    pub fn visible_gpus(&self) -> impl Iterator<Item = &'a Gpu> + use<'a> {
        self.facts.gpus.iter().filter(|gpu| gpu.visible)
    }

    /// NVIDIA's cards on the PCI bus of a Linux machine; none where the bus was not read.
    pub fn pci_gpus(&self) -> &'a [PciGpu] {
        self.facts.pci.value().map_or(&[], Vec::as_slice)
    }

    /// Whether any sign of an NVIDIA card was seen, with a driver or without.
    pub fn card_seen(&self) -> bool {
        let in_registry = self.windows().and_then(|windows| windows.display_adapters.value()).is_some_and(|adapters| {
            adapters.iter().any(|adapter| adapter.pci.is_some_and(|id| id.vendor == PCI_VENDOR_NVIDIA))
        });
        // A driver that refuses is there for a card. Only "not loaded" (9) is also said where a card was taken out.
        let bus_is_empty = self.facts.pci.value().is_some_and(Vec::is_empty) && self.container().is_none();
        let refused = self.facts.driver.nvml_code.is_some_and(|code| code != 9 || !bus_is_empty);
        let unreadable = !self.facts.driver.unreadable.is_empty();
        let shown_by_wsl = self.facts.wsl.as_ref().is_some_and(|wsl| wsl.dxg && wsl.driver_libraries);
        !self.facts.gpus.is_empty()
            || !self.pci_gpus().is_empty()
            || in_registry
            || refused
            || unreadable
            || shown_by_wsl
    }

    /// The generations of the cards, from PCI device numbers, or from what the driver says.
    pub fn generations(&self) -> Vec<Generation> {
        let from_bus = self.pci_gpus().iter().filter_map(|card| generation_of_device(&card.device));
        let mut found: Vec<Generation> = from_bus.collect();
        let capabilities = self.facts.gpus.iter().filter_map(|gpu| gpu.compute_capability);
        found.extend(capabilities.filter_map(Generation::of_capability));
        found.sort_unstable();
        found.dedup();
        found
    }

    /// The build that would run: the first whose CUDA backend works, else one that loads, else the first of all.
    pub fn build_to_run(&self) -> Option<&'a Build> {
        let in_state = |state: BackendState| {
            let fits = move |build: &&Build| build.backend("CUDA").is_some_and(|backend| backend.state == state);
            self.facts.builds.iter().find(fits)
        };
        in_state(BackendState::Works).or_else(|| in_state(BackendState::Loads)).or_else(|| self.facts.builds.first())
    }

    /// The models whose header was read.
    pub fn model_headers(&self) -> Vec<(&'a ModelFile, &'a ModelHeader)> {
        let models = self.facts.models.value().into_iter().flatten();
        models.filter_map(|model| Some((model, model.header.as_ref()?))).collect()
    }

    /// How a build is named to people.
    pub fn name_of(build: &Build) -> String {
        build.version.as_ref().map_or_else(
            || format!("the build in `{}`", build.path.display()),
            |version| format!("llama.cpp {version}"),
        )
    }

    pub fn variable(&self, name: &str) -> Option<&'a str> {
        self.facts.variables.get(name).map(String::as_str)
    }

    pub fn family(&self) -> Family {
        if self.on_windows() {
            return Family::Windows;
        }
        let ids = self.facts.host.distribution_ids.value().map(String::as_str).unwrap_or_default();
        for id in ids.split_whitespace() {
            let family = match id {
                "ubuntu" | "linuxmint" | "pop" | "zorin" | "elementary" => Family::Ubuntu,
                "debian" | "raspbian" | "kali" => Family::Debian,
                "fedora" => Family::Fedora,
                "rhel" | "centos" | "rocky" | "almalinux" | "ol" | "amzn" => Family::RedHat,
                "arch" | "manjaro" | "endeavouros" | "cachyos" => Family::Arch,
                "opensuse" | "suse" | "sles" | "opensuse-leap" | "opensuse-tumbleweed" => Family::Suse,
                "nixos" => Family::Nixos,
                "alpine" => Family::Alpine,
                _ => continue,
            };
            return family;
        }
        Family::Other
    }
}
