//! CUDA's numbering of the GPUs: `CUDA_DEVICE_ORDER` sorts, `CUDA_VISIBLE_DEVICES` picks. NVML knows neither.

use super::facts::{DriverApi, Fact, Gpu};

/// A GPU with what CUDA's default order looks at.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ranked {
    pub gpu: Gpu,
    /// Cores times clock: larger is faster; 0 where the driver does not say.
    pub speed: u64,
    pub mig_instance: bool,
}

/// Numbers the GPUs as CUDA will: those it sees first, as `CUDA0`, `CUDA1` …; then the hidden ones.
/// `in_pci_order` is NVML's order. `visible` is the variable as set: an empty one hides everything.
pub(super) fn number(in_pci_order: Vec<Ranked>, order: Option<&str>, visible: Option<&str>) -> Vec<Gpu> {
    let mut ranked = in_pci_order;
    if order != Some("PCI_BUS_ID") {
        // Stable, so that equal cards stay in PCI order, as in CUDA's own FASTEST_FIRST.
        ranked.sort_by_key(|card| std::cmp::Reverse(card.speed));
    }
    // A split card without instances offers CUDA nothing; of MIG instances a process sees one.
    let usable = |card: &Ranked| card.mig_instance || card.gpu.mig_enabled.value() != Some(&true);
    let mut instance_seen = false;
    let offered: Vec<usize> = (0..ranked.len())
        .filter(|&index| usable(&ranked[index]))
        .filter(|&index| !ranked[index].mig_instance || !std::mem::replace(&mut instance_seen, true))
        .collect();
    let chosen = visible.map_or_else(|| offered.clone(), |list| choose(list, &offered, &ranked));
    let mut slots: Vec<Option<Gpu>> = ranked.into_iter().map(|card| Some(card.gpu)).collect();
    let mut numbered = Vec::with_capacity(slots.len());
    for (number, index) in chosen.into_iter().enumerate() {
        if let Some(gpu) = slots[index].take() {
            numbered.push(Gpu { id: format!("CUDA{number}"), visible: true, ..gpu });
        }
    }
    let hidden = slots.into_iter().flatten().map(|gpu| Gpu { id: "hidden".to_owned(), visible: false, ..gpu });
    numbered.extend(hidden);
    numbered
}

/// Puts the GPUs into the order that CUDA itself has told, where it told one: [`number`] can only guess which card
/// CUDA thinks the fastest. Cards are matched by their place on the bus; anything that does not match one to one
/// (MIG instances share a place) leaves the guess.
pub(super) fn confirm(gpus: &mut [Gpu], api: &DriverApi) {
    let place = |text: &str| text.get(text.len().saturating_sub(12)..).unwrap_or(text).to_ascii_lowercase();
    let told: Vec<String> = api.devices.iter().filter_map(|device| device.pci_bus_id.as_deref().map(place)).collect();
    let visible = gpus.iter().take_while(|gpu| gpu.visible).count();
    let rank = |gpu: &Gpu| {
        let own = place(gpu.pci_bus_id.value()?);
        told.iter().position(|place| *place == own)
    };
    let mut ranks: Vec<usize> = gpus[..visible].iter().filter_map(rank).collect();
    ranks.sort_unstable();
    ranks.dedup();
    if ranks.len() != visible || told.len() != visible {
        return;
    }
    gpus[..visible].sort_by_key(|gpu| rank(gpu));
    for (number, gpu) in gpus[..visible].iter_mut().enumerate() {
        gpu.id = format!("CUDA{number}");
    }
}

/// The first entry that names nothing, or names a card twice, ends the list: so the CUDA driver reads it.
fn choose(list: &str, offered: &[usize], ranked: &[Ranked]) -> Vec<usize> {
    let mut chosen = Vec::new();
    for entry in list.split(',') {
        let Some(index) = resolve(entry.trim(), offered, ranked).filter(|index| !chosen.contains(index)) else { break };
        chosen.push(index);
    }
    chosen
}

/// An entry is a number in CUDA's order, or the beginning of a UUID that fits one card alone.
fn resolve(entry: &str, offered: &[usize], ranked: &[Ranked]) -> Option<usize> {
    if let Ok(number) = entry.parse::<usize>() {
        return offered.get(number).copied();
    }
    if !entry.starts_with("GPU-") && !entry.starts_with("MIG-") {
        return None;
    }
    let fits = |card: &Ranked| matches!(&card.gpu.uuid, Fact::Known { value, .. } if value.starts_with(entry));
    let mut matching = (0..ranked.len()).filter(|&index| fits(&ranked[index]));
    matching.next().filter(|_| matching.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::facts::{DriverApiDevice, GpuOrigin, Origin};
    use crate::units::Bytes;

    fn card(name: &str, uuid: &str, speed: u64) -> Ranked {
        let gpu = Gpu {
            uuid: Fact::known(uuid.to_owned(), Origin::Nvml),
            ..Gpu::new("", GpuOrigin::Nvml, name, None, Bytes(1), Bytes(1))
        };
        Ranked { gpu, speed, mig_instance: false }
    }

    fn two() -> Vec<Ranked> {
        vec![card("slow", "GPU-aaaa-1", 10), card("fast", "GPU-aabb-2", 20)]
    }

    fn numbered(order: Option<&str>, visible: Option<&str>) -> Vec<String> {
        number(two(), order, visible).into_iter().map(|gpu| format!("{} {}", gpu.id, gpu.name)).collect()
    }

    #[test]
    fn the_fastest_comes_first_unless_asked_otherwise() {
        assert_eq!(numbered(None, None), ["CUDA0 fast", "CUDA1 slow"]);
        assert_eq!(numbered(Some("PCI_BUS_ID"), None), ["CUDA0 slow", "CUDA1 fast"]);
    }

    #[test]
    fn the_variable_picks_reorders_and_hides() {
        assert_eq!(numbered(None, Some("1,0")), ["CUDA0 slow", "CUDA1 fast"]);
        assert_eq!(numbered(None, Some("1")), ["CUDA0 slow", "hidden fast"]);
        assert_eq!(numbered(None, Some("GPU-aabb")), ["CUDA0 fast", "hidden slow"]);
        assert_eq!(numbered(None, Some("GPU-aa")), ["hidden fast", "hidden slow"], "fits two cards");
        assert_eq!(numbered(None, Some("")), ["hidden fast", "hidden slow"]);
        assert_eq!(numbered(None, Some("-1")), ["hidden fast", "hidden slow"]);
        assert_eq!(numbered(None, Some("0,7,1")), ["CUDA0 fast", "hidden slow"], "the first bad entry ends the list");
    }

    #[test]
    fn what_cuda_itself_told_decides() {
        let at = |card: Ranked, place: &str| {
            let pci_bus_id = Fact::known(format!("00000000:{place}"), Origin::Nvml);
            Ranked { gpu: Gpu { pci_bus_id, ..card.gpu }, ..card }
        };
        let cards = vec![at(card("one", "GPU-1", 20), "01:00.0"), at(card("two", "GPU-2", 10), "0A:00.0")];
        let mut gpus = number(cards, None, None);
        let device = |place: &str| DriverApiDevice {
            name: String::new(),
            compute_capability: None,
            pci_bus_id: Some(format!("0000:{place}")),
            total: None,
        };
        let mut api = DriverApi {
            library: "libcuda.so.1".into(),
            init: Some(0),
            died: None,
            cuda: None,
            devices: vec![device("0a:00.0"), device("01:00.0")],
        };
        confirm(&mut gpus, &api);
        let names: Vec<_> = gpus.iter().map(|gpu| format!("{} {}", gpu.id, gpu.name)).collect();
        assert_eq!(names, ["CUDA0 two", "CUDA1 one"]);
        api.devices.truncate(1);
        confirm(&mut gpus, &api);
        assert_eq!(gpus[0].name, "two", "what does not match leaves the order");
    }

    #[test]
    fn one_mig_instance_is_seen_and_a_split_card_alone_is_not() {
        let split = |name: &str, instance| {
            let mut card = card(name, name, 5);
            card.gpu.mig_enabled = Fact::known(true, Origin::Nvml);
            Ranked { mig_instance: instance, ..card }
        };
        let ids: Vec<_> = number(vec![split("MIG-a", true), split("MIG-b", true)], None, None)
            .into_iter()
            .map(|gpu| gpu.id)
            .collect();
        assert_eq!(ids, ["CUDA0", "hidden"]);
        assert_eq!(number(vec![split("whole", false)], None, None)[0].id, "hidden");
        assert_eq!(number(vec![split("MIG-a", true), split("MIG-b", true)], None, Some("MIG-b"))[0].name, "MIG-b");
    }
}
