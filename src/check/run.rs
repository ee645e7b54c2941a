//! Runs the checks in order, so that one root cause silences what merely follows from it.

use thiserror::Error;

use super::{ALL, Check, Context, Finding, Group, Status};

/// Which checks were asked for.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    only: Vec<String>,
    skip: Vec<String>,
}

#[derive(Debug, Error)]
#[error("no check is named `{id}`")]
pub struct UnknownCheck {
    pub id: String,
    pub nearest: Vec<&'static str>,
}

impl Selection {
    /// `only` empty means all. Both take ids of checks and names of groups.
    pub fn new(only: &[String], skip: &[String]) -> Result<Self, UnknownCheck> {
        for id in only.iter().chain(skip) {
            if !ALL.iter().any(|check| names(id, *check)) {
                let nearest = ALL.iter().map(|check| check.id()).filter(|known| alike(known, id)).take(3).collect();
                return Err(UnknownCheck { id: id.clone(), nearest });
            }
        }
        Ok(Self { only: only.to_vec(), skip: skip.to_vec() })
    }

    fn takes(&self, check: &dyn Check) -> bool {
        let listed = |list: &[String]| list.iter().any(|id| names(id, check));
        (self.only.is_empty() || listed(&self.only)) && !listed(&self.skip)
    }
}

fn names(id: &str, check: &dyn Check) -> bool {
    check.id() == id || check.group().name() == id
}

fn alike(known: &str, typed: &str) -> bool {
    crate::manifest::gpus::edits(known, typed) <= 3
        || known.split('-').any(|word| word.len() > 3 && typed.contains(word))
}

/// Every finding, in the order of the checks. A check that was not selected still runs, so that what it makes moot is
/// silenced; only its own findings are left out.
pub fn run(context: &Context<'_>, selection: &Selection) -> Vec<Finding> {
    let mut blocked: Vec<(&'static str, String)> = Vec::new();
    let mut findings = Vec::new();
    for &check in ALL {
        let reason = check
            .moot_after()
            .iter()
            .find_map(|id| blocked.iter().find(|(blocked, _)| blocked == id).map(|(_, root)| root.clone()));
        let answers = match reason {
            Some(root) => {
                blocked.push((check.id(), root.clone()));
                vec![Finding::new(check.id(), Status::Skip, format!("moot: see `{root}`"))]
            }
            None if simulated_away(check, *context) => {
                vec![Finding::new(check.id(), Status::Skip, "the GPU is simulated: its driver is not looked at")]
            }
            None => {
                let answers = check.run(context);
                if answers.iter().any(blocks) {
                    blocked.push((check.id(), check.id().to_owned()));
                }
                answers
            }
        };
        if selection.takes(check) {
            findings.extend(answers);
        }
    }
    findings
}

/// A failure blocks what follows from it. So does the absence of a GPU, which is no failure.
fn blocks(finding: &Finding) -> bool {
    finding.status == Status::Fail || (finding.status == Status::Warn && finding.id == super::NO_GPU)
}

fn simulated_away(check: &dyn Check, context: Context<'_>) -> bool {
    context.simulated()
        && matches!(check.group(), Group::Hardware | Group::Driver | Group::Containers | Group::Performance)
}
