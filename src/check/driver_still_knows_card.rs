//! Asks whether this holds: the driver's branch still knows the card.

use super::{Check, Context, Finding, Group, Needs, remedy};
use crate::manifest::generations::{Generation, generation_of_device};

pub(super) struct DriverStillKnowsCard;

impl Check for DriverStillKnowsCard {
    fn id(&self) -> &'static str {
        "driver-still-knows-card"
    }
    fn title(&self) -> &'static str {
        "The driver's branch still knows the card"
    }
    fn explanation(&self) -> &'static str {
        "Driver branch 580 is the last for Maxwell, Pascal and Volta (GTX 900, GTX 10, TITAN V, V100). From 590 \
         on the driver loads and ignores them; the kernel log says that the card `is supported through the NVIDIA \
         580.xx Legacy drivers`. Such a machine stays at branch 580, which runs CUDA up to 13.0, and at CUDA 12 \
         builds of llama.cpp."
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
        let kernel = context.facts.kernel_driver.module_version.value();
        let Some(version) = kernel.or_else(|| context.facts.driver.version.value()) else {
            return vec![self.skip("no driver's version is known")];
        };
        let old = context
            .pci_gpus()
            .iter()
            .filter_map(|card| generation_of_device(&card.device))
            .find(|generation| *generation < Generation::Turing);
        let Some(generation) = old.filter(|_| version.branch >= 590) else {
            return vec![self.pass(format!("driver {version}"))];
        };
        vec![
            self.fail(format!(
                "Driver {version} no longer knows {} cards: branch 580 is the last that does",
                generation.name()
            ))
            .remedies(remedy::install_driver(*context)),
        ]
    }
}
