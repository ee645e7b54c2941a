//! The machine as facts with their origin. IO happens here; nothing here judges.

pub mod console;
pub mod cuda_code;
mod cuda_order;
pub mod disk;
pub mod driver_api;
pub mod environment;
pub mod facts;
pub mod file_names;
pub mod gpu_process_memory;
pub mod known_dlls;
#[cfg(unix)]
mod linux;
pub mod mark_of_the_web;
mod models;
mod nvml;
pub mod nvml_code;
mod observe;
mod read_only;
pub mod real_path;
pub mod redaction;
pub mod replace;
pub mod runtime_copies;
mod variables;
#[cfg(windows)]
mod windows;
pub mod windows_facts;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

#[cfg(unix)]
use linux as platform;
pub use observe::{observe, observe_while};
#[cfg(windows)]
use windows as platform;

/// The machine as the program sees it. `Recorded` replays one in tests: files under `root`, variables, command outputs.
#[derive(Debug, Clone, Default)]
pub enum Host {
    #[default]
    Live,
    Recorded {
        root: PathBuf,
        environment: BTreeMap<OsString, OsString>,
        /// Keyed by the command line, words joined by one space.
        outputs: BTreeMap<String, Vec<u8>>,
    },
}

impl Host {
    /// Where an absolute path of this machine lies for us.
    pub fn path(&self, absolute: impl AsRef<Path>) -> PathBuf {
        let absolute = absolute.as_ref();
        match self {
            Self::Live => absolute.to_owned(),
            Self::Recorded { root, .. } => root.join(absolute.strip_prefix("/").unwrap_or(absolute)),
        }
    }

    /// The value of an environment variable. An empty one counts as absent.
    pub fn variable(&self, name: impl AsRef<OsStr>) -> Option<OsString> {
        let value = match self {
            #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
            Self::Live => std::env::var_os(name),
            Self::Recorded { environment, .. } => environment.get(name.as_ref()).cloned(),
        };
        value.filter(|value| !value.is_empty())
    }

    /// As [`Host::text_variable`], for the variables to which an empty value means something else than none.
    pub fn variable_even_empty(&self, name: &str) -> Option<String> {
        self.variables_starting_with(name).remove(name)
    }

    /// As [`Host::variable`], for values that are text; one that is not Unicode counts as absent.
    pub fn text_variable(&self, name: impl AsRef<OsStr>) -> Option<String> {
        self.variable(name)?.into_string().ok()
    }

    /// Every environment variable whose name starts with `prefix`, sorted.
    pub fn variables_starting_with(&self, prefix: &str) -> BTreeMap<String, String> {
        let pairs: Vec<(OsString, OsString)> = match self {
            #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
            Self::Live => std::env::vars_os().collect(),
            Self::Recorded { environment, .. } => environment.clone().into_iter().collect(),
        };
        pairs
            .into_iter()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())))
            .filter(|(name, _)| name.starts_with(prefix))
            .collect()
    }

    /// The user's home folder: `HOME`, on Windows `USERPROFILE`.
    pub fn home(&self) -> Option<PathBuf> {
        let name = if cfg!(windows) { environment::USERPROFILE.name } else { environment::HOME.name };
        self.variable(name).map(PathBuf::from)
    }

    /// The text of a file of this machine, if it can be read.
    pub fn read_to_string(&self, absolute: impl AsRef<Path>) -> std::io::Result<String> {
        fs_err::read_to_string(self.path(absolute))
    }
}
