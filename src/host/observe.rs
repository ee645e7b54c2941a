//! Gathers everything that is known of the machine, what takes long side by side.

use std::path::Path;

use super::facts::{DiskPurpose, Fact, Facts, Gpu, Origin, SCHEMA, UserDriver};
use super::{Host, cuda_order, driver_api, environment, models, nvml, platform, variables};

/// The facts of `host`. `store` is the folder of our builds and downloads, whether or not it exists yet.
pub fn observe(host: &Host, store: &Path) -> Facts {
    observe_while(host, store, |_| ()).0
}

/// As [`observe`], and does `meanwhile` with the facts so far while CUDA starts in its child process: on a large card
/// that alone takes a quarter of a second, so it begins first and is waited for last.
pub fn observe_while<T>(host: &Host, store: &Path, meanwhile: impl FnOnce(&mut Facts) -> T) -> (Facts, T) {
    let folders = models::folders(host);
    let user_driver = platform::user_driver(host);
    let live = matches!(host, Host::Live);
    let asking = user_driver.libcuda.value().filter(|_| live).map(|library| driver_api::start(library));
    let mut facts = std::thread::scope(|scope| {
        let driver = scope.spawn(|| nvml::observe(host));
        let files = scope.spawn(|| (models::models(&folders), models::partial_downloads(&folders, store)));
        let mut facts = without_waiting(host, store, user_driver);
        if let Some(folder) = folders.first() {
            facts.disks.push(platform::disk(host, DiskPurpose::Models, folder));
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
        }
        facts
    });
    let done = meanwhile(&mut facts);
    facts.driver_api = match asking {
        Some(asking) if nothing_to_ask(&facts) => {
            asking.leave();
            Fact::unknown("no NVIDIA card is here that CUDA could start on")
        }
        Some(asking) => asking.answer(),
        None if facts.user_driver.libcuda.value().is_some() => Fact::default(),
        None => Fact::unknown("the driver's CUDA library was not found"),
    };
    confirm_numbers(&mut facts);
    (facts, done)
}

/// A driver's library without any card: neither the bus nor NVML shows one.
fn nothing_to_ask(facts: &Facts) -> bool {
    let bus_is_empty = facts.pci.value().is_some_and(Vec::is_empty);
    let nvml_answered = facts.driver.nvml.value().is_some() && facts.driver.unreadable.is_empty();
    bus_is_empty && nvml_answered && facts.gpus.is_empty()
}

/// Numbers the cards as CUDA itself told, in the builds too, which were judged by the guess before.
fn confirm_numbers(facts: &mut Facts) {
    let Fact::Known { value: api, .. } = &facts.driver_api else { return };
    let place = |gpu: &Gpu| gpu.pci_bus_id.value().cloned();
    let guessed: Vec<(Option<String>, String)> = facts.gpus.iter().map(|gpu| (place(gpu), gpu.id.clone())).collect();
    cuda_order::confirm(&mut facts.gpus, api);
    let told = |id: &str| {
        let (place_of_card, _) = guessed.iter().find(|(_, guess)| guess == id)?;
        let card = facts.gpus.iter().find(|gpu| gpu.visible && place(gpu) == *place_of_card)?;
        place_of_card.is_some().then(|| card.id.clone())
    };
    for verdict in
        facts.builds.iter_mut().flat_map(|build| &mut build.backends).flat_map(|backend| &mut backend.per_gpu)
    {
        if let Some(id) = told(&verdict.gpu) {
            verdict.gpu = id;
        }
    }
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
