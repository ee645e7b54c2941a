//! Gathers everything that is known of the machine, what takes long side by side.

use std::path::Path;

use super::facts::{DiskPurpose, Fact, Facts, Origin, SCHEMA, UserDriver};
use super::{Host, cuda_order, driver_api, environment, models, nvml, platform, variables};

/// The facts of `host`. `store` is the folder of our builds and downloads, whether or not it exists yet.
pub fn observe(host: &Host, store: &Path) -> Facts {
    let folders = models::folders(host);
    std::thread::scope(|scope| {
        let driver = scope.spawn(|| nvml::observe(host));
        let files = scope.spawn(|| (models::models(&folders), models::partial_downloads(&folders, store)));
        let user_driver = platform::user_driver(host);
        let library = user_driver.libcuda.value().cloned();
        let api = scope.spawn(move || match library {
            Some(library) if matches!(host, Host::Live) => driver_api::observe(&library),
            Some(_) => Fact::default(),
            None => Fact::unknown("the driver's CUDA library was not found"),
        });
        let mut facts = without_waiting(host, store, user_driver);
        if let Some(folder) = folders.first() {
            facts.disks.push(platform::disk(host, DiskPurpose::Models, folder));
        }
        if let Ok(driver_api) = api.join() {
            facts.driver_api = driver_api;
        }
        if let Ok((models, partial_downloads)) = files.join() {
            facts.models = models;
            facts.partial_downloads = partial_downloads;
        }
        if let Ok((driver, in_pci_order)) = driver.join() {
            let order = host.text_variable(environment::CUDA_DEVICE_ORDER.name);
            let visible = host.variable_even_empty(environment::CUDA_VISIBLE_DEVICES.name);
            facts.driver = driver;
            facts.gpus = cuda_order::number(in_pci_order, order.as_deref(), visible.as_deref());
            if let Fact::Known { value: api, .. } = &facts.driver_api {
                cuda_order::confirm(&mut facts.gpus, api);
            }
        }
        facts
    })
}

fn without_waiting(host: &Host, store: &Path, user_driver: UserDriver) -> Facts {
    let libraries: Vec<_> =
        user_driver.libcuda.value().into_iter().chain(&user_driver.other_libcuda).cloned().collect();
    Facts {
        schema: SCHEMA.to_owned(),
        host: platform::system(host, store),
        pci: platform::cards(host),
        kernel_driver: platform::kernel_driver(host),
        container: platform::container(host),
        wsl: platform::wsl(host, &libraries),
        user_driver,
        disks: vec![platform::disk(host, DiskPurpose::Store, store)],
        jit_cache: platform::jit_cache(host),
        variables: variables::variables(host),
        llama_config: variables::llama_config(host),
        default_port_free: default_port_free(host),
        ..Facts::default()
    }
}

/// llama-server's default port.
/// Source: llama.cpp common/common.h at b11434.
const DEFAULT_PORT: u16 = 8080;

fn default_port_free(host: &Host) -> Fact<bool> {
    if !matches!(host, Host::Live) {
        return Fact::default();
    }
    match std::net::TcpListener::bind(("127.0.0.1", DEFAULT_PORT)) {
        Ok(_) => Fact::known(true, Origin::OperatingSystem),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Fact::known(false, Origin::OperatingSystem),
        Err(error) => Fact::unknown(error.to_string()),
    }
}
