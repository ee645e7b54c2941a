//! `manifests/archives.toml`: which files the project's official archives hold.

use std::sync::LazyLock;

use serde::Deserialize;

use crate::host::facts::OperatingSystem;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfficialArchive {
    pub system: OperatingSystem,
    /// As Rust names it: `x86_64`.
    pub architecture: String,
    /// The first nightly of which this is known: `11005` is b11005.
    pub since: u32,
    /// Libraries without the version behind their name.
    pub files: Vec<String>,
    pub source: String,
    pub checked: String,
}

/// CUDA's libraries, which come in an archive of their own.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Companions {
    pub system: OperatingSystem,
    /// Names before the version.
    pub files: Vec<String>,
    pub source: String,
    pub checked: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfficialArchives {
    #[serde(rename = "archive")]
    pub archives: Vec<OfficialArchive>,
    pub companions: Vec<Companions>,
}

/// Parsed once; a test proves that the embedded file parses.
#[expect(clippy::expect_used, reason = "the file is embedded and a test parses it")]
static ARCHIVES: LazyLock<OfficialArchives> = LazyLock::new(|| {
    toml::from_str(include_str!("../../manifests/archives.toml")).expect("manifests/archives.toml parses")
});

pub fn official_archives() -> &'static OfficialArchives {
    &ARCHIVES
}

impl OfficialArchives {
    /// The newest list that is not newer than the build. None: the archives of that age are not known well enough.
    pub fn of(&self, system: OperatingSystem, architecture: &str, number: u32) -> Option<&OfficialArchive> {
        let fits =
            |row: &&OfficialArchive| row.system == system && row.architecture == architecture && row.since <= number;
        self.archives.iter().filter(fits).max_by_key(|row| row.since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_list_that_is_old_enough_counts() {
        let list = |number| official_archives().of(OperatingSystem::Linux, "x86_64", number).map(|row| row.since);
        assert_eq!((list(5000), list(7312), list(11_434)), (None, Some(7312), Some(11_005)));
        for row in &official_archives().archives {
            assert!(row.source.starts_with("https://") && row.files.len() > 5 && !row.checked.is_empty());
        }
    }
}
