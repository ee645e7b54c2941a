//! What is generated from the code is fresh: the README's table of checks, and the schemas of what programs read.
//! `cargo test --test checks_documented -- --ignored` writes them anew.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test that cannot go on or skips should say so")]

use std::path::{Path, PathBuf};

const BEGIN: &str = "<!-- checks:begin -->";
const END: &str = "<!-- checks:end -->";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The README and the same with a fresh table; none without a README, or one without the place for the table.
fn readme() -> Option<(PathBuf, String, String)> {
    let path = root().join("README.md");
    let text = fs_err::read_to_string(&path).ok()?;
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    let fresh = format!("{before}{BEGIN}\n{}{END}{after}", llama_doctor::report::explain::table());
    Some((path, text.clone(), fresh))
}

fn schemas() -> Vec<(PathBuf, String)> {
    let folder = root().join("manifests/schema");
    let text = |schema: schemars::Schema| format!("{}\n", serde_json::to_string_pretty(&schema).unwrap());
    vec![
        (folder.join("check.schema.json"), text(schemars::schema_for!(llama_doctor::check::machine::Diagnosis))),
        (folder.join("facts.schema.json"), text(schemars::schema_for!(llama_doctor::host::facts::Facts))),
    ]
}

#[test]
fn the_readmes_table_of_checks_is_fresh() {
    match readme() {
        Some((_, text, fresh)) => assert!(text == fresh, "the table in README.md is stale"),
        None => println!("skipped: README.md has no `{BEGIN}`"),
    }
}

#[test]
fn the_schemas_are_fresh() {
    for (path, fresh) in schemas() {
        let text = fs_err::read_to_string(&path).unwrap();
        // A checkout on Windows may have other line ends.
        assert!(text.replace("\r\n", "\n") == fresh, "{} is stale", path.display());
    }
}

#[test]
#[ignore = "writes the files that the other tests compare"]
fn write_them_anew() {
    if let Some((path, _, fresh)) = readme() {
        fs_err::write(path, fresh).unwrap();
    }
    fs_err::create_dir_all(root().join("manifests/schema")).unwrap();
    for (path, fresh) in schemas() {
        fs_err::write(path, fresh).unwrap();
    }
}
