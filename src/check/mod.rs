//! Questions about a machine, answered from facts alone: one file each, in the order in which a person would ask them.

mod context;
pub mod machine;

mod run;
mod verdict;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use context::{Context, Family};
pub use run::{Selection, UnknownCheck, run};
pub use verdict::{Verdict, VerdictStatus, verdict};

/// The check whose warning means that nothing about a GPU can be asked.
pub const NO_GPU: &str = "gpu-present";

/// One question about the machine, answered from facts alone.
pub trait Check: Sync {
    /// Stable and kebab-case, equal to the file's name: in `--only`, in JSON, in the docs.
    fn id(&self) -> &'static str;
    /// The good state, as a sentence.
    fn title(&self) -> &'static str;
    /// What, why, how it is detected, how to fix it: `explain ID`.
    fn explanation(&self) -> &'static str;
    fn group(&self) -> Group;
    /// Earlier checks whose failure makes this question moot.
    fn moot_after(&self) -> &'static [&'static str] {
        &[]
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding>;

    fn pass(&self, summary: impl Into<String>) -> Finding
    where
        Self: Sized,
    {
        Finding::new(self.id(), Status::Pass, summary)
    }
    /// The question does not apply, or could not be answered; the summary says why.
    fn skip(&self, why: impl Into<String>) -> Finding
    where
        Self: Sized,
    {
        Finding::new(self.id(), Status::Skip, why)
    }
    fn warn(&self, summary: impl Into<String>) -> Finding
    where
        Self: Sized,
    {
        Finding::new(self.id(), Status::Warn, summary)
    }
    fn fail(&self, summary: impl Into<String>) -> Finding
    where
        Self: Sized,
    {
        Finding::new(self.id(), Status::Fail, summary)
    }
}

/// What a check is about; in the order of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Group {
    Hardware,
    Driver,
    Containers,
    Environment,
    System,
    Builds,
    Memory,
    Storage,
    Models,
    Performance,
}

impl Group {
    pub const ALL: &[Self] = &[
        Self::Hardware,
        Self::Driver,
        Self::Containers,
        Self::Environment,
        Self::System,
        Self::Builds,
        Self::Memory,
        Self::Storage,
        Self::Models,
        Self::Performance,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Hardware => "hardware",
            Self::Driver => "driver",
            Self::Containers => "containers",
            Self::Environment => "environment",
            Self::System => "system",
            Self::Builds => "builds",
            Self::Memory => "memory",
            Self::Storage => "storage",
            Self::Models => "models",
            Self::Performance => "performance",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    Pass,
    /// The question is moot, or could not be answered; the summary says why.
    Skip,
    Warn,
    Fail,
}

impl Status {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Skip => "skip",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    pub what: String,
    pub r#where: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Remedy {
    pub title: String,
    /// Ready to paste; empty when no command does it.
    pub command: String,
    /// Whether `check --fix` can do it.
    pub automatic: bool,
}

impl Remedy {
    pub fn command(title: impl Into<String>, command: impl Into<String>) -> Self {
        Self { title: title.into(), command: command.into(), automatic: false }
    }

    /// What a person does: no command can.
    pub fn advice(title: impl Into<String>) -> Self {
        Self::command(title, "")
    }

    /// What `check --fix` does by itself.
    pub fn automatic(title: impl Into<String>) -> Self {
        Self { automatic: true, ..Self::command(title, "llama-doctor check --fix") }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    pub id: String,
    pub status: Status,
    pub summary: String,
    pub evidence: Vec<Evidence>,
    pub remedies: Vec<Remedy>,
}

impl Finding {
    pub fn new(id: &str, status: Status, summary: impl Into<String>) -> Self {
        Self { id: id.to_owned(), status, summary: summary.into(), evidence: Vec::new(), remedies: Vec::new() }
    }

    /// Adds what was seen, and where.
    #[must_use]
    pub fn seen(mut self, what: impl Into<String>, r#where: impl Into<String>) -> Self {
        self.evidence.push(Evidence { what: what.into(), r#where: r#where.into() });
        self
    }

    #[must_use]
    pub fn remedy(mut self, remedy: Remedy) -> Self {
        self.remedies.push(remedy);
        self
    }

    #[must_use]
    pub fn remedies(mut self, remedies: impl IntoIterator<Item = Remedy>) -> Self {
        self.remedies.extend(remedies);
        self
    }
}

macro_rules! checks {
    ($($file:ident :: $name:ident),* $(,)?) => {
        $(mod $file;)*
        /// Every check, in the order in which a person would ask.
        pub const ALL: &[&dyn Check] = &[$(&$file::$name),*];
        /// The files of the checks, for the test that each is named as its check.
        #[cfg(test)]
        const FILES: &[&str] = &[$(stringify!($file)),*];
    };
}

checks![gpu_present::GpuPresent];

/// The check of that id.
pub fn find(id: &str) -> Option<&'static dyn Check> {
    ALL.iter().copied().find(|check| check.id() == id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_kebab_case_and_equal_to_their_files() {
        for (check, file) in ALL.iter().zip(FILES) {
            assert_eq!(check.id(), file.replace('_', "-"));
            assert_eq!(ALL.iter().filter(|other| other.id() == check.id()).count(), 1, "{}", check.id());
        }
    }

    #[test]
    fn every_check_explains_itself() {
        for check in ALL {
            assert!(!check.title().is_empty() && !check.title().ends_with('.'), "{}", check.id());
            assert!(check.explanation().len() > 120, "{} explains too little", check.id());
            assert!(check.explanation().ends_with('.'), "{}", check.id());
        }
    }

    #[test]
    fn a_check_waits_only_for_earlier_ones() {
        for (place, check) in ALL.iter().enumerate() {
            for earlier in check.moot_after() {
                let found = ALL.iter().position(|other| other.id() == *earlier);
                assert!(found.is_some_and(|found| found < place), "{} waits for {earlier}", check.id());
            }
        }
    }
}
