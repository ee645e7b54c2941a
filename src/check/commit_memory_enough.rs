//! Asks whether this holds: Windows can promise enough memory.

use super::{Check, Context, Finding, Group, Remedy};

pub(super) struct CommitMemoryEnough;

impl Check for CommitMemoryEnough {
    fn id(&self) -> &'static str {
        "commit-memory-enough"
    }
    fn title(&self) -> &'static str {
        "Windows can promise enough memory"
    }
    fn explanation(&self) -> &'static str {
        "Windows promises memory only as far as RAM and page files reach. A page file that was made small or \
         switched off lets a model fail to load with `ERROR_COMMITMENT_LIMIT` while RAM is free."
    }
    fn group(&self) -> Group {
        Group::Memory
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        let Some(windows) = context.windows() else { return vec![self.skip("a matter of Windows")] };
        let Some(available) = windows.commit_available.value() else { return vec![self.skip("Windows does not say")] };
        if available.gib() >= 4.0 {
            return vec![self.pass(format!("{available} can be promised"))];
        }
        vec![
            self.warn(format!("Windows can promise only {available} more memory"))
                .remedy(Remedy::command("Let Windows manage the page file", "SystemPropertiesPerformance.exe")),
        ]
    }
}
