//! Runs the checks in order, so that one root cause silences what merely follows from it.

use thiserror::Error;

use super::{ALL, Check, Context, Finding, Group, Needs, Status};

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
                return Err(UnknownCheck { id: id.clone(), nearest: nearest(id) });
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

/// What may have been meant: names that differ by few letters, else those that share the most words.
fn nearest(typed: &str) -> Vec<&'static str> {
    let groups = Group::ALL.iter().map(|group| group.name());
    let known: Vec<&'static str> = ALL.iter().map(|check| check.id()).chain(groups).collect();
    let plain = |name: &str| name.replace(['-', '_', ' '], "").to_ascii_lowercase();
    let edits = |name: &str| crate::manifest::gpus::edits(&plain(name), &plain(typed));
    let mut close: Vec<&'static str> = known.iter().copied().filter(|name| edits(name) <= 3).collect();
    close.sort_by_key(|name| edits(name));
    if close.is_empty() {
        let shared = |name: &str| name.split('-').filter(|word| word.len() > 3 && typed.contains(word)).count();
        close = known.into_iter().filter(|name| shared(name) > 0).collect();
        close.sort_by_key(|name| std::cmp::Reverse(shared(name)));
    }
    close.truncate(3);
    close
}

/// Every finding, in the order of the checks. A check that was not selected still runs, so that what it makes moot is
/// silenced; only its own findings are left out.
pub fn run(context: &Context<'_>, selection: &Selection) -> Vec<Finding> {
    let mut causes = Causes::default();
    let mut findings = Vec::new();
    for &check in ALL {
        let answers = if let Some(root) = causes.of(check) {
            vec![Finding::new(check.id(), Status::Skip, format!("moot: see `{root}`"))]
        } else if simulated_away(check, *context) {
            vec![Finding::new(check.id(), Status::Skip, "the GPU is simulated: its driver is not looked at")]
        } else {
            check.run(context)
        };
        causes.learn(check, &answers);
        if selection.takes(check) {
            findings.extend(answers);
        }
    }
    findings
}

/// The first check that found each thing broken: the root cause of what follows.
#[derive(Debug, Default)]
struct Causes {
    card: Option<&'static str>,
    driver: Option<&'static str>,
    build: Option<&'static str>,
}

impl Causes {
    /// The root cause that makes a check moot. A check that would itself break the driver waits for the earlier ones
    /// of its kind, so that one cascade names one cause.
    fn of(&self, check: &dyn Check) -> Option<&'static str> {
        let needed = match check.needs() {
            Needs::Nothing => None,
            Needs::Card if check.breaks_driver() => self.card.or(self.driver),
            Needs::Card => self.card,
            Needs::Driver => self.card.or(self.driver),
        };
        // Where WSL itself shows no card, whether there is one cannot be asked.
        let waits = check.breaks_driver() || check.id() == super::NO_GPU;
        let chained = (check.needs() == Needs::Nothing && waits).then_some(self.driver).flatten();
        needed.or(chained).or_else(|| (check.group() == Group::Builds).then_some(self.build).flatten())
    }

    fn learn(&mut self, check: &dyn Check, answers: &[Finding]) {
        if check.id() == super::NO_GPU {
            let absent = answers.iter().any(|answer| answer.status >= Status::Warn).then_some(check.id());
            self.card = self.driver.or(absent);
        }
        if !answers.iter().any(|answer| answer.status == Status::Fail) {
            return;
        }
        if check.breaks_driver() {
            self.driver.get_or_insert(check.id());
        }
        if check.breaks_build() {
            self.build.get_or_insert(check.id());
        }
    }
}

fn simulated_away(check: &dyn Check, context: Context<'_>) -> bool {
    context.simulated()
        && matches!(check.group(), Group::Hardware | Group::Driver | Group::Containers | Group::Performance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_name_suggests_the_right_one_first() {
        let first = |typed: &str| Selection::new(&[typed.to_owned()], &[]).unwrap_err().nearest.first().copied();
        assert_eq!(first("driver-to-old"), Some("driver-too-old"));
        assert_eq!(first("DriverTooOld"), Some("driver-too-old"));
        assert_eq!(first("drivers"), Some("driver"));
        assert_eq!(first("secure-boot"), Some("secure-boot-blocks-module"));
        assert_eq!(first("xyzzy-plugh"), None);
    }
}
