//! What stands below the flags of `--help`, and in the man page: variables and exit codes.

use crate::host::environment;

/// The contract's exit codes.
pub const EXIT_CODES: &[(u8, &str)] = &[
    (0, "fine; warnings are allowed"),
    (1, "`check` has a failed finding, `fit` found nothing that fits, or `bench` measured a broken promise"),
    (2, "what was typed, or a file that was named, is not usable"),
    (3, "this machine lacks something: a file, a right, a GPU"),
    (4, "the network or a server on it failed"),
    (5, "a digest, a signature or a file's own structure is wrong"),
    (6, "llama-server did not start, or died"),
    (70, "a bug of ours"),
];

/// The text below `--help`.
pub fn after_help() -> String {
    let variables = environment::ALL.iter().map(|variable| (variable.name.to_owned(), variable.meaning));
    let codes = EXIT_CODES.iter().map(|(code, meaning)| (code.to_string(), *meaning));
    format!("Environment:\n{}\nExit codes:\n{}", list(variables), list(codes).trim_end_matches('\n'))
}

/// One entry a line, the meaning on a line of its own where the name is long.
fn list<'a>(entries: impl Iterator<Item = (String, &'a str)>) -> String {
    entries
        .flat_map(|(name, meaning)| {
            ["  ".to_owned(), name, "\n          ".to_owned(), meaning.to_owned(), "\n".to_owned()]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Kind;

    #[test]
    fn every_kind_of_failure_has_its_line() {
        let kinds = [Kind::Usage, Kind::Environment, Kind::Network, Kind::Integrity, Kind::Server, Kind::Internal]
            .map(|kind| kind as u8);
        let listed: Vec<u8> = EXIT_CODES.iter().map(|(code, _)| *code).filter(|code| *code > 1).collect();
        assert_eq!(listed, kinds);
    }

    #[test]
    fn every_variable_is_named() {
        let text = after_help();
        assert!(environment::ALL.iter().all(|variable| text.contains(variable.name)));
    }
}
