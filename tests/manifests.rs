//! The embedded manifests: each parses, is sorted, and says where its rows come from.

use llama_doctor::gguf::{FileBytes, Header};
use llama_doctor::manifest::{estimates, gpus, models, shapes};
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

#[test]
fn the_catalogue_is_sorted_unique_and_sourced() {
    assert!(models::all().len() >= 25, "{} models", models::all().len());
    assert!(models::all().is_sorted_by(|one, next| one.name < next.name));
    for model in models::all() {
        assert!(model.source.starts_with("https://"), "{}", model.name);
        assert!(is_a_date(&model.checked), "{}", model.name);
        assert!(model.name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c)));
        assert!(
            model.repository.split('/').count() == 2
                && model.file.rsplit_once('.').is_some_and(|(_, end)| end == "gguf"),
            "{}",
            model.name
        );
        assert!(!model.licence.is_empty() && !model.title.is_empty(), "{}", model.name);
        assert!(shapes::by_name(&model.shape).is_some(), "{} has no shape", model.name);
        let is_commit = model.revision.len() == 40 && model.revision.bytes().all(|byte| byte.is_ascii_hexdigit());
        assert!(is_commit || model.revision == "main", "{}", model.name);
        assert_eq!(model.sha256.is_empty(), model.sha256_source.is_empty(), "{}", model.name);
        assert!(model.bytes.keys().all(|quantization| model.sha256.contains_key(quantization)), "{}", model.name);
        for (quantization, bytes) in &model.bytes {
            // The shape's tensors and the file's real length leave a header of a real header's length.
            let file = models::file(&model.name, Some(quantization)).unwrap();
            assert_eq!(file.model.file_bytes(), *bytes, "{}", model.name);
            let header = file.model.shards[0].data_offset;
            assert!((4 << 20..16 << 20).contains(&header), "{}: a header of {header} bytes", model.name);
        }
    }
}

#[test]
fn every_shape_unfolds_in_every_quantization() {
    assert!(shapes::all().is_sorted_by(|one, next| one.name < next.name));
    for model in models::all() {
        let quantizations = model.quantizations();
        assert!(!quantizations.is_empty(), "{}", model.name);
        let mut parameters = Vec::new();
        for quantization in quantizations {
            let file = models::file(&model.name, Some(quantization)).unwrap();
            let header = &file.model;
            assert_eq!(
                header.tensors.last().map(|last| last.offset + last.bytes),
                header.shards.first().map(|shard| shard.file_bytes - shard.data_offset)
            );
            parameters.push(header.parameters());
        }
        parameters.dedup();
        assert_eq!(parameters.len(), 1, "{}", model.name);
    }
}

#[test]
fn a_catalogue_name_means_q4_k_m() {
    let file = models::file("Qwen2.5-14B-Instruct", None).unwrap();
    assert_eq!((file.quantization.as_str(), file.file_name.as_str()), ("Q4_K_M", "Qwen2.5-14B-Instruct-Q4_K_M.gguf"));
    assert_eq!(file.model.parameters(), 14_770_033_664);
    assert_eq!(models::file("gpt-oss-20b", None).unwrap().quantization, "MXFP4");
    assert_eq!(models::file("qwen2.5-3b-instruct", Some("q8_0")).unwrap().quantization, "Q8_0");
    assert!(models::file("qwen2.5-3b-instruct", Some("Q9")).unwrap_err().to_string().contains("`Q9`"));
    assert!(matches!(
        models::file("qwen2.5-14b-instruckt", None),
        Err(models::CatalogueError::UnknownName { nearest, .. }) if nearest[0] == "qwen2.5-14b-instruct"
    ));
}

/// The headers that the truth was measured with, and what the catalogue knows of the same models.
#[test]
fn an_embedded_shape_is_the_header_that_llama_cpp_wrote() {
    for (header, name, quantization) in [
        ("Qwen2.5-14B-Instruct-Q4_K_M", "qwen2.5-14b-instruct", "Q4_K_M"),
        ("Qwen2.5-3B-Instruct-Q4_K_M", "qwen2.5-3b-instruct", "Q4_K_M"),
        ("Qwen2.5-32B-Instruct-Q4_K_M", "qwen2.5-32b-instruct", "Q4_K_M"),
        ("Llama-3.1-8B-Instruct-Q8_0", "llama-3.1-8b-instruct", "Q8_0"),
        ("Llama-3.1-8B-Instruct-IQ4_XS", "llama-3.1-8b-instruct", "IQ4_XS"),
        ("Llama-3.1-8B-Instruct-Q5_K_M", "llama-3.1-8b-instruct", "Q5_K_M"),
        ("Llama-3.2-1B-Instruct-Q4_K_M", "llama-3.2-1b-instruct", "Q4_K_M"),
        ("Llama-3.3-70B-Instruct-Q4_K_M", "llama-3.3-70b-instruct", "Q4_K_M"),
        ("Gemma-3-12B-Q4_K_M", "gemma-3-12b-it", "Q4_K_M"),
        ("Granite-4.0-H-Tiny-Q4_K_M", "granite-4.0-h-tiny", "Q4_K_M"),
        ("Phi-3.5-mini-Q4_K_M", "phi-3.5-mini-instruct", "Q4_K_M"),
        ("Qwen3-8B-Q4_K_M", "qwen3-8b", "Q4_K_M"),
        ("Qwen3-30B-A3B-Q4_K_M", "qwen3-30b-a3b", "Q4_K_M"),
        ("Qwen3-Next-80B-A3B-Q4_K_M", "qwen3-next-80b-a3b-instruct", "Q4_K_M"),
        ("gpt-oss-20b-MXFP4", "gpt-oss-20b", "MXFP4"),
    ] {
        let path = format!("{}/tests/truth/headers/{header}.gguf", env!("CARGO_MANIFEST_DIR"));
        let real = Header::read(&FileBytes::open(path.as_ref()).unwrap()).unwrap();
        let embedded = models::file(name, Some(quantization)).unwrap().model;
        assert_eq!(embedded.tensors, real.tensors, "{name}");
        for (key, value) in embedded.metadata.iter().filter(|(key, _)| *key != "general.name") {
            assert_eq!(real.metadata.get(key), Some(value), "{name}: {key}");
        }
    }
}

/// Rows are looked up by the last that is not above a card's capability, so their order matters.
#[test]
fn estimates_are_sorted_and_sourced() {
    let (overheads, speeds) = (estimates::overheads(), estimates::speeds());
    assert!(overheads.context.is_sorted_by(|one, next| one.capability < next.capability));
    assert!(overheads.cublas.is_sorted_by(|one, next| one.capability < next.capability));
    assert!(speeds.card.is_sorted_by(|one, next| one.capability < next.capability));
    assert!(overheads.context.iter().all(|row| row.less_mib < row.mib && !row.source.is_empty()));
    assert!(overheads.context.iter().all(|row| is_a_date(&row.checked)));
    assert!(speeds.card.iter().all(|row| (0.1..1.0).contains(&row.efficiency) && is_a_date(&row.checked)));
    for card in gpus::cards() {
        let row = estimates::row(&overheads.context, card.compute_capability, |row| row.capability).unwrap();
        assert!(row.capability <= card.compute_capability, "{}", card.name);
    }
}
