//! `manifests/server_flags.toml`: which llama-server knows which spelling of a flag.

use std::sync::LazyLock;

use serde::Deserialize;

use crate::units::BuildTag;

/// One flag, in every spelling it had.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerFlag {
    /// `flash-attention`: what the flag decides, stable while spellings change.
    pub id: String,
    /// Newest first.
    pub spellings: Vec<Spelling>,
    pub source: String,
    pub checked: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spelling {
    /// `-fa`
    pub text: String,
    /// Whether the next word is its value.
    pub value: bool,
    /// The first build that knows it; absent: all of use today.
    #[serde(default)]
    pub since: Option<u32>,
    /// The first build that no longer knows it.
    #[serde(default)]
    pub until: Option<u32>,
}

impl Spelling {
    /// Releases know what the newest build knows: they began after the last change in the list.
    fn is_known_to(&self, build: BuildTag) -> bool {
        match build {
            BuildTag::Nightly(number) => {
                self.since.is_none_or(|since| number >= since) && self.until.is_none_or(|until| number < until)
            }
            BuildTag::Release { .. } => self.until.is_none(),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    flag: Vec<ServerFlag>,
}

/// Parsed once; a test below proves that the embedded file parses.
#[expect(clippy::expect_used, reason = "the file is embedded and a test parses it")]
static FLAGS: LazyLock<Vec<ServerFlag>> = LazyLock::new(|| {
    let text = include_str!("../../manifests/server_flags.toml");
    toml::from_str::<File>(text).expect("manifests/server_flags.toml parses").flag
});

pub fn all() -> &'static [ServerFlag] {
    &FLAGS
}

/// How `build` spells the flag, or none where it does not know it. Without a build: the newest.
pub fn spelling(id: &str, build: Option<BuildTag>) -> Option<&'static Spelling> {
    let flag = FLAGS.iter().find(|flag| flag.id == id)?;
    flag.spellings.iter().find(|one| match build {
        Some(build) => one.is_known_to(build),
        None => one.until.is_none(),
    })
}

/// The flag that a word of a command line is, in any spelling.
pub fn of_word(word: &str) -> Option<&'static ServerFlag> {
    FLAGS.iter().find(|flag| flag.spellings.iter().any(|one| one.text == word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_sorted_and_rows_carry_their_source() {
        assert!(FLAGS.is_sorted_by(|one, next| one.id < next.id));
        assert!(FLAGS.iter().all(|flag| !flag.source.is_empty() && flag.checked.len() == 10));
        assert!(FLAGS.iter().all(|flag| !flag.spellings.is_empty()));
    }

    #[test]
    fn spelling_follows_the_build() {
        let at = |id, build: &str| spelling(id, Some(build.parse().unwrap())).map(|one| (one.text.as_str(), one.value));
        assert_eq!(at("flash-attention", "b11434"), Some(("-fa", true)));
        assert_eq!(at("flash-attention", "b6000"), Some(("-fa", false)));
        assert_eq!(at("no-mmap", "b11434"), Some(("--load-mode", true)));
        assert_eq!(at("no-mmap", "b9000"), Some(("--no-mmap", false)));
        assert_eq!(at("fit", "b7000"), None);
        assert_eq!(at("fit", "v0.6.0"), Some(("--fit", true)));
        assert_eq!(at("flash-attention", "v0.6.0"), Some(("-fa", true)));
    }
}
