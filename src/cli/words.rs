//! llama-server's single-dash words (`-ngl`), which clap would read as three letters: one table, applied before clap parses.

use std::ffi::{OsStr, OsString};

/// The word as llama-server b11434 spells it (`common/arg.cpp`), and our long flag.
pub const WORDS: &[(&str, &str)] = &[
    ("-cmoe", "--cpu-moe"),
    ("-cram", "--cache-ram"),
    ("-ctk", "--cache-type-k"),
    ("-ctkd", "--cache-type-k-draft"),
    ("-ctv", "--cache-type-v"),
    ("-ctvd", "--cache-type-v-draft"),
    ("-ctxcp", "--ctx-checkpoints"),
    ("-fa", "--flash-attn"),
    ("-kvo", "--kv-offload"),
    ("-kvu", "--kv-unified"),
    ("-lm", "--load-mode"),
    ("-md", "--model-draft"),
    ("-mg", "--main-gpu"),
    ("-mm", "--mmproj"),
    ("-ncmoe", "--n-cpu-moe"),
    ("-ngl", "--gpu-layers"),
    ("-ngld", "--gpu-layers-draft"),
    ("-nkvo", "--no-kv-offload"),
    ("-no-kvu", "--no-kv-unified"),
    ("-np", "--parallel"),
    ("-ot", "--override-tensor"),
    ("-sm", "--split-mode"),
    ("-ts", "--tensor-split"),
    ("-ub", "--ubatch-size"),
];

/// The command line with every such word replaced, up to `--`. As llama-server does, `_` in a long flag's name counts as `-`.
pub fn rewritten(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut verbatim = false;
    arguments
        .into_iter()
        .map(|argument| {
            verbatim |= argument == OsStr::new("--");
            if verbatim { argument } else { rewritten_one(argument) }
        })
        .collect()
}

fn rewritten_one(argument: OsString) -> OsString {
    let Some(text) = argument.to_str() else { return argument };
    let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
    let long = match WORDS.iter().find(|(word, _)| *word == name) {
        Some((_, long)) => (*long).to_owned(),
        None if name.starts_with("--") && name.contains('_') => name.replace('_', "-"),
        None => return argument,
    };
    value.map_or_else(|| long.clone(), |value| format!("{long}={value}")).into()
}

/// What `--help` says of them.
pub fn help() -> String {
    let pairs: Vec<String> = WORDS.iter().map(|(word, long)| format!("{word} = {long}")).collect();
    format!("llama-server's short spellings work too:\n  {}", pairs.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> String {
        let rewritten = rewritten(text.split(' ').map(OsString::from));
        rewritten.iter().map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_table_is_sorted_and_names_flags_that_exist() {
        assert!(WORDS.is_sorted());
        let fit = <crate::cli::fit::FitCommand as clap::Args>::augment_args(clap::Command::new("fit"));
        for (word, long) in WORDS {
            let name = long.strip_prefix("--").unwrap();
            assert!(fit.get_arguments().any(|argument| argument.get_long() == Some(name)), "{word} means {long}");
        }
    }

    #[test]
    fn words_become_flags() {
        assert_eq!(words("fit m -ngl 20 -c 4096"), "fit m --gpu-layers 20 -c 4096");
        assert_eq!(words("-ctk=q8_0 --ctx_size 8"), "--cache-type-k=q8_0 --ctx-size 8");
        assert_eq!(words("-v -vv -q"), "-v -vv -q");
        assert_eq!(words("a_b --gpu my_card -- -ngl"), "a_b --gpu my_card -- -ngl");
    }
}
