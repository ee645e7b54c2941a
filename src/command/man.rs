//! `man`: the manual, one page for the program and every command of it.

use std::io;
use std::process::ExitCode;

use clap::CommandFactory as _;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use crate::cli::{Cli, after_help};
use crate::command::Program;
use crate::failure::Failure;
use crate::host::environment;

pub(super) fn run(program: &Program) -> Result<ExitCode, Failure> {
    program.printer.document(&page()?);
    Ok(ExitCode::SUCCESS)
}

/// In roff.
fn page() -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    let man = Man::new(Cli::command()).manual("llama-doctor");
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    // Taken before clap hands the global flags down: those stand in the section above.
    for command in Cli::command().get_subcommands().filter(|command| !command.is_hide_set()) {
        page.extend(section_of(command)?);
    }
    let variables = environment::ALL.iter().map(|variable| (variable.name.to_owned(), variable.meaning));
    list("ENVIRONMENT", variables).to_writer(&mut page)?;
    let codes = after_help::EXIT_CODES.iter().map(|(code, meaning)| (code.to_string(), *meaning));
    list("EXIT STATUS", codes).to_writer(&mut page)?;
    Ok(page)
}

/// One command: its headings become a level lower than the page's own.
fn section_of(command: &clap::Command) -> io::Result<Vec<u8>> {
    let name = format!("llama-doctor {}", command.get_name());
    let mut section = Vec::new();
    Roff::new().control("SH", [name.to_uppercase().as_str()]).to_writer(&mut section)?;
    let man = Man::new(command.clone().disable_help_flag(true).bin_name(name));
    let mut body = Vec::new();
    man.render_synopsis_section(&mut body)?;
    man.render_description_section(&mut body)?;
    if command.get_arguments().any(|argument| !argument.is_hide_set()) {
        man.render_options_section(&mut body)?;
    }
    let body = String::from_utf8_lossy(&body).replace("\n.SH ", "\n.SS ");
    let body = body.strip_prefix(".SH ").map_or_else(|| body.clone(), |rest| format!(".SS {rest}"));
    section.extend(body.into_bytes());
    Ok(section)
}

fn list<'a>(title: &str, entries: impl Iterator<Item = (String, &'a str)>) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", [title]);
    for (name, meaning) in entries {
        roff.control("TP", []).text([bold(name)]).text([roman(meaning)]);
    }
    roff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_every_part_once() {
        let page = String::from_utf8(page().unwrap()).unwrap();
        for heading in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "ENVIRONMENT"] {
            assert_eq!(page.lines().filter(|line| *line == format!(".SH {heading}")).count(), 1, "{heading}");
        }
        assert!(page.contains(".SH \"EXIT STATUS\""));
    }
}
