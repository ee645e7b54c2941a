//! Asks whether this holds: the C library is glibc.

use super::{Check, Context, Family, Finding, Group, remedy};

pub(super) struct LibcIsGlibc;

impl Check for LibcIsGlibc {
    fn id(&self) -> &'static str {
        "libc-is-glibc"
    }
    fn title(&self) -> &'static str {
        "The C library is glibc"
    }
    fn explanation(&self) -> &'static str {
        "Official Linux builds are linked with glibc. On Alpine and other musl systems their programs end with \
         `not found` although the file is there."
    }
    fn group(&self) -> Group {
        Group::System
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        if context.on_windows() {
            return vec![self.skip("Windows programs bring their C runtime")];
        }
        let musl = context.facts.host.libc.value().is_some_and(|libc| libc.starts_with("musl"))
            || context.family() == Family::Alpine;
        if musl {
            return vec![
                self.fail("The C library is musl: official builds do not run here").remedy(remedy::official_image()),
            ];
        }
        match context.facts.host.libc.value() {
            Some(libc) => vec![self.pass(libc.clone())],
            None => vec![self.skip("the C library is not known")],
        }
    }
}
