//! Asks whether this holds: NCCL is found, if the build needs it.

use super::over_builds::over_builds;
use super::{Check, Context, Finding, Group, Needs, remedy};

pub(super) struct NcclPresent;

impl Check for NcclPresent {
    fn id(&self) -> &'static str {
        "nccl-present"
    }
    fn title(&self) -> &'static str {
        "NCCL is found, if the build needs it"
    }
    fn explanation(&self) -> &'static str {
        "Official builds do without NCCL. A self-built or packaged llama.cpp with `GGML_CUDA_NCCL=ON` needs \
         `libnccl.so.2`; without it the CUDA backend silently does not load."
    }
    fn group(&self) -> Group {
        Group::Builds
    }
    fn needs(&self) -> Needs {
        Needs::Card
    }
    fn breaks_build(&self) -> bool {
        true
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        over_builds(self, *context, |build| {
            let lacks = build
                .backend("CUDA")
                .is_some_and(|backend| backend.missing.iter().any(|name| name.starts_with("libnccl")));
            if !lacks {
                return Vec::new();
            }
            vec![
                self.fail(format!("{} needs NCCL, and libnccl.so.2 is not on this machine", Context::name_of(build)))
                    .remedy(remedy::package(
                        *context,
                        "Install it (from NVIDIA's repository)",
                        ["libnccl2", "libnccl", "nccl", "libnccl2", "nccl"],
                    )),
            ]
        })
    }
}
