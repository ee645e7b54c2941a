//! What a release is called, in the four places that must agree: `.ci/package` makes the archives, `cargo binstall`
//! looks for them by the template in Cargo.toml, winget and Scoop by the filled manifests. Not in the published crate.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::collections::BTreeMap;

const MANIFEST: &str = include_str!("../Cargo.toml");
const RELEASE: &str = include_str!("../.github/workflows/release.yml");
const WINDOWS: &str = "x86_64-pc-windows-msvc";
const REPOSITORY: &str = env!("CARGO_PKG_REPOSITORY");
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The targets that the workflow builds.
fn targets() -> Vec<&'static str> {
    RELEASE.lines().filter_map(|line| line.trim().strip_prefix("- { target: ")?.split(',').next()).collect()
}

/// The name that `.ci/package` gives an archive, without its ending, and the ending.
fn packed(target: &str) -> (String, &'static str) {
    (format!("llama-doctor-{VERSION}-{target}"), if target.contains("windows") { ".zip" } else { ".tar.gz" })
}

/// A `{ key }` template, as cargo-binstall reads it.
fn rendered(template: &str, values: &[(&str, &str)]) -> String {
    let mut text = template.to_owned();
    for (key, value) in values {
        text = text.replace(&format!("{{ {key} }}"), value);
    }
    assert!(!text.contains('{'), "a key without a value: {text}");
    text
}

#[test]
fn binstall_finds_what_the_workflow_makes() {
    let manifest: toml::Table = MANIFEST.parse().unwrap();
    let binstall = &manifest["package"]["metadata"]["binstall"];
    assert_eq!(targets().len(), 3);
    for target in targets() {
        let of_target = binstall.get("overrides").and_then(|overrides| overrides.get(target));
        let value = |key: &str| of_target.and_then(|all| all.get(key)).unwrap_or(&binstall[key]).as_str().unwrap();
        // Source: cargo-binstall's SUPPORT.md, `archive-suffix` of `tgz` is tried as `.tgz` and as `.tar.gz`.
        let suffix = match value("pkg-fmt") {
            "tgz" => ".tar.gz",
            "zip" => ".zip",
            other => panic!("{target}: {other}"),
        };
        let (name, ending) = packed(target);
        let values = [
            ("repo", REPOSITORY),
            ("name", "llama-doctor"),
            ("bin", "llama-doctor"),
            ("version", VERSION),
            ("target", target),
            ("archive-suffix", suffix),
            ("binary-ext", if target == WINDOWS { ".exe" } else { "" }),
        ];
        let url = format!("{REPOSITORY}/releases/download/v{VERSION}/{name}{ending}");
        assert_eq!(rendered(value("pkg-url"), &values), url);
        let program = if target == WINDOWS { "llama-doctor.exe" } else { "llama-doctor" };
        assert_eq!(rendered(value("bin-dir"), &values), format!("{name}/{program}"));
    }
}

/// The archive that `.ci/package` makes of a program that answers as ours does, and what lies in it.
#[cfg(target_os = "linux")]
#[test]
fn archives_hold_the_program_its_manual_completions_and_licences() {
    use std::process::Command;
    let folder = tempfile::tempdir().unwrap();
    let (built, out) = (folder.path().join("built"), folder.path().join("out"));
    fs_err::create_dir_all(&built).unwrap();
    // A program with everything for a debugger in it takes a minute to pack.
    let stand_in = built.join("llama-doctor");
    fs_err::write(&stand_in, concat!("#!/bin/sh\nexec ", env!("CARGO_BIN_EXE_llama-doctor"), " \"$@\"\n")).unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs_err::set_permissions(&stand_in, executable).unwrap();
    let run = |program: &str, arguments: &[&std::ffi::OsStr]| {
        let output = Command::new(program).args(arguments).current_dir(folder.path()).output().unwrap();
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let package = concat!(env!("CARGO_MANIFEST_DIR"), "/.ci/package");
    let target = "x86_64-unknown-linux-gnu";
    run(package, &[target.as_ref(), built.as_ref(), out.as_ref()]);
    let (name, ending) = packed(target);
    let archive = out.join(format!("{name}{ending}"));
    let listed = run("tar", &["-tzf".as_ref(), archive.as_ref()]);
    let mut files: Vec<&str> = listed.lines().filter(|line| !line.ends_with('/')).collect();
    files.sort_unstable();
    let expected = [
        "LICENSE-APACHE",
        "LICENSE-MIT",
        "README.md",
        "completions/llama-doctor.bash",
        "completions/llama-doctor.elvish",
        "completions/llama-doctor.fish",
        "completions/llama-doctor.powershell",
        "completions/llama-doctor.zsh",
        "llama-doctor",
        "llama-doctor.1",
    ];
    assert_eq!(files, expected.map(|file| format!("{name}/{file}")));
    let manual = run("tar", &["-xzOf".as_ref(), archive.as_ref(), format!("{name}/llama-doctor.1").as_ref()]);
    assert!(manual.contains(".TH llama-doctor 1") && manual.contains("fit"), "{}", &manual[..200]);
    let digest = fs_err::read_to_string(out.join(format!("{name}{ending}.sha256"))).unwrap();
    let counted = run("sha256sum", &[archive.as_ref()]);
    assert_eq!(digest.split_whitespace().next(), counted.split_whitespace().next());
    assert!(digest.ends_with(&format!("  {name}{ending}\n")), "{digest}");
}

/// The package managers' manifests, filled as the workflow fills them.
#[cfg(target_os = "linux")]
fn filled() -> BTreeMap<String, String> {
    let folder = tempfile::tempdir().unwrap();
    let (dist, out) = (folder.path().join("dist"), folder.path().join("out"));
    fs_err::create_dir_all(&dist).unwrap();
    let (name, ending) = packed(WINDOWS);
    let archive = format!("{name}{ending}");
    fs_err::write(dist.join(format!("{archive}.sha256")), format!("{}  {archive}\n", "ab".repeat(32))).unwrap();
    let fill = concat!(env!("CARGO_MANIFEST_DIR"), "/.github/packaging/fill");
    let output = std::process::Command::new(fill).arg(VERSION).args([&dist, &out]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut texts = BTreeMap::new();
    for manager in ["winget", "scoop"] {
        for entry in fs_err::read_dir(out.join(manager)).unwrap() {
            let entry = entry.unwrap();
            texts.insert(entry.file_name().into_string().unwrap(), fs_err::read_to_string(entry.path()).unwrap());
        }
    }
    texts
}

/// What each kind of winget manifest must have, and which kind and version it must say it is. All three, filled, were also
/// held against microsoft/winget-cli's own `schemas/JSON/manifests/v1.10.0` by hand, and Scoop's against ScoopInstaller/Scoop's
/// `schema.json`, both checked 2026-11-24.
#[cfg(target_os = "linux")]
#[test]
fn package_managers_are_told_of_the_windows_archive() {
    let texts = filled();
    let (name, ending) = packed(WINDOWS);
    let url = format!("{REPOSITORY}/releases/download/v{VERSION}/{name}{ending}");
    let id = "LlamaDoctor.LlamaDoctor";
    let required = [
        (format!("{id}.yaml"), "version", vec!["DefaultLocale: en-US".to_owned()]),
        (
            format!("{id}.locale.en-US.yaml"),
            "defaultLocale",
            [
                "PackageLocale: en-US",
                "Publisher: ",
                "PackageName: ",
                "License: MIT OR Apache-2.0",
                "ShortDescription: ",
            ]
            .map(str::to_owned)
            .to_vec(),
        ),
        (
            format!("{id}.installer.yaml"),
            "installer",
            vec![
                format!("InstallerUrl: {url}"),
                format!("InstallerSha256: {}", "ab".repeat(32)),
                "Architecture: x64".to_owned(),
                "InstallerType: zip".to_owned(),
                "NestedInstallerType: portable".to_owned(),
                format!(r"RelativeFilePath: {name}\llama-doctor.exe"),
            ],
        ),
    ];
    for (file, kind, lines) in required {
        let text = &texts[&file];
        let common = [
            format!("PackageIdentifier: {id}"),
            format!("PackageVersion: {VERSION}"),
            format!("ManifestType: {kind}"),
            "ManifestVersion: 1.10.0".to_owned(),
        ];
        for line in common.iter().chain(&lines) {
            assert!(text.lines().any(|other| other.trim_start_matches([' ', '-']).starts_with(line)), "{file}: {line}");
        }
        assert!(
            text.starts_with(&format!("# yaml-language-server: $schema=https://aka.ms/winget-manifest.{kind}.1.10.0"))
        );
    }
    let scoop: serde_json::Value = serde_json::from_str(&texts["llama-doctor.json"]).unwrap();
    let here = &scoop["architecture"]["64bit"];
    assert_eq!(scoop["version"], VERSION);
    assert_eq!(here["url"], url);
    assert_eq!(here["hash"], "ab".repeat(32));
    assert_eq!(here["extract_dir"], name);
    for key in ["description", "homepage", "license", "bin"] {
        assert!(scoop[key].is_string(), "{key}");
    }
    // What Scoop makes of the next version must be named like this one.
    let next = &scoop["autoupdate"]["architecture"]["64bit"];
    assert_eq!(next["url"].as_str().unwrap().replace("$version", VERSION), url);
    assert_eq!(next["extract_dir"].as_str().unwrap().replace("$version", VERSION), name);
}
