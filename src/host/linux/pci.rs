//! NVIDIA's display devices on the PCI bus, from files that do not wake a sleeping card.

use crate::host::Host;
use crate::host::facts::{Fact, Origin, PciGpu};

pub(in crate::host) fn cards(host: &Host) -> Fact<Vec<PciGpu>> {
    let folder = host.path("/sys/bus/pci/devices");
    let devices = match fs_err::read_dir(folder) {
        Ok(devices) => devices,
        Err(error) => return Fact::unknown(error.to_string()),
    };
    let mut cards: Vec<PciGpu> = devices
        .flatten()
        .filter_map(|device| {
            // `config` and `current_link_speed` would wake a card in D3cold; these files do not.
            let read =
                |name: &str| fs_err::read_to_string(device.path().join(name)).ok().map(|text| text.trim().to_owned());
            // VGA (0300) or 3D (0302) controllers of vendor 10de.
            let class = read("class")?;
            if read("vendor")? != "0x10de" || !(class.starts_with("0x0300") || class.starts_with("0x0302")) {
                return None;
            }
            let driver = fs_err::read_link(device.path().join("driver")).ok();
            Some(PciGpu {
                address: device.file_name().to_string_lossy().into_owned(),
                device: read("device")?.trim_start_matches("0x").to_owned(),
                driver: driver.and_then(|link| Some(link.file_name()?.to_string_lossy().into_owned())),
                runtime_status: read("power/runtime_status"),
            })
        })
        .collect();
    cards.sort_by(|one, other| one.address.cmp(&other.address));
    Fact::known(cards, Origin::Sysfs)
}
