//! One check in prose, and the table of all for the README.

use std::fmt::Write as _;

use serde::Serialize;

use super::printer::Printer;
use super::text::{WIDTH, wrapped};
use crate::check::{ALL, Check, Group};
use crate::failure::Failure;

#[derive(Serialize)]
struct Explained {
    schema: &'static str,
    id: &'static str,
    group: Group,
    title: &'static str,
    explanation: &'static str,
}

pub fn print(printer: Printer, check: &dyn Check) -> Result<(), Failure> {
    if printer.json {
        return printer.json(&Explained {
            schema: "llama-doctor/explain/1",
            id: check.id(),
            group: check.group(),
            title: check.title(),
            explanation: check.explanation(),
        });
    }
    let text = format!(
        "{}: {}\n\n{}\n\nAsk it alone: llama-doctor check --only {} -v",
        check.id(),
        wrapped(check.title(), WIDTH - check.id().len() - 2, 2),
        wrapped(check.explanation(), WIDTH, 0),
        check.id()
    );
    printer.answer(&text);
    Ok(())
}

/// The README's table of checks.
pub fn table() -> String {
    let mut text = String::from("| check | asks whether |\n|---|---|\n");
    for group in Group::ALL {
        for check in ALL.iter().filter(|check| check.group() == *group) {
            let _ = writeln!(text, "| `{}` | {} |", check.id(), check.title());
        }
    }
    text
}
