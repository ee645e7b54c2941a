//! `manifests/refused.toml`: which architectures llama.cpp names and no server can be planned for, and which ones a build lacks.

use std::sync::LazyLock;

use serde::Deserialize;

use super::FitError;
use super::architecture;
use crate::manifest::gpus::edits;
use crate::units::BuildTag;

/// An architecture that is no text or embedding model of its own.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refused {
    /// `general.architecture`
    pub name: String,
    /// Goes on after the name.
    pub why: String,
    /// The way out.
    pub instead: String,
    /// llama.cpp's file that says so.
    pub source: String,
    /// The date.
    pub checked: String,
}

/// What a build does not know yet.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lacks {
    pub build: BuildTag,
    pub architectures: Vec<String>,
    /// A later build that knows them.
    pub known_to: BuildTag,
    pub source: String,
    /// The date.
    pub checked: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    architecture: Vec<Refused>,
    lacks: Vec<Lacks>,
}

/// Parsed once; a test proves that the embedded file parses.
#[expect(clippy::expect_used, reason = "the file is embedded and a test parses it")]
static FILE: LazyLock<File> = LazyLock::new(|| {
    toml::from_str(include_str!("../../manifests/refused.toml")).expect("manifests/refused.toml parses")
});

pub fn all() -> &'static [Refused] {
    &FILE.architecture
}

pub fn lacking() -> &'static [Lacks] {
    &FILE.lacks
}

/// Refuses what cannot be a server's own model, and what `build` is known not to load.
pub fn check(name: &str, build: Option<BuildTag>) -> Result<(), FitError> {
    if let Some(refused) = all().iter().find(|one| one.name == name) {
        return Err(refused.error());
    }
    let lacks = lacking().iter().find(|lacks| Some(lacks.build) == build && has(&lacks.architectures, name));
    match lacks {
        Some(lacks) => {
            Err(FitError::BuildLacks { build: lacks.build, name: name.to_owned(), known_to: lacks.known_to })
        }
        None => Ok(()),
    }
}

/// Why an architecture that is not modelled cannot be planned.
pub(crate) fn reason(name: &str) -> FitError {
    match all().iter().find(|one| one.name == name) {
        Some(refused) => refused.error(),
        None => FitError::UnknownArchitecture { name: name.to_owned() },
    }
}

/// Up to three modelled architectures that are spelled nearly as `name`.
pub fn nearest(name: &str) -> Vec<&'static str> {
    let mut scored: Vec<(usize, &str)> = architecture::all()
        .iter()
        .map(|one| (edits(&one.name, name), one.name.as_str()))
        .filter(|(distance, known)| *distance <= 3.min(known.len() / 2))
        .collect();
    scored.sort_unstable();
    scored.into_iter().take(3).map(|(_, name)| name).collect()
}

fn has(names: &[String], wanted: &str) -> bool {
    names.iter().any(|name| name == wanted)
}

impl Refused {
    fn error(&self) -> FitError {
        FitError::Refused { name: self.name.clone(), why: self.why.clone(), instead: self.instead.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_sorted_and_say_why_and_what_instead() {
        for pair in all().windows(2) {
            assert!(pair[0].name < pair[1].name, "{} and {}", pair[0].name, pair[1].name);
        }
        for one in all() {
            assert!(!one.why.is_empty() && !one.instead.is_empty() && !one.source.is_empty(), "{}", one.name);
            assert!(one.checked.parse::<jiff::civil::Date>().is_ok(), "{}", one.name);
            assert!(check(&one.name, None).unwrap_err().to_string().contains(&one.why));
        }
    }

    #[test]
    fn a_build_is_refused_what_it_does_not_know() {
        let old: BuildTag = "v0.5.0".parse().unwrap();
        let error = check("glm5-next", Some(old)).unwrap_err().to_string();
        assert_eq!(error, "v0.5.0 does not know the architecture `glm5-next`: b11434 does");
        assert_eq!(check("glm5-next", Some("b11434".parse().unwrap())), Ok(()));
        assert_eq!(check("llama", Some(old)), Ok(()));
    }

    #[test]
    fn near_names_are_found() {
        assert_eq!(nearest("qwen4")[..2], ["qwen", "qwen2"]);
        assert!(nearest("deepseek9000").is_empty());
    }
}
