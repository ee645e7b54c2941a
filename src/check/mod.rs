//! Questions about a machine, answered from facts alone: one file each.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::host::facts::Facts;

/// What a check may look at.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    pub facts: &'a Facts,
}

/// One question about the machine, answered from facts alone.
pub trait Check: Sync {
    /// Stable and kebab-case, equal to the file's name: in `--only`, in JSON, in the docs.
    fn id(&self) -> &'static str;
    /// The good state, as a sentence.
    fn title(&self) -> &'static str;
    /// What, why, how it is detected, how to fix it: `explain ID`.
    fn explanation(&self) -> &'static str;
    fn run(&self, context: &Context<'_>) -> Vec<Finding>;
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

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    pub what: String,
    pub r#where: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Remedy {
    pub title: String,
    pub command: String,
    /// Whether `check --fix` can do it.
    pub automatic: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    pub id: String,
    pub status: Status,
    pub summary: String,
    pub evidence: Vec<Evidence>,
    pub remedies: Vec<Remedy>,
}
