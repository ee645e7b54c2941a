//! `fit` as a user runs it: the seed's story, the largest context, what limits it, several models, and what would fit.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use llama_doctor::fit::plan::{LimitedBy, Plan, PlanOption};
use llama_doctor::gguf::{FileBytes, Header};
use llama_doctor::units::MIB;

use support::gguf::Gguf;

fn run(arguments: &str) -> Output {
    let home = tempfile::tempdir().unwrap();
    Command::new(env!("CARGO_BIN_EXE_llama-doctor"))
        .args(arguments.split_whitespace())
        .args(["--offline", "--home"])
        .arg(home.path())
        .env("HF_HOME", home.path())
        .output()
        .unwrap()
}

fn plan(arguments: &str) -> (Plan, i32) {
    let output = run(&format!("fit {arguments} --json"));
    let text = String::from_utf8(output.stdout).unwrap();
    let plan = serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("{arguments}: {error}\n{text}\n{}", String::from_utf8_lossy(&output.stderr)));
    (plan, output.status.code().unwrap())
}

fn only(arguments: &str) -> PlanOption {
    let (plan, _) = plan(arguments);
    let [option] = &plan.options[..] else { panic!("{arguments}: {} options", plan.options.len()) };
    option.clone()
}

#[test]
fn the_seeds_story() {
    for (context, kind, kv_mib, fits) in [
        (32_768, "f16", 6144, true),
        (32_768, "q8_0", 3264, true),
        (65_536, "q8_0", 6528, true),
        (131_072, "q4_0", 6912, true),
        (131_072, "f16", 24_576, false),
    ] {
        let arguments = format!("qwen2.5-14b-instruct --gpu rtx-3090 -c {context} -ctk {kind} -ctv {kind}");
        let option = only(&arguments);
        assert_eq!(option.servers[0].kv_bytes.0, kv_mib * MIB, "{arguments}");
        assert_eq!(option.fits, fits, "{arguments}");
        assert_eq!(option.servers[0].limited_by, LimitedBy::Requested);
        let beyond = option.notes.iter().any(|note| note.contains("trained on"));
        assert_eq!(beyond, context > 32_768, "{arguments}: {:?}", option.notes);
    }
}

/// One step more must not fit, wherever VRAM is the limit.
#[test]
fn the_largest_context_is_the_largest() {
    for arguments in [
        "qwen2.5-14b-instruct --gpu rtx-3090 --prefer context",
        "qwen2.5-14b-instruct --gpu small:16GiB:8.6:15GiB -np 3",
        "gemma-3-12b-it --gpu rtx-3060 -np 2",
        "llama-3.3-70b-instruct --gpu rtx-3090 --gpu rtx-3090",
        "gpt-oss-20b --gpu tight:13GiB:8.9:13GiB -ub 1024",
    ] {
        let (plan, code) = plan(arguments);
        assert_eq!(code, 0, "{arguments}");
        let limited = plan.options.iter().filter(|option| option.servers[0].limited_by == LimitedBy::Vram);
        let mut seen = 0;
        for option in limited {
            let server = &option.servers[0];
            assert!(option.fits && option.headroom_bytes.values().all(|left| *left >= 0), "{arguments}");
            let step = if server.kv_unified { 256 } else { 256 * server.parallel };
            assert_eq!(server.context % step, 0, "{arguments}");
            let types = format!("-ctk {} -ctv {}", server.cache_type_k, server.cache_type_v);
            assert!(only(&format!("{arguments} {types} -c {}", server.context)).fits, "{arguments} {types}");
            let more = only(&format!("{arguments} {types} -c {}", server.context + step));
            assert!(!more.fits, "{arguments} {types}: {} also fits", server.context + step);
            seen += 1;
        }
        assert!(seen > 0, "{arguments}: nothing is limited by VRAM");
    }
}

#[test]
fn enough_vram_stops_at_the_training_context() {
    let (plan, code) = plan("qwen2.5-3b-instruct --gpu big:400GiB:8.6:400GiB");
    assert_eq!((code, plan.recommended), (0, Some(0)));
    for option in &plan.options {
        let server = &option.servers[0];
        assert_eq!((server.context, server.limited_by), (32_768, LimitedBy::TrainContext));
        assert!(server.vram_context.unwrap() > 1_000_000);
    }
    assert_eq!(plan.devices[0].free_bytes, plan.devices[0].total_bytes);
}

#[test]
fn figures_add_up() {
    let (plan, _) = plan("qwen2.5-14b-instruct qwen2.5-3b-instruct --gpu rtx-3090 --gpu rtx-3060 --reserve 512MiB");
    for option in &plan.options {
        for device in &plan.devices {
            let used: u64 = option.servers.iter().map(|server| server.memory[&device.id].total.unwrap().0).sum();
            let left = device.free_bytes.0 as i64 - device.reserve_bytes.0 as i64 - used as i64;
            assert_eq!(option.headroom_bytes[&device.id], left);
            // Windows keeps a part of each card for itself.
            assert!(device.reserve_bytes.0 == 512 * MIB || cfg!(windows) && device.reserve_bytes.0 > 512 * MIB);
            for server in &option.servers {
                let parts = server.memory[&device.id];
                let sum = parts.model.0 + parts.context.0 + parts.compute.0 + parts.overhead.unwrap().0;
                assert_eq!(parts.total.unwrap().0, sum);
            }
        }
        assert_eq!(option.fits, option.headroom_bytes.values().all(|left| *left >= 0));
    }
}

#[test]
fn two_models_share_a_card() {
    let (joint, _) = plan("qwen2.5-14b-instruct qwen2.5-3b-instruct --gpu rtx-3090 --prefer context --weights 3,1");
    for option in &joint.options {
        let [main, judge] = &option.servers[..] else { panic!() };
        assert!(main.context.abs_diff(3 * judge.context) < 3 * 512, "{} and {}", main.context, judge.context);
        assert!(option.headroom_bytes["CUDA0"] < 256 << 20, "{:?}", option.headroom_bytes);
    }
    let (given, _) = plan("qwen2.5-14b-instruct qwen2.5-3b-instruct --gpu rtx-3090 --prefer context -c 0,16384");
    for option in &given.options {
        assert_eq!((option.servers[1].context, option.servers[1].limited_by), (16_384, LimitedBy::Requested));
        assert!(option.servers[0].context > if cfg!(windows) { 30_000 } else { 60_000 });
        let ports: Vec<_> = option.servers.iter().map(|server| server.arguments.join(" ")).collect();
        assert!(ports[0].contains("--port 8080") && ports[1].contains("--port 8081"));
    }
}

#[test]
fn layers_and_experts_go_to_host_memory_when_asked() {
    let (experts, code) = plan("qwen3-30b-a3b --gpu rtx-3060 -ncmoe auto");
    assert_eq!(code, 0);
    assert_eq!(experts.options.len(), 3);
    for option in &experts.options {
        let server = &option.servers[0];
        assert!(server.cpu_moe_layers > 0 && server.gpu_layers == 49 && server.context >= 16_384);
        let fewer = format!(
            "qwen3-30b-a3b --gpu rtx-3060 -c 16384 -ctk {0} -ctv {0} -ncmoe {1}",
            server.cache_type_k,
            server.cpu_moe_layers - 1
        );
        assert!(!only(&fewer).fits, "{fewer}");
    }
    let (layers, _) = plan("llama-3.3-70b-instruct --gpu rtx-3090 -ngl auto");
    assert!(layers.options.iter().all(|option| option.fits && option.servers[0].gpu_layers < 81));
}

#[test]
fn what_would_fit_does_fit() {
    let arguments = "qwen2.5-14b-instruct --gpu rtx-3090 -c 131072 -ctk f16 -ctv f16";
    let (plan, code) = plan(arguments);
    assert_eq!((code, plan.recommended), (1, None));
    assert!(plan.remedies.len() >= 3, "{:?}", plan.remedies);
    for remedy in &plan.remedies {
        let words = remedy.arguments.join(" ");
        assert!(only(&format!("{arguments} {words}")).fits, "{words}");
    }
}

#[test]
fn what_cannot_be_planned_is_said() {
    for (arguments, code, said) in [
        ("fit nosuchmodel --gpu rtx-3090", 2, "nosuchmodel"),
        ("fit qwen2.5-14b-instruct --gpu rtx-9999", 2, "rtx-9999"),
        ("fit qwen2.5-14b-instruct --gpu rtx-3090 -ctv q8_0 -ctk q8_0 -fa off", 2, "flash attention"),
        ("fit qwen2.5-14b-instruct qwen2.5-3b-instruct --gpu rtx-3090 -c 1,2,3", 2, "3 contexts for 2"),
        ("fit qwen2.5-14b-instruct --gpu rtx-3090 --weights 1,2", 2, "--weights"),
        ("fit qwen2.5-14b-instruct --gpu rtx-3090 --spec-type draft-mtp", 2, "multi-token"),
        ("fit qwen2.5-14b-instruct --gpu rtx-3090 --mmproj /no/such.gguf", 3, "/no/such.gguf"),
        ("fit --gpu rtx-3090", 2, "MODEL"),
    ] {
        let output = run(arguments);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(text.contains(said), "{arguments}: {text}");
        assert_eq!(output.status.code(), Some(code), "{arguments}: {text}");
    }
}

#[test]
fn the_table_is_80_columns_wide() {
    for arguments in [
        "qwen2.5-14b-instruct --gpu rtx-3090",
        "qwen2.5-14b-instruct qwen2.5-3b-instruct --gpu rtx-3090 --prefer context",
        "qwen2.5-32b-instruct --gpu rtx-3060 --explain",
    ] {
        let output = run(&format!("fit {arguments}"));
        for line in String::from_utf8(output.stdout).unwrap().lines().filter(|line| !line.starts_with("Launch it")) {
            assert!(line.chars().count() <= 80, "{arguments}: {line}");
        }
    }
}

/// `LLAMA_DOCTOR_UPDATE=1 cargo test --test fit schema` writes it anew.
#[test]
#[expect(clippy::disallowed_methods, reason = "a test may read the environment")]
fn the_schema_is_fresh() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/schema/fit.schema.json");
    let now = serde_json::to_string_pretty(&schemars::schema_for!(Plan)).unwrap() + "\n";
    if std::env::var_os("LLAMA_DOCTOR_UPDATE").is_some() {
        fs_err::write(path, &now).unwrap();
    }
    assert_eq!(fs_err::read_to_string(path).unwrap_or_default(), now, "run with LLAMA_DOCTOR_UPDATE=1");
}

#[test]
fn the_explanation_adds_up() {
    for arguments in [
        "qwen2.5-14b-instruct --gpu rtx-3090 -c 32768 -ctk q8_0 -ctv q8_0 --explain",
        "qwen2.5-14b-instruct --gpu rtx-3090 -c 32768 -ctk q8_0 -ctv q8_0 -md qwen2.5-3b-instruct --explain",
        "gemma-3-12b-it --gpu rtx-3090 -c 65536 -ctk f16 -ctv f16 -np 2 --explain",
        "granite-4.0-h-tiny --gpu rtx-3090 -c 65536 -ctk f16 -ctv f16 --explain",
    ] {
        let option = only(arguments);
        let server = &option.servers[0];
        let on_gpu =
            |what: &str| what.ends_with(" on CUDA0") || what.starts_with("KV cache") || what.starts_with("recurrent");
        let steps = server.explanation.iter().filter(|step| on_gpu(&step.what));
        let sum: u64 = steps.filter(|step| !step.what.starts_with("total")).map(|step| step.bytes.0).sum();
        let total = server.memory["CUDA0"].total.unwrap().0;
        assert_eq!(sum, total, "{arguments}: {:#?}", server.explanation);
        let kv: u64 =
            server.explanation.iter().filter(|step| step.what.starts_with("KV cache")).map(|step| step.bytes.0).sum();
        assert_eq!(kv, server.kv_bytes.0, "{arguments}");
    }
}

/// What cannot be planned is refused with its own reason and the way out.
#[test]
fn what_is_no_server_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    for (architecture, why, instead) in [
        ("clip", "projector", "`--mmproj FILE`"),
        ("eagle3", "draft model", "`-md FILE`"),
        ("dream", "diffusion model", "llama-diffusion-cli"),
        ("t5", "never runs the encoder", "llama-completion"),
        ("gptj", "without a graph", "another model"),
        ("qwen9", "not modelled", "for instance qwen"),
        ("brand-new-thing", "not modelled", "`--assume ARCH`"),
    ] {
        let path = folder.path().join("model.gguf");
        let gguf = Gguf::default()
            .text("general.architecture", architecture)
            .u32(&format!("{architecture}.block_count"), 2)
            .tensor("token_embd.weight", 64);
        fs_err::write(&path, gguf.file()).unwrap();
        let output = run(&format!("fit {} --gpu rtx-3090", path.display()));
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(&format!("`{architecture}`")) && said.contains(why) && said.contains(instead), "{said}");
    }
}

/// A header alone, with a hole for its data.
fn sparse(folder: &Path, name: &str, bytes: u64) -> String {
    let header = format!("{}/tests/truth/headers/own/{name}-Q4_K_M.gguf", env!("CARGO_MANIFEST_DIR"));
    let path = folder.join("model.gguf");
    fs_err::copy(header, &path).unwrap();
    fs_err::OpenOptions::new().write(true).open(&path).unwrap().set_len(bytes).unwrap();
    path.display().to_string()
}

/// No cache, the whole input in one batch, `--embeddings` or `--reranking`, and no speed of a text that is not written.
#[test]
fn an_embedding_server_is_planned_as_one() {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes, flag, longest) in
        [("MiniLM-L6-v2", 20_248_416, "--embeddings", 512), ("BGE-Reranker-v2-M3", 1 << 30, "--reranking", 8192)]
    {
        let option = only(&format!("{} --gpu rtx-3060", sparse(folder.path(), name, bytes)));
        let server = &option.servers[0];
        assert_eq!((server.context, server.batch, server.ubatch), (longest, longest, longest), "{name}");
        assert_eq!(server.kv_bytes.0, 0, "{name}");
        assert!(server.tokens_per_second == 0.0, "{name}");
        assert!(server.arguments.contains(&flag.to_owned()), "{:?}", server.arguments);
        assert!(!server.arguments.contains(&"-ctk".to_owned()), "{:?}", server.arguments);
        let pins = option.notes.iter().any(|note| note.contains("host memory for logits"));
        assert_eq!(pins, longest == 8192, "{:?}", option.notes);
    }
    let path = sparse(folder.path(), "MiniLM-L6-v2", 20_248_416);
    let server = &only(&format!("{path} --gpu rtx-3060 -ub 128 --prefer context")).servers[0];
    assert_eq!((server.context, server.batch, server.ubatch), (512, 128, 128));
}

/// A projector as it lies on a disk: the header, and a hole of the data's size.
fn projector(name: &str, folder: &Path) -> PathBuf {
    let header = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/truth/headers/projectors")).join(name);
    let path = folder.join(name);
    fs_err::copy(header, &path).unwrap();
    let data = Header::read(&FileBytes::open(&path).unwrap()).unwrap().announced_bytes();
    fs_err::OpenOptions::new().write(true).open(&path).unwrap().set_len(data).unwrap();
    path
}

#[test]
fn a_draft_and_a_projector_add_up_on_each_card() {
    let folder = tempfile::tempdir().unwrap();
    let mmproj = projector("gemma-3-4b.gguf", folder.path());
    let main = "qwen2.5-14b-instruct -c 8192 -ctk f16 -ctv f16";
    for cards in ["--gpu rtx-3090", "--gpu rtx-3090 --gpu rtx-3060"] {
        let sum = |option: &PlanOption| {
            let devices = option.servers[0].memory.iter().filter(|(id, _)| *id != "Host").map(|(_, parts)| parts);
            devices
                .fold([0; 3], |sum, parts| [sum[0] + parts.model.0, sum[1] + parts.context.0, sum[2] + parts.compute.0])
        };
        let alone = sum(&only(&format!("{main} {cards}")));
        let draft_alone = sum(&only(&format!("qwen2.5-3b-instruct -c 8192 -ctk f16 -ctv f16 {cards}")));
        let drafted = only(&format!("{main} -md qwen2.5-3b-instruct {cards}"));
        let both = only(&format!("{main} -md qwen2.5-3b-instruct --mmproj {} {cards}", mmproj.display()));
        let (with_draft, with_both) = (sum(&drafted), sum(&both));
        assert_eq!(with_draft[0], alone[0] + draft_alone[0], "{cards}: weights");
        assert_eq!(with_draft[1], alone[1] + draft_alone[1], "{cards}: caches");
        // Three drafted tokens a slot need their rows of logits, too.
        assert!(with_draft[2] >= alone[2] + draft_alone[2], "{cards}: compute");
        let added = [0, 1, 2].map(|part| with_both[part] - with_draft[part]);
        // What libmtmd allocates for it: tests/truth/projectors.tsv.
        assert_eq!(added, [849_873_024, 0, 127_139_840], "{cards}");
        let on = |option: &PlanOption, id: &str| option.servers[0].memory[id].model.0;
        assert_eq!(on(&both, "CUDA0") - on(&drafted, "CUDA0"), added[0], "it is on the first card alone");
        let words = &both.servers[0].arguments;
        let follows = |flag: &str, value: &str| words.windows(2).any(|pair| pair[0] == flag && pair[1] == value);
        assert!(follows("--spec-type", "draft-simple"), "{words:?}");
        assert!(follows("--mmproj", &mmproj.display().to_string()), "{words:?}");
    }
}

/// The line to paste plans the same server.
#[test]
fn the_launch_line_keeps_the_draft() {
    let output = run("fit qwen2.5-14b-instruct --gpu rtx-3090 -md qwen2.5-3b-instruct -ctkd q8_0 --cache-ram 512");
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find(|line| line.starts_with("Launch it")).unwrap();
    for words in
        ["-md bartowski/Qwen2.5-3B-Instruct-GGUF/", "--spec-type draft-simple", "-ctkd q8_0", "--cache-ram 512"]
    {
        assert!(line.contains(words), "{line}");
    }
}

#[test]
fn what_cannot_draft_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mmproj = projector("smolvlm2-500m.gguf", folder.path());
    for (arguments, said) in [
        ("qwen2.5-14b-instruct --spec-type draft-mtp", "multi-token-prediction"),
        ("qwen2.5-14b-instruct --spec-type draft-simple", "-md"),
        ("qwen2.5-14b-instruct --spec-type none -md qwen2.5-3b-instruct", "not use it"),
        (&format!("{} --mmproj x.gguf", mmproj.display()), "clip"),
    ] {
        let output = run(&format!("fit {arguments} --gpu rtx-3090"));
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains(said), "{arguments}: {text}");
    }
}

/// One rule for every card, however it is described: what is free, less the reserve, less what is used, is left.
#[test]
fn the_reserve_is_counted_once() {
    for card in ["rtx-3090", "big:24GiB:8.6", "big:24GiB:8.6:20GiB"] {
        for (flag, reserve) in [("", None), ("--reserve 1GiB", Some(1024 * MIB)), ("--reserve 0", Some(0))] {
            let (plan, _) = plan(&format!("qwen2.5-3b-instruct --gpu {card} {flag} -c 8192 -ctk q8_0 -ctv q8_0"));
            let (device, option) = (&plan.devices[0], &plan.options[0]);
            let used = option.servers[0].memory["CUDA0"].total.unwrap();
            let left = device.free_bytes.0 - device.reserve_bytes.0 - used.0;
            assert_eq!(i64::try_from(left).unwrap(), option.headroom_bytes["CUDA0"], "{card} {flag}");
            if let Some(reserve) = reserve {
                assert_eq!(device.reserve_bytes.0, reserve, "{card} {flag}");
            }
        }
    }
}

#[test]
fn checkpoints_and_saved_prompts_count_in_ram() {
    let growth =
        |arguments: &str| only(&format!("{arguments} --gpu rtx-3090 -c 8192 -ctk f16 -ctv f16")).servers[0].host_growth;
    let plain = growth("qwen2.5-3b-instruct");
    assert_eq!((plain.checkpoint_bytes.0, plain.checkpoints), (0, 0), "nothing to go back to");
    assert_eq!(plain.prompt_cache_bytes.map(|bytes| bytes.0), Some(8192 * MIB));
    let windowed = growth("gemma-3-4b-it -ctxcp 5 --cache-ram -1");
    // 29 of 34 layers have a window of 1,024 tokens: K and V of 4 heads of 256 halves.
    let rows = 29 * (2 * 12 + 1024 * 2 * 4 * 256 * 2);
    assert_eq!(windowed.checkpoint_bytes.0, 8 + 8 + 16 + 1024 * 12 + rows);
    assert_eq!((windowed.checkpoints, windowed.prompt_cache_bytes), (20, None));
}
