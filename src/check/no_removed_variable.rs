//! Asks whether this holds: no variable that llama.cpp no longer reads is set.

use super::{Check, Context, Finding, Group, remedy};

pub(super) struct NoRemovedVariable;

impl Check for NoRemovedVariable {
    fn id(&self) -> &'static str {
        "no-removed-variable"
    }
    fn title(&self) -> &'static str {
        "No variable that llama.cpp no longer reads is set"
    }
    fn explanation(&self) -> &'static str {
        "llama.cpp removed `--mmap`, `--no-mmap`, `--mlock` and `--direct-io` in build b10884 (September 2026) \
         for `--load-mode`. Their variables are ignored without a word, so a setting that once worked has \
         silently ended."
    }
    fn group(&self) -> Group {
        Group::Environment
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        let removed = [
            "LLAMA_ARG_NO_MMAP",
            "LLAMA_ARG_MMAP",
            "LLAMA_ARG_MLOCK",
            "LLAMA_ARG_DIO",
            "LLAMA_ARG_DRAFT_MAX",
            "LLAMA_ARG_DRAFT_MIN",
        ];
        let Some(name) = removed.into_iter().find(|name| context.variable(name).is_some()) else {
            return vec![self.pass("none is")];
        };
        let now = if name.contains("DRAFT") {
            "`--spec-draft-n-max` and `--spec-draft-n-min`"
        } else {
            "`--load-mode`, or LLAMA_ARG_LOAD_MODE,"
        };
        vec![
            self.warn(format!("{name} is set, and llama.cpp no longer reads it: {now} took its place"))
                .seen(format!("{name}={}", context.variable(name).unwrap_or_default()), "environment")
                .remedy(remedy::unset(*context, name)),
        ]
    }
}
