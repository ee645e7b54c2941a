//! Names on a hub, parsed so that nothing that a server or a user says can leave the folder it belongs to.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::Serialize;
use thiserror::Error;

use crate::host::file_names;

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NameError {
    #[error("`{0}` is not a repository: it is written `org/name`, of letters, digits, `_`, `.` and `-`")]
    Repository(String),
    #[error("the file name `{name}` is refused: {reason}")]
    Path { name: String, reason: &'static str },
    #[error("`{0}` is not a revision: it is a branch, a tag or a commit of 40 hexadecimal digits")]
    Revision(String),
}

/// `org/name`, as the hub spells it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct RepositoryId(String);

impl RepositoryId {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part after the slash.
    pub fn name(&self) -> &str {
        self.0.split_once('/').map_or(self.0.as_str(), |(_, name)| name)
    }

    /// The repository's folder in a hub cache: `models--org--name`.
    pub fn folder_name(&self) -> String {
        format!("models--{}", self.0.replace('/', "--"))
    }

    /// The inverse of [`RepositoryId::folder_name`]; none for folders of data sets and spaces.
    pub fn from_folder_name(folder: &str) -> Option<Self> {
        folder.strip_prefix("models--")?.replacen("--", "/", 1).parse().ok()
    }
}

impl fmt::Display for RepositoryId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

impl FromStr for RepositoryId {
    type Err = NameError;

    /// The hub's own rule (`huggingface_hub/utils/_validators.py`): at most 96 characters a part, `--` and `..` forbidden,
    /// neither `-` nor `.` at either end.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let part_is_good = |part: &str| {
            (1..=96).contains(&part.len())
                && part.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
                && !part.starts_with(['.', '-'])
                && !part.ends_with(['.', '-'])
                && !part.contains("--")
                && !part.contains("..")
        };
        match text.split_once('/') {
            Some((organisation, name)) if part_is_good(organisation) && part_is_good(name) => Ok(Self(text.to_owned())),
            _ => Err(NameError::Repository(text.to_owned())),
        }
    }
}

/// A file inside a repository: relative, with `/` between its parts, safe to create on every system.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct RepositoryPath(String);

impl RepositoryPath {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// How many folders lie above the file.
    pub fn depth(&self) -> usize {
        self.0.matches('/').count()
    }

    /// With this system's separators.
    pub fn to_path(&self) -> PathBuf {
        self.0.split('/').collect()
    }
}

impl fmt::Display for RepositoryPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

impl FromStr for RepositoryPath {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = |reason| NameError::Path { name: text.escape_debug().to_string(), reason };
        if text.len() > 1024 {
            return Err(refused("it is longer than 1024 bytes"));
        }
        if text.starts_with('/') {
            return Err(refused("it is absolute"));
        }
        // `\` and `:` separate on Windows; the others cannot be in a name there.
        if text.chars().any(|c| c.is_control() || r#"\:*?"<>|"#.contains(c)) {
            return Err(refused("it holds a character that is not allowed in file names everywhere"));
        }
        for part in text.split('/') {
            if part.is_empty() || part == "." || part == ".." {
                return Err(refused("it leads out of its folder"));
            }
            if let Some(reason) = file_names::unusable_on_windows(part) {
                return Err(refused(reason));
            }
        }
        Ok(Self(text.to_owned()))
    }
}

/// A commit: 40 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Commit(String);

impl Commit {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Commit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

impl FromStr for Commit {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(Self(text.to_ascii_lowercase()));
        }
        Err(NameError::Revision(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn repositories_by_the_hubs_rule() {
        for good in ["Qwen/Qwen2.5-14B-Instruct-GGUF", "a/b", "unsloth/gpt-oss-20b-GGUF", "x_y/z_1.0"] {
            let id: RepositoryId = good.parse().unwrap();
            assert_eq!(RepositoryId::from_folder_name(&id.folder_name()), Some(id));
        }
        for bad in ["", "a", "a/", "/a", "a/b/c", "../b", "a/..", "a--b/c", "-a/b", "a/b.", "a/b c", "a\\b/c", "ä/b"] {
            assert!(bad.parse::<RepositoryId>().is_err(), "{bad}");
        }
        assert_eq!(RepositoryId::from_folder_name("datasets--a--b"), None);
    }

    #[test]
    fn hostile_paths_are_refused() {
        for bad in [
            "",
            "/etc/passwd",
            "../x.gguf",
            "a/../../x",
            "a//b",
            "a\\..\\b",
            "C:x.gguf",
            "x.gguf:stream",
            "nul",
            "a/NUL.gguf",
            "com1.gguf",
            "x.gguf.",
            "x ",
            "a\0b",
            "a\nb",
        ] {
            assert!(bad.parse::<RepositoryPath>().is_err(), "{bad:?}");
        }
        let path: RepositoryPath = "Q4_K_M/model-00001-of-00002.gguf".parse().unwrap();
        assert_eq!((path.file_name(), path.depth()), ("model-00001-of-00002.gguf", 1));
    }

    proptest! {
        #[test]
        fn an_accepted_path_stays_inside(text in ".{0,40}") {
            if let Ok(path) = text.parse::<RepositoryPath>() {
                prop_assert!(path.to_path().components().all(|part| matches!(part, std::path::Component::Normal(_))));
            }
        }
    }
}
