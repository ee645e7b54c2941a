//! What `pull` brought.

use serde::Serialize;

use crate::failure::Failure;
use crate::model::pull::Pulled;
use crate::report::printer::Printer;
use crate::units::Bytes;

const SCHEMA: &str = "llama-doctor/pull/1";

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    models: &'a [Pulled],
}

pub fn print(printer: Printer, pulled: &[Pulled]) -> Result<(), Failure> {
    if printer.json {
        return printer.json(&Document { schema: SCHEMA, models: pulled });
    }
    let texts: Vec<String> = pulled.iter().map(text).collect();
    printer.answer(&texts.join("\n\n"));
    Ok(())
}

fn text(pulled: &Pulled) -> String {
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
            _ => "mmproj",
        };
        lines.push(format!("  {label:6}  {}", file.path.display()));
    }
    lines.extend(pulled.notes.iter().map(|note| format!("  note    {note}")));
    if let Some(first) = pulled.files.first() {
        lines.push(String::new());
        lines.push(format!("Plan for it  llama-doctor fit {}", first.path.display()));
    }
    lines.join("\n")
}
