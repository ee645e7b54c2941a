//! The launch formats that other programs read: each through that program's own reader, or one of the same grammar.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]
#![expect(clippy::print_stdout, reason = "a test that is skipped says so")]

use std::path::Path;
use std::process::Command;

use llama_doctor::fit::plan::Plan;
use llama_doctor::script::format::{Format, files};
use llama_doctor::script::launch::Surroundings;
use llama_doctor::script::{Launch, ScriptFile, compose, llama_swap, preset, quote, systemd};
use proptest::prelude::*;

const NASTY: &str = "/models/it's a $HOME ${x} %h \"q\" `y` ü & ^ ! back\\slash/-m.gguf";

fn plan(model: &str) -> Plan {
    let mut plan: Plan = serde_json::from_str(include_str!("launch/qwen2.5-14b.json")).unwrap();
    plan.options[0].servers[0].arguments[1] = String::from(model);
    plan
}

fn launch(plan: &Plan) -> Launch {
    let around = Surroundings {
        server: "/opt/llama-b11434/llama-server".to_owned(),
        build: Some("b11434".parse().unwrap()),
        uuids: vec![("CUDA0".to_owned(), "GPU-8f0f2b4e".to_owned())],
        fetch: vec![["llama-doctor", "pull", "qwen2.5-14b-instruct"].map(str::to_owned).to_vec()],
        ..Surroundings::default()
    };
    Launch::from_plan(plan, 0, &around).unwrap()
}

fn two() -> Launch {
    let mut plan = plan("/models/a.gguf");
    let mut second = plan.options[0].servers[0].clone();
    let port = second.arguments.iter().position(|word| word == "8080").unwrap();
    second.arguments[port] = String::from("8081");
    plan.options[0].servers.push(second);
    launch(&plan)
}

/// Runs Python with the file's text on its stdin, where Python and the module are; says so where they are not.
fn python(module: &str, program: &str, text: &str) -> Option<serde_json::Value> {
    use std::io::Write as _;
    let has = |module: &str| Command::new("python3").args(["-c", &format!("import {module}")]).output();
    if !has(module).is_ok_and(|output| output.status.success()) {
        println!("skipped: python3 with {module} is not here");
        return None;
    }
    let mut child = Command::new("python3")
        .args(["-c", program])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

const READ_YAML: &str = "import sys, json, yaml; print(json.dumps(yaml.safe_load(sys.stdin.buffer.read().decode())))";

#[test]
fn snapshots() {
    let launch = launch(&plan("/models/Qwen2.5-14B-Instruct-Q4_K_M.gguf"));
    let [ini, router] = preset::scripts(&launch).unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/launch");
    insta::with_settings!({ snapshot_path => folder, prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("systemd", systemd::script(&launch, "/srv/launch/qwen2.5-14b-instruct.sh").unwrap().text);
        insta::assert_snapshot!("preset", ini.text);
        insta::assert_snapshot!("router", router.text.lines().rev().take(6).collect::<Vec<_>>().join("\n"));
        insta::assert_snapshot!("llama-swap", llama_swap::script(&launch, &["/srv/launch/q.sh".to_owned()]).unwrap().text);
        insta::assert_snapshot!("compose", compose::script(&launch).unwrap().text);
    });
}

#[test]
fn every_format_of_one_launch_has_files_of_its_own() {
    use clap::ValueEnum as _;
    for launch in [launch(&plan("/models/a.gguf")), two()] {
        let all = files(&launch, Format::value_variants(), Path::new("/srv/launch")).unwrap();
        let mut names: Vec<&str> = all.iter().map(|file| file.name.as_str()).collect();
        names.sort_unstable();
        let expected = if launch.servers.len() == 1 { 8 } else { 10 };
        assert_eq!(names.len(), expected, "{names:?}");
        names.dedup();
        assert_eq!(names.len(), expected);
    }
}

/// What `ExecStart=` says, read by systemd's rules: continuation lines, comments, quotes, escapes.
fn exec_start(unit: &str) -> Vec<String> {
    let mut line = String::new();
    let mut inside = false;
    for raw in unit.lines() {
        let raw = match raw.strip_prefix("ExecStart=") {
            Some(first) => {
                inside = true;
                first
            }
            None if inside => raw,
            None => continue,
        };
        if raw.trim_start().starts_with('#') {
            continue;
        }
        line.push_str(raw.trim_end_matches('\\'));
        if !raw.ends_with('\\') {
            break;
        }
    }
    read_systemd(&line)
}

fn read_systemd(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut characters = line.chars().peekable();
    while let Some(&c) = characters.peek() {
        if c == ' ' {
            characters.next();
            continue;
        }
        let quoted = c == '"';
        if quoted {
            characters.next();
        }
        let mut word = String::new();
        while let Some(c) = characters.next() {
            match c {
                '"' if quoted => break,
                ' ' if !quoted => break,
                '\\' => match characters.next().unwrap() {
                    'n' => word.push('\n'),
                    'x' => {
                        let digits: String = characters.by_ref().take(2).collect();
                        word.push(char::from(u8::from_str_radix(&digits, 16).unwrap()));
                    }
                    other => word.push(other),
                },
                '%' | '$' => {
                    assert_eq!(characters.next(), Some(c), "a lone {c} in {line}");
                    word.push(c);
                }
                c => word.push(c),
            }
        }
        words.push(word);
    }
    words
}

#[test]
fn the_unit_says_every_argument_and_systemd_agrees() {
    for model in ["/models/a.gguf", NASTY] {
        let plan = plan(model);
        let launch = launch(&plan);
        let unit = systemd::script(&launch, "/bin/true").unwrap();
        let mut expected =
            ["/bin/sh", "/bin/true", "--then", "/opt/llama-b11434/llama-server"].map(str::to_owned).to_vec();
        expected.extend(plan.options[0].servers[0].arguments.clone());
        assert_eq!(exec_start(&unit.text), expected);
        verify_unit(&unit);
    }
    verify_unit(&systemd::script(&two(), "/bin/true").unwrap());
}

fn verify_unit(unit: &ScriptFile) {
    if which::which("systemd-analyze").is_err() {
        println!("skipped: systemd-analyze is not here");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (path, _) = unit.write(folder.path(), false).unwrap();
    let output = Command::new("systemd-analyze").arg("verify").arg("--man=no").arg(&path).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let ours: Vec<&str> = said.lines().filter(|line| line.contains(&unit.name)).collect();
    assert!(ours.is_empty(), "{said}");
}

#[test]
fn llama_swap_splits_the_command_into_our_words() {
    let model = "/models/it's a \"q\" `y` $HOME ü & ^ !.gguf";
    let plan = plan(model);
    let file = llama_swap::script(&launch(&plan), &["/srv/my launch/q.sh".to_owned()]).unwrap();
    let program = "import sys, json, yaml, shlex
d = yaml.safe_load(sys.stdin.buffer.read().decode())
print(json.dumps(shlex.split(d['models']['qwen2.5-14b-instruct']['cmd'])))";
    let Some(words) = python("yaml", program, &file.text) else { return };
    let words: Vec<String> = serde_json::from_value(words).unwrap();
    assert_eq!(words[..4], ["/bin/sh", "/srv/my launch/q.sh", "--then", "/opt/llama-b11434/llama-server"]);
    let mut expected = plan.options[0].servers[0].arguments.clone();
    let port = expected.iter().position(|word| word == "8080").unwrap();
    expected[port] = String::from("${PORT}");
    assert_eq!(words[4..], expected);
    assert!(llama_swap::script(&launch(&self::plan("/m/${PORT}.gguf")), &["/q.sh".to_owned()]).is_err());
}

#[test]
fn compose_carries_the_script_and_asks_for_the_gpu() {
    let file = compose::script(&launch(&plan(NASTY))).unwrap();
    let Some(yaml) = python("yaml", READ_YAML, &file.text) else { return };
    let service = &yaml["services"]["qwen2-5-14b-instruct"];
    assert_eq!(service["image"], "ghcr.io/ggml-org/llama.cpp:server-cuda-b11434");
    assert_eq!(service["ports"][0], "127.0.0.1:8080:8080");
    assert_eq!(service["deploy"]["resources"]["reservations"]["devices"][0]["device_ids"][0], "GPU-8f0f2b4e");
    let undo = |value: &serde_json::Value| value.as_str().unwrap().replace("$$", "$");
    assert_eq!(undo(&service["volumes"][0]["source"]), NASTY);
    let script = undo(&yaml["configs"]["start-qwen2-5-14b-instruct"]["content"]);
    assert!(script.contains("--host 0.0.0.0"), "{script}");
    assert!(script.contains("\"$context\""));
    let check = Command::new("sh").args(["-n", "-c", &script]).output().unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
    let two = compose::script(&two()).unwrap();
    let yaml = python("yaml", READ_YAML, &two.text).unwrap();
    let second = &yaml["services"]["qwen2-5-14b-instruct-2"];
    assert_eq!(second["depends_on"]["qwen2-5-14b-instruct"]["condition"], "service_healthy");
    assert_eq!(second["healthcheck"]["test"][5], "http://127.0.0.1:8081/health");
}

/// The schemas of both readers, as far as our files go. A file with a key misspelled must not pass.
#[test]
fn what_is_written_keeps_to_the_readers_schemas() {
    let scripts = ["/srv/a.sh".to_owned(), "/srv/b.sh".to_owned()];
    for launch in [launch(&plan(NASTY)), two()] {
        for (file, schema, misspelled) in [
            (
                compose::script(&launch).unwrap(),
                include_str!("launch/compose.schema.json"),
                ("healthcheck", "healthchek"),
            ),
            (
                llama_swap::script(&self::launch(&plan("/m/a.gguf")), &scripts).unwrap(),
                include_str!("launch/llama-swap.schema.json"),
                ("checkEndpoint", "checkEndpont"),
            ),
            (
                llama_swap::script(&two(), &scripts).unwrap(),
                include_str!("launch/llama-swap.schema.json"),
                ("members", "membres"),
            ),
        ] {
            let program = format!(
                "import sys, json, yaml, jsonschema
text = sys.stdin.buffer.read().decode()
schema = json.loads({schema:?})
errors = lambda text: [error.message for error in jsonschema.Draft7Validator(schema).iter_errors(yaml.safe_load(text))]
print(json.dumps([errors(text), errors(text.replace({:?} + ':', {:?} + ':'))]))",
                misspelled.0, misspelled.1
            );
            let Some(found) = python("jsonschema", &program, &file.text) else { return };
            assert_eq!(found[0].as_array().unwrap().len(), 0, "{}: {}", file.name, found[0]);
            assert!(!found[1].as_array().unwrap().is_empty(), "{}: a misspelled key passed", file.name);
        }
    }
}

/// The reader of PyPI's `compose-spec`, in the folder that `.ci/fetch-compose-spec.sh` fills.
#[test]
#[ignore = "needs compose-spec from PyPI"]
#[expect(clippy::disallowed_methods, reason = "a field test asks where its artifacts are")]
fn a_strict_reader_of_compose_files_reads_ours() {
    let cache = std::env::var_os("LLAMA_DOCTOR_FIELD_CACHE").map_or_else(
        || Path::new(&std::env::var_os("HOME").unwrap_or_default()).join(".cache/llama-doctor-field"),
        std::path::PathBuf::from,
    );
    let python = cache.join("compose-spec/bin/python");
    if !python.is_file() {
        println!("skipped: {} is not here; .ci/fetch-compose-spec.sh brings it", python.display());
        return;
    }
    // It does not know that `on-failure` may carry a count, which the specification allows.
    let program = "import sys, compose_spec
text = open(sys.argv[1]).read().replace('on-failure:5', 'on-failure')
compose_spec.PyCompose.from_yaml(text)
try:
    compose_spec.PyCompose.from_yaml(text.replace('healthcheck:', 'healthchek:', 1))
    sys.exit('a misspelled key passed')
except ValueError:
    pass";
    let folder = tempfile::tempdir().unwrap();
    for launch in [launch(&plan("/models/a b.gguf")), two()] {
        let (path, _) = compose::script(&launch).unwrap().write(folder.path(), true).unwrap();
        let output = Command::new(&python).args(["-c", program]).arg(&path).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn what_a_format_cannot_carry_is_refused_by_name() {
    let newline = launch(&plan("/models/a\nb.gguf"));
    assert!(
        preset::scripts(&newline).unwrap_err().to_string().contains("a preset file cannot carry `/models/a\\nb.gguf`")
    );
    assert!(compose::script(&newline).is_err());
    assert!(preset::scripts(&launch(&plan("/models/a;b.gguf"))).is_err());
    assert!(systemd::script(&newline, "/x.sh").is_ok());
}

proptest! {
    #[test]
    fn any_word_survives_systemds_grammar(word in "[^\0]{0,40}|[ -~]{0,200}|[\"$%\\\\'\n\t]{0,20}") {
        let quoted = quote::systemd(&word).unwrap();
        prop_assert_eq!(read_systemd(&quoted), [word]);
        prop_assert!(!quoted.contains('\n'));
    }

    #[test]
    fn any_word_survives_json_in_yaml(word in "\\PC{0,60}") {
        let back: String = serde_json::from_str(&quote::compose(&word)).unwrap();
        prop_assert_eq!(back.replace("$$", "$"), word);
    }
}
