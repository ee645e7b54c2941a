//! Asks whether this holds: the driver's compiler is there when it is needed.

use super::over_builds::{covers, native, over_builds};
use super::{Check, Context, Finding, Group, Needs, remedy};
use crate::host::facts::Fact;

pub(super) struct JitCompilerPresent;

impl Check for JitCompilerPresent {
    fn id(&self) -> &'static str {
        "jit-compiler-present"
    }
    fn title(&self) -> &'static str {
        "The driver's compiler is there when it is needed"
    }
    fn explanation(&self) -> &'static str {
        "A GPU without finished code in the build needs `libnvidia-ptxjitcompiler.so.1`, a part of the driver \
         that small containers and cut-down driver packages leave out: `PTX JIT compiler library not found` \
         (221)."
    }
    fn group(&self) -> Group {
        Group::Builds
    }
    fn needs(&self) -> Needs {
        Needs::Driver
    }
    fn breaks_build(&self) -> bool {
        true
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        if context.on_windows() || context.facts.wsl.is_some() {
            return vec![self.skip("it is part of Windows' driver")];
        }
        over_builds(self, *context, |build| {
            let Some(backend) = build.backend("CUDA") else { return Vec::new() };
            let needed = context.visible_gpus().find(|gpu| {
                gpu.compute_capability
                    .is_some_and(|capability| !native(backend, capability) && covers(backend, capability))
            });
            let (Some(gpu), Fact::Unknown { unknown }) = (needed, &context.facts.user_driver.jit_compiler) else {
                return Vec::new();
            };
            if unknown == "not looked at" {
                return Vec::new();
            }
            vec![
                self.fail(format!(
                    "{} needs its code compiled by the driver, whose compiler library is missing",
                    gpu.name
                ))
                .seen(unknown.clone(), "the loader")
                .remedies(remedy::compute_libraries(*context)),
            ]
        })
    }
}
