//! Asks whether this holds: glibc is new enough for official CUDA builds.

use super::{Check, Context, Finding, Group, Remedy, remedy};
use crate::build::BackendState;

pub(super) struct GlibcNewEnough;

impl Check for GlibcNewEnough {
    fn id(&self) -> &'static str {
        "glibc-new-enough"
    }
    fn title(&self) -> &'static str {
        "glibc is new enough for official CUDA builds"
    }
    fn explanation(&self) -> &'static str {
        "The official Linux CUDA builds are made on Ubuntu 24.04 and need glibc 2.39; the plain and the Vulkan \
         build need 2.35. On Debian 12, Ubuntu 22.04 and RHEL 9 the CUDA backend does not load: ``version \
         `GLIBC_2.38' not found``, or nothing at all and the processor does the work.\n\nglibc cannot be updated \
         by itself. Use a container image, conda-forge's build, a self-built llama.cpp, or the Vulkan build."
    }
    fn group(&self) -> Group {
        Group::System
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        let Some(version) = context.facts.host.libc.value().and_then(|libc| libc.strip_prefix("glibc ")) else {
            return vec![self.skip("the C library is not glibc")];
        };
        let Some((major, minor)) = version
            .split_once('.')
            .and_then(|(major, minor)| Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?)))
        else {
            return vec![self.skip(format!("`{version}` is no version"))];
        };
        // Source: llama.cpp .github/workflows/release.yml at b11434: ubuntu-24.04 for CUDA.
        if (major, minor) >= (2, 39) {
            return vec![self.pass(version)];
        }
        let judged = context.build_to_run().and_then(|build| build.backend("CUDA"));
        if judged.is_some_and(|backend| backend.state != BackendState::Absent) {
            return vec![self.pass(format!("{version}; the build that is here is judged by its own files"))];
        }
        if !context.card_seen() {
            return vec![self.skip("no NVIDIA card asks for a CUDA build")];
        }
        let summary = format!("glibc {version} is older than the 2.39 that official CUDA builds need");
        let finding = self.warn(summary).seen(format!("glibc {version}"), "the C library");
        vec![if context.container().is_some() {
            finding.remedy(Remedy::advice(
                "Use an image with Ubuntu 24.04 or newer, such as ghcr.io/ggml-org/llama.cpp:server-cuda",
            ))
        } else {
            finding
                .remedy(remedy::official_image())
                .remedy(Remedy::command("Or conda-forge's build", "conda install -c conda-forge llama.cpp"))
                .remedy(Remedy::command(
                    "Or the Vulkan build, which needs 2.35",
                    "llama-doctor install --backend vulkan",
                ))
        }]
    }
}
