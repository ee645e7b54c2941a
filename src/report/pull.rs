//! What `pull` brought.

use serde::Serialize;

use crate::failure::Failure;
use crate::model::pull::Pulled;
use crate::report::printer::Printer;
use crate::report::repository::Largest;
use crate::source::quantization::Sidecar;
use crate::units::{Bytes, grouped};

const SCHEMA: &str = "llama-doctor/pull/1";

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    models: &'a [Report],
}

#[derive(Debug, Serialize)]
pub struct Report {
    #[serde(flatten)]
    pub pulled: Pulled,
    /// On the GPUs at hand; null without one.
    pub largest: Option<Largest>,
}

pub fn print(printer: Printer, pulled: &[Report]) -> Result<(), Failure> {
    if printer.json {
        return printer.json(&Document { schema: SCHEMA, models: pulled });
    }
    let texts: Vec<String> = pulled.iter().map(text).collect();
    printer.answer(&texts.join("\n\n"));
    Ok(())
}

fn text(report: &Report) -> String {
    let pulled = &report.pulled;
    let total: u64 = pulled.files.iter().map(|file| file.bytes.0).sum();
    let fetched: u64 = pulled.files.iter().map(|file| file.fetched_bytes.0).sum();
    let how = match fetched {
        0 => "was here already".to_owned(),
        some if some < total => format!("{} downloaded, the rest was here", Bytes(some)),
        _ => "downloaded".to_owned(),
    };
    let is_checked = pulled.files.iter().all(|file| file.sha256.is_some());
    let checked = if is_checked { ", sha256 checked" } else { "" };
    let mut lines = vec![format!("{}: {}, {how}{checked}", pulled.source, Bytes(total))];
    for (index, file) in pulled.files.iter().enumerate() {
        let label = match index {
            0 => "model",
            index if index < pulled.shards => "part ",
            _ if Sidecar::of(&file.name) == Some(Sidecar::Draft) => "draft",
            _ => "mmproj",
        };
        lines.push(format!("  {label:6}  {}", file.path.display()));
    }
    let draft = pulled.files.iter().find(|file| Sidecar::of(&file.name) == Some(Sidecar::Draft));
    let draft = draft.map_or_else(String::new, |file| format!(" --spec-type draft-mtp -md {}", file.path.display()));
    lines.extend(pulled.notes.iter().map(|note| format!("  note    {note}")));
    let model = &pulled.model;
    match &report.largest {
        Some(Largest { context, cache_type_k: Some(key), cache_type_v: Some(value), .. }) => {
            lines.push(format!("  fits    {} tokens with a {key} cache", grouped(u64::from(*context))));
            lines.push(format!(
                "\nLaunch it    llama-doctor launch {model} -c {context} -ctk {key} -ctv {value}{draft}"
            ));
        }
        Some(_) => {
            lines.push("  fits    not: not even its smallest context".to_owned());
            lines.push(format!("\nSee why      llama-doctor fit {model}"));
        }
        None => lines.push(format!("\nPlan for it  llama-doctor fit {model}{draft}")),
    }
    lines.join("\n")
}
