//! The models of this machine, as a table and as JSON.

use serde::Serialize;

use crate::failure::Failure;
use crate::model::discover::FoundModel;
use crate::report::printer::Printer;
use crate::report::text::{WIDTH, wrapped};
use crate::units::Bytes;

const SCHEMA: &str = "llama-doctor/models/1";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    Good,
    Damaged,
    /// Nobody promised a hash; the header fits the file.
    Unknown,
}

#[derive(Debug, Serialize)]
pub struct Verified<'a> {
    #[serde(flatten)]
    pub model: &'a FoundModel,
    pub health: Health,
    #[serde(rename = "damage")]
    pub problem: Option<String>,
}

#[derive(Serialize)]
struct Document<'a, T> {
    schema: &'static str,
    models: &'a [T],
    #[serde(skip_serializing_if = "Option::is_none")]
    freed_bytes: Option<u64>,
}

pub fn list(printer: Printer, models: &[FoundModel]) -> Result<(), Failure> {
    if printer.json {
        return printer.json(&Document { schema: SCHEMA, models, freed_bytes: None });
    }
    if models.is_empty() {
        printer.answer("No GGUF model is on this machine.\n\nBring one  llama-doctor pull org/repo");
        return Ok(());
    }
    let mut lines = Vec::new();
    let mut keeper = None;
    for model in models {
        if keeper != Some(model.keeper) {
            lines.push(format!("{}{}", if keeper.is_some() { "\n" } else { "" }, model.keeper.name()));
            keeper = Some(model.keeper);
        }
        lines.extend(row(model));
    }
    let total: u64 = models.iter().map(|model| model.bytes.0).sum();
    let broken = models.iter().filter(|model| model.problem.is_some()).count();
    let broken = if broken > 0 { format!(", {broken} not whole") } else { String::new() };
    lines.push(format!("\n{} models, {}{broken}", models.len(), Bytes(total)));
    printer.answer(&lines.join("\n"));
    Ok(())
}

fn row(model: &FoundModel) -> Vec<String> {
    let architecture = model.architecture.as_deref().unwrap_or("-");
    let quantization = model.quantization.as_deref().unwrap_or("-");
    let mut lines = Vec::new();
    let name = if model.name.chars().count() > 42 {
        lines.push(format!("  {}", model.name));
        ""
    } else {
        model.name.as_str()
    };
    let size = model.bytes.to_string();
    let row = format!("  {name:42} {size:>10}  {architecture:12} {quantization}");
    lines.push(row.trim_end().to_owned());
    if let Some(problem) = &model.problem {
        lines.push(format!("    {}", wrapped(&format!("not whole: it {problem}"), WIDTH - 6, 6)));
    }
    lines
}

pub fn verified(printer: Printer, models: &[Verified<'_>]) -> Result<(), Failure> {
    if printer.json {
        return printer.json(&Document { schema: SCHEMA, models, freed_bytes: None });
    }
    let mut lines = Vec::new();
    for one in models {
        let word = match one.health {
            Health::Good => "good",
            Health::Damaged => "damaged",
            Health::Unknown => "unproven",
        };
        lines.push(format!("{word:8}  {}", one.model.name));
        if let Some(problem) = &one.problem {
            lines.push(format!("          {problem}"));
        }
    }
    let count = |health| models.iter().filter(|one| one.health == health).count();
    let (damaged, unknown) = (count(Health::Damaged), count(Health::Unknown));
    lines.push(String::new());
    lines.push(format!("{} good, {damaged} damaged, {unknown} that nobody promised a sha256 for", count(Health::Good)));
    if damaged > 0 {
        lines.push("Pull a damaged model again to repair it.".to_owned());
    }
    printer.answer(&lines.join("\n"));
    Ok(())
}

/// `freed`: none when nothing was done.
pub fn removed(printer: Printer, models: &[&FoundModel], freed: Option<u64>) -> Result<(), Failure> {
    if printer.json {
        return printer.json(&Document { schema: SCHEMA, models, freed_bytes: freed });
    }
    let word = if freed.is_some() { "removed" } else { "would remove" };
    let mut lines: Vec<String> =
        models.iter().map(|model| format!("{word}  {} ({})", model.name, model.bytes)).collect();
    if let Some(freed) = freed {
        lines.push(format!("{} are free again", Bytes(freed)));
    }
    printer.answer(&lines.join("\n"));
    Ok(())
}
