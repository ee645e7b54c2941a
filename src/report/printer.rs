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
        // Windows PowerShell takes what a program pipes for text in the console's old code page. Escapes survive that.
        let text = if cfg!(windows) { in_ascii(&text) } else { text };
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

/// The same JSON document without a character beyond ASCII: such characters stand in strings alone, where an escape means
/// the same.
fn in_ascii(json: &str) -> String {
    let mut ascii = String::with_capacity(json.len());
    for character in json.chars() {
        if character.is_ascii() {
            ascii.push(character);
        } else {
            ascii.extend(character.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")));
        }
    }
    ascii
}

/// The failure and its hints, on stderr.
pub fn print_failure(failure: &Failure) {
    let mut stream = anstream::stderr();
    write_line(&mut stream, &format!("error: {failure}"));
    for hint in &failure.hints {
        write_line(&mut stream, &format!("hint: {hint}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_in_ascii_means_the_same() {
        let document = serde_json::json!({"C:\\Größe 模型": ["\u{1F999} \"quoted\"", "plain", 1.5, null]});
        for text in [document.to_string(), serde_json::to_string_pretty(&document).unwrap()] {
            let ascii = in_ascii(&text);
            assert!(ascii.is_ascii(), "{ascii}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&ascii).unwrap(), document);
        }
        assert_eq!(in_ascii("\"é\u{1F999}\""), r#""\u00e9\ud83e\udd99""#);
    }
}
