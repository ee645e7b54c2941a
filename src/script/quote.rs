//! One word, written so that a shell or a configuration reader hands it on byte for byte; or refused, with the reason.

use thiserror::Error;

/// A word that a dialect cannot carry.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{dialect} cannot carry `{}`: {reason}", word.escape_debug())]
pub struct Refused {
    pub word: String,
    pub dialect: &'static str,
    pub reason: &'static str,
}

fn refuse(word: &str, dialect: &'static str, reason: &'static str) -> Refused {
    Refused { word: word.to_owned(), dialect, reason }
}

/// POSIX shells: between single quotes nothing is special but the quote itself.
pub fn sh(word: &str) -> Result<String, Refused> {
    if word.contains('\0') {
        return Err(refuse(word, "a shell script", "no argument of a process can hold a NUL"));
    }
    if is_plain(word) {
        return Ok(word.to_owned());
    }
    Ok(format!("'{}'", word.replace('\'', r"'\''")))
}

/// Nothing that any Unix reader acts on.
fn is_plain(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "_-./:,=+@".contains(c))
}

/// PowerShell: as `sh`, but the quote doubles, and four typographic quotes count as quotes too
/// (PowerShell's tokenizer, `IsSingleQuote`: U+2018 to U+201B).
pub fn powershell(word: &str) -> Result<String, Refused> {
    if word.chars().any(char::is_control) {
        // Newlines would be changed with the file's line endings.
        return Err(refuse(word, "a PowerShell script", "it holds a control character"));
    }
    let mut quoted = String::with_capacity(word.len() + 2);
    quoted.push('\'');
    for c in word.chars() {
        quoted.push(c);
        if matches!(c, '\'' | '\u{2018}'..='\u{201b}') {
            quoted.push(c);
        }
    }
    quoted.push('\'');
    Ok(quoted)
}

/// cmd: always between double quotes, with `%` doubled, and backslashes before the closing quote doubled for the program's own
/// parser. Delayed expansion must be off.
pub fn cmd(word: &str) -> Result<String, Refused> {
    if word.contains('"') {
        return Err(refuse(
            word,
            "a cmd script",
            "a double quote ends cmd's quoting, and no Windows file name can hold one",
        ));
    }
    if word.chars().any(char::is_control) {
        return Err(refuse(word, "a cmd script", "it holds a control character"));
    }
    let backslashes = word.len() - word.trim_end_matches('\\').len();
    Ok(format!("\"{}{}\"", word.replace('%', "%%"), "\\".repeat(backslashes)))
}

/// One argument of systemd's `ExecStart=`, after the executable (systemd.service(5), "Command lines").
pub fn systemd(word: &str) -> Result<String, Refused> {
    if word.contains('\0') {
        return Err(refuse(word, "a systemd unit", "no argument of a process can hold a NUL"));
    }
    if is_plain(word) {
        return Ok(word.to_owned());
    }
    let mut quoted = String::with_capacity(word.len() + 2);
    quoted.push('"');
    for c in word.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '%' => quoted.push_str("%%"),
            '$' => quoted.push_str("$$"),
            '\n' => quoted.push_str("\\n"),
            c if (c as u32) < 0x20 || c as u32 == 0x7f => {
                quoted.extend(['\\', 'x', hexadecimal(c as u32 >> 4), hexadecimal(c as u32 & 15)]);
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    Ok(quoted)
}

fn hexadecimal(digit: u32) -> char {
    char::from_digit(digit, 16).unwrap_or('0')
}

/// A YAML scalar: JSON's string is one.
pub fn yaml(word: &str) -> String {
    serde_json::Value::from(word).to_string()
}

/// A scalar of a Compose file, where `$` would name a variable.
pub fn compose(word: &str) -> String {
    yaml(&word.replace('$', "$$"))
}

/// One word of a command in llama-swap's configuration, which is split as a POSIX shell would after `${macros}` are replaced.
pub fn llama_swap(word: &str) -> Result<String, Refused> {
    if word.contains("${") {
        return Err(refuse(word, "llama-swap's configuration", "`${` begins a macro there"));
    }
    if word.chars().any(char::is_control) {
        return Err(refuse(word, "llama-swap's configuration", "it holds a control character"));
    }
    sh(word)
}

/// A value of llama-server's preset INI, which runs to the end of the line without the blanks at both ends.
pub fn preset(word: &str) -> Result<String, Refused> {
    let dialect = "a preset file";
    if word.chars().any(char::is_control) {
        return Err(refuse(word, dialect, "it holds a control character"));
    }
    if word.trim() != word {
        return Err(refuse(word, dialect, "blanks at the ends of a value are lost"));
    }
    if word.contains([';', '#']) {
        return Err(refuse(word, dialect, "`;` and `#` begin a comment there"));
    }
    Ok(word.to_owned())
}

/// A command for people to copy: words with blanks or signs between quotes.
pub fn shown(words: &[String]) -> String {
    let quoted = |word: &String| if is_plain(word) { word.clone() } else { format!("\"{word}\"") };
    words.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

/// Text for a comment: on one line, and in cmd without what cmd would act on even there.
pub fn comment(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().trim_end_matches('\\').to_owned()
}

pub fn cmd_comment(text: &str) -> String {
    comment(text).chars().map(|c| if "%&|<>^!\"".contains(c) || !c.is_ascii() { '_' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_dialect_by_example() {
        assert_eq!(sh("/models/a.gguf").unwrap(), "/models/a.gguf");
        assert_eq!(sh("it's $(x)").unwrap(), r"'it'\''s $(x)'");
        assert_eq!(sh("").unwrap(), "''");
        assert_eq!(powershell("it's ‘so’").unwrap(), "'it''s ‘‘so’’'");
        assert_eq!(cmd(r"C:\100%\a & b\").unwrap(), r#""C:\100%%\a & b\\""#);
        assert_eq!(systemd("a \"b\" $c %d\n").unwrap(), r#""a \"b\" $$c %%d\n""#);
        assert_eq!(compose("a $b \"c\""), r#""a $$b \"c\"""#);
    }

    #[test]
    fn what_cannot_arrive_is_refused() {
        assert!(sh("a\0b").is_err());
        assert!(powershell("a\nb").is_err());
        assert!(cmd("a\"b").is_err());
        assert!(cmd("a\nb").unwrap_err().to_string().contains("control character"));
        assert!(llama_swap("${PORT}").is_err());
        assert!(preset(" a").is_err());
    }

    #[test]
    fn comments_stay_comments() {
        assert_eq!(comment("name\nrm -rf / \\"), "name rm -rf / ");
        assert_eq!(cmd_comment("100% & more"), "100_ _ more");
    }
}
