//! The embedded manifests: each parses, is sorted, and says where its rows come from.

use llama_doctor::manifest::gpus;
use llama_doctor::units::ComputeCapability;

fn is_a_date(text: &str) -> bool {
    text.parse::<jiff::civil::Date>().is_ok()
}

#[test]
fn cards_are_sorted_unique_and_sourced() {
    let cards = gpus::cards();
    assert!(cards.len() >= 60, "{} cards", cards.len());
    for pair in cards.windows(2) {
        assert!(pair[0].name < pair[1].name, "`{}` and `{}` are out of order", pair[0].name, pair[1].name);
    }
    for card in cards {
        assert!(card.source.starts_with("https://"), "{}", card.name);
        assert!(is_a_date(&card.checked), "{}", card.name);
        assert!(card.reserved_mib > 0 && card.reserved_mib < card.memory_mib / 10, "{}", card.name);
        assert!((50.0..10_000.0).contains(&card.bandwidth_gb_s), "{}", card.name);
        assert!((5..=12).contains(&card.compute_capability.major), "{}", card.name);
        assert!(card.nvml_name.chars().all(|c| c.is_ascii_graphic() || c == ' '), "{}", card.name);
    }
}

#[test]
fn cards_of_every_generation_are_known() {
    for (name, capability) in [
        ("GTX 970", "5.2"),
        ("GTX 1080 Ti", "6.1"),
        ("RTX 2080 Ti", "7.5"),
        ("RTX 3090", "8.6"),
        ("RTX 4090", "8.9"),
        ("RTX 5090", "12.0"),
        ("Tesla P40", "6.1"),
        ("Tesla V100 32GB", "7.0"),
        ("T4", "7.5"),
        ("A100 80GB", "8.0"),
        ("L40S", "8.9"),
        ("H100", "9.0"),
        ("H200", "9.0"),
        ("B200", "10.0"),
    ] {
        let card = gpus::cards().iter().find(|card| card.name == name).unwrap_or_else(|| panic!("{name}"));
        assert_eq!(card.compute_capability, capability.parse::<ComputeCapability>().unwrap(), "{name}");
    }
}

#[test]
fn every_card_is_found_by_both_its_names() {
    for card in gpus::cards() {
        assert_eq!(gpus::simulated(&card.name, 0).unwrap().name, card.nvml_name);
        assert_eq!(gpus::simulated(&card.nvml_name, 0).unwrap().name, card.nvml_name);
    }
}

#[test]
fn a_gpu_is_named_in_any_case_with_dashes_or_spaces() {
    for spec in ["rtx-3090", "RTX 3090", "rtx3090", "NVIDIA GeForce RTX 3090", "geforce-rtx-3090"] {
        let gpu = gpus::simulated(spec, 0).unwrap_or_else(|failure| panic!("{spec}: {failure}"));
        assert_eq!(gpu.name, "NVIDIA GeForce RTX 3090", "{spec}");
    }
    for (spec, name) in [("p40", "Tesla P40"), ("p100", "Tesla P100-PCIE-16GB"), ("tesla t4", "Tesla T4")] {
        assert_eq!(gpus::simulated(spec, 0).unwrap().name, name, "{spec}");
    }
}

#[test]
fn a_mistyped_or_ambiguous_gpu_gets_near_matches() {
    for (spec, near) in
        [("rtx 3091", "RTX 3090"), ("3090", "RTX 3090"), ("gtx 1080 to", "GTX 1080 Ti"), ("a100", "A100 80GB")]
    {
        let failure = gpus::simulated(spec, 0).unwrap_err();
        assert_eq!(failure.exit_code(), 2);
        assert!(failure.hints[0].contains(near), "{spec}: {:?}", failure.hints);
    }
}

#[test]
fn a_described_gpu() {
    let big = gpus::simulated("big:400GiB:8.6:400GiB", 1).unwrap();
    assert_eq!((big.id.as_str(), big.free), ("CUDA1", big.total));
    let without_free = gpus::simulated("mine:24GiB:8.6", 0).unwrap();
    assert_eq!(without_free.total.0 - without_free.free.0, gpus::DEFAULT_RESERVE.0);
    for wrong in
        ["", ":24GiB:8.6", "x:24GiB", "x:24XB:8.6", "x:24GiB:8.6:25GiB", "x:0:8.6", "x:1GiB:8.6:1GiB:1", "x:9GiB:y"]
    {
        assert_eq!(gpus::simulated(wrong, 0).unwrap_err().exit_code(), 2, "`{wrong}`");
    }
}
