//! The search against the plain way: every step tried, the last that fits taken.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;

use llama_doctor::fit::checkpoint::Limits;
use llama_doctor::fit::need::Server;
use llama_doctor::fit::plan::LimitedBy;
use llama_doctor::fit::search::{Asked, Budget, Found, Search, Wish};
use llama_doctor::fit::settings::{CacheType, Device, GpuLayers, Settings};
use llama_doctor::fit::{Build, Model};
use llama_doctor::gguf::{self, Bytes as _, FileBytes, Header};
use llama_doctor::units::{Bytes, GIB, MIB};

fn model(name: &str) -> Model {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/truth/headers").join(format!("{name}.gguf"));
    let bytes = FileBytes::open(&path).unwrap();
    let header = Header::read(&bytes).unwrap();
    Model::new(&gguf::Model::join(vec![(name.to_owned(), bytes.len(), header)]).unwrap()).unwrap()
}

fn wish(model: &Model, settings: Settings, weight: f64) -> Wish<'_> {
    Wish {
        server: Server { model, settings, draft: None, projector: None, limits: Limits::default() },
        context: None,
        min_context: 0,
        weight,
        choose_layers: false,
        choose_cpu_moe: false,
    }
}

fn budgets(usable: &[u64]) -> Vec<Budget> {
    let budget = |(index, usable): (usize, &u64)| Budget {
        device: Device {
            id: format!("CUDA{index}"),
            compute_capability: "8.6".parse().unwrap(),
            total: Bytes(*usable),
            free: Bytes(*usable),
            measured_overhead: None,
        },
        usable: *usable,
    };
    usable.iter().enumerate().map(budget).collect()
}

fn contexts(found: &Found) -> Vec<u32> {
    found.servers.iter().map(|server| server.need.settings.context).collect()
}

const fn equal(kind: CacheType) -> (CacheType, CacheType) {
    (kind, kind)
}

/// Steps are 16 times as long as usual, so that all of them can be tried.
const COARSE: f64 = 16.0;

#[test]
fn as_every_step_tried() {
    let all_on_gpu = Settings { gpu_layers: GpuLayers::All, ..Settings::default() };
    let apart = Settings { kv_unified: false, parallel: 3, ..all_on_gpu.clone() };
    let half = Settings { gpu_layers: GpuLayers::Count(20), ..Settings::default() };
    let unprobed = Settings { flash_attention: llama_doctor::fit::settings::FlashAttention::Off, ..all_on_gpu.clone() };
    let cases: [(&str, &Settings, &[u64], CacheType); 12] = [
        ("Qwen2.5-14B-Instruct-Q4_K_M", &all_on_gpu, &[11 * GIB], CacheType::F16),
        ("Qwen2.5-14B-Instruct-Q4_K_M", &all_on_gpu, &[11 * GIB], CacheType::Q8_0),
        ("Llama-3.1-8B-Instruct-Q4_K_M", &apart, &[10 * GIB], CacheType::Q4_0),
        ("Llama-3.1-8B-Instruct-Q4_K_M", &unprobed, &[12 * GIB], CacheType::F16),
        ("Llama-3.3-70B-Instruct-Q4_K_M", &all_on_gpu, &[30 * GIB, 20 * GIB], CacheType::Q8_0),
        ("Llama-3.3-70B-Instruct-Q4_K_M", &half, &[16 * GIB], CacheType::F16),
        ("Gemma-3-4B-Q4_K_M", &all_on_gpu, &[5 * GIB], CacheType::F16),
        ("gpt-oss-20b-MXFP4", &all_on_gpu, &[14 * GIB], CacheType::Q8_0),
        ("Qwen3-30B-A3B-Q4_K_M", &all_on_gpu, &[20 * GIB], CacheType::F16),
        ("DeepSeek-V2-Lite-Q4_K_M", &all_on_gpu, &[13 * GIB], CacheType::F16),
        ("Granite-4.0-H-Tiny-Q4_K_M", &all_on_gpu, &[5 * GIB], CacheType::Q8_0),
        ("Mamba-2.8B-Q4_K_M", &all_on_gpu, &[4 * GIB], CacheType::F16),
    ];
    for (name, settings, usable, kind) in cases {
        let model = model(name);
        let budgets = budgets(usable);
        let wish = wish(&model, settings.clone(), COARSE);
        let search = Search::new(&[&wish], &budgets, Build::NEWEST).unwrap();
        let asked = Asked { types: equal(kind), beyond_training: false };
        let tried: Vec<Found> = (0..=search.steps(asked)).map(|step| search.at_step(step, asked).unwrap()).collect();
        let last = tried.iter().rposition(|found| found.fits);
        let found = search.largest(asked).unwrap();
        assert_eq!(contexts(&found), contexts(&tried[last.unwrap_or(0)]), "{name} {kind}");
        assert_eq!(found.fits, last.is_some(), "{name} {kind}");
        assert_eq!(found.headroom, tried[last.unwrap_or(0)].headroom, "{name} {kind}");
        let first_short = tried.iter().position(|found| !found.fits).unwrap_or(tried.len());
        assert_eq!(
            first_short,
            last.map_or(0, |last| last + 1),
            "{name} {kind}: need falls somewhere as contexts grow"
        );
    }
}

#[test]
fn of_several_servers_too() {
    let (judge, checked) = (model("Qwen2.5-3B-Instruct-Q4_K_M"), model("Qwen2.5-14B-Instruct-Q4_K_M"));
    let settings = Settings { gpu_layers: GpuLayers::All, ..Settings::default() };
    let wishes = [wish(&checked, settings.clone(), 3.0 * COARSE), wish(&judge, settings, COARSE)];
    let budgets = budgets(&[16 * GIB]);
    let search = Search::new(&[&wishes[0], &wishes[1]], &budgets, Build::NEWEST).unwrap();
    for kind in [CacheType::F16, CacheType::Q8_0, CacheType::Q4_0] {
        let asked = Asked { types: equal(kind), beyond_training: false };
        let tried: Vec<Found> = (0..=search.steps(asked)).map(|step| search.at_step(step, asked).unwrap()).collect();
        let last = tried.iter().rfind(|found| found.fits).unwrap();
        assert_eq!(contexts(&search.largest(asked).unwrap()), contexts(last), "{kind}");
    }
}

/// One step more does not fit, whatever the model remembers; and what the next step needs is a real prediction as well.
#[test]
fn the_next_step_does_not_fit() {
    let settings = Settings { gpu_layers: GpuLayers::All, ..Settings::default() };
    for name in [
        "Command-R7B-Q4_K_M",
        "DeepSeek-V3-Q4_K_M",
        "Gemma-2-9B-Q4_K_M",
        "Gemma-3-27B-Q4_K_M",
        "Granite-4.0-H-Small-Q4_K_M",
        "Llama-3.2-1B-Instruct-Q4_K_M",
        "Mixtral-8x7B-Q4_K_M",
        "Phi-3.5-mini-Q4_K_M",
        "Qwen2.5-32B-Instruct-Q4_K_M",
        "Qwen3-Next-80B-A3B-Q4_K_M",
        "gpt-oss-20b-MXFP4",
    ] {
        let model = model(name);
        let asked = Asked { types: equal(CacheType::Q8_0), beyond_training: true };
        let wish = wish(&model, settings.clone(), 1.0);
        let unlimited = budgets(&[4096 * GIB]);
        let least = Search::new(&[&wish], &unlimited, Build::NEWEST).unwrap().at_step(0, asked).unwrap();
        let budgets = budgets(&[least.servers[0].need.devices[0].total() + 1500 * MIB]);
        let search = Search::new(&[&wish], &budgets, Build::NEWEST).unwrap();
        let found = search.largest(asked).unwrap();
        assert!(found.fits && found.servers[0].limited_by == LimitedBy::Vram, "{name}");
        let step = u64::from(found.servers[0].need.settings.context / 256) - 1;
        assert!(search.at_step(step, asked).unwrap().fits, "{name}");
        assert!(!search.at_step(step + 1, asked).unwrap().fits, "{name}");
    }
}
