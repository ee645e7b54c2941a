//! Gathers everything that is known of the machine.

use std::path::Path;

use super::facts::{Facts, SCHEMA};
use super::{Host, cuda_order, environment, nvml, platform};

/// The facts of `host`. `store` is the folder of our builds and downloads, whether or not it exists yet.
pub fn observe(host: &Host, store: &Path) -> Facts {
    let (driver, in_pci_order) = nvml::observe(host);
    let order = host.text_variable(environment::CUDA_DEVICE_ORDER.name);
    let visible = host.variable_even_empty(environment::CUDA_VISIBLE_DEVICES.name);
    Facts {
        schema: SCHEMA.to_owned(),
        host: platform::system(host, store),
        driver,
        gpus: cuda_order::number(in_pci_order, order.as_deref(), visible.as_deref()),
        ..Facts::default()
    }
}
