//! Where output goes: stdout is the answer, stderr the talk. Decided once, from the flags.

use std::io::Write;

use serde::Serialize;

use crate::failure::Failure;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    Quiet,
    Normal,
    Verbose,
}

#[derive(Debug, Clone, Copy)]
pub struct Printer {
    pub json: bool,
    pub verbosity: Verbosity,
}

impl Printer {
    /// The answer, for people. Silent under `--json`.
    pub fn answer(&self, text: &str) {
        if !self.json {
            write_line(&mut anstream::stdout(), text);
        }
    }

    /// The answer, for programs: one document on stdout.
    pub fn json<T: Serialize>(&self, value: &T) -> Result<(), Failure> {
        let text =
            serde_json::to_string_pretty(value).map_err(|error| Failure::new(crate::failure::Kind::Internal, error))?;
        write_line(&mut anstream::stdout(), &text);
        Ok(())
    }

    /// A whole document that is the answer, byte for byte.
    pub fn document(&self, bytes: &[u8]) {
        let _ = std::io::stdout().write_all(bytes);
    }

    /// Talk: what is going on. Silent with `-q`.
    pub fn note(&self, text: &str) {
        if self.verbosity > Verbosity::Quiet {
            write_line(&mut anstream::stderr(), text);
        }
    }

    /// What the user should know even with `-q`.
    pub fn warning(&self, text: &str) {
        write_line(&mut anstream::stderr(), &format!("warning: {text}"));
    }
}

/// A closed pipe (`| head`) ends the reader's interest, not the program's work: nothing to report.
fn write_line(stream: &mut impl Write, text: &str) {
    let _ = writeln!(stream, "{text}");
}

/// The failure and its hints, on stderr.
pub fn print_failure(failure: &Failure) {
    let mut stream = anstream::stderr();
    write_line(&mut stream, &format!("error: {failure}"));
    for hint in &failure.hints {
        write_line(&mut stream, &format!("hint: {hint}"));
    }
}
