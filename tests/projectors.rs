//! Every projector that llama.cpp itself was measured with, predicted and compared: `tests/truth/README.md` says how.
//!
//! `TRUTH_SHOW=1` prints all rows.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test may panic, and shows its summary"
)]

use std::path::Path;

use llama_doctor::fit::Memory;
use llama_doctor::fit::projector;
use llama_doctor::gguf::{Bytes as _, FileBytes, Header, Model};

fn header(name: &str) -> Model {
    let path =
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/truth/headers/projectors")).join(format!("{name}.gguf"));
    let bytes = FileBytes::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let header = Header::read(&bytes).unwrap_or_else(|error| panic!("{name} {error}"));
    Model::join(vec![(name.to_owned(), bytes.len(), header)]).unwrap()
}

#[test]
fn every_measured_projector() {
    let show = std::env::var_os("TRUTH_SHOW").is_some();
    let text = fs_err::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/truth/projectors.tsv")).unwrap();
    let mut off = Vec::new();
    for line in text.lines().skip(1) {
        let fields: Vec<&str> = line.split('\t').collect();
        let [_, file, capability, flash_attention, _, weights, compute, host] = fields[..] else { panic!("{line}") };
        let memory = projector::memory(&header(file), capability.parse().unwrap(), flash_attention == "auto");
        let measured = Memory { model: weights.parse().unwrap(), context: 0, compute: compute.parse().unwrap() };
        let on_host = Memory { compute: host.parse().unwrap(), ..Memory::default() };
        let line = format!(
            "{file} {flash_attention}: {:?} {:?}, measured {measured:?} {on_host:?}",
            memory.device, memory.host
        );
        if show {
            println!("{line} {:?}", memory.notes);
        }
        if (memory.device, memory.host) != (measured, on_host) {
            off.push(line);
        }
    }
    assert!(off.is_empty(), "{} rows differ:\n{}", off.len(), off.join("\n"));
}
