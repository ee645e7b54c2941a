//! Asks whether this holds: the Python wheel has CUDA in it.

use super::over_builds::over_builds;
use super::{Check, Context, Finding, Group, Needs, Remedy};
use crate::build::BuildKind;

pub(super) struct WheelHasCuda;

impl Check for WheelHasCuda {
    fn id(&self) -> &'static str {
        "wheel-has-cuda"
    }
    fn title(&self) -> &'static str {
        "The Python wheel has CUDA in it"
    }
    fn explanation(&self) -> &'static str {
        "`pip install llama-cpp-python` compiles a build for the processor unless it is told otherwise, and keeps \
         that wheel in pip's cache. `pip` also prefers a newer source package to an older CUDA wheel. Such an \
         installation reports `llama_supports_gpu_offload() == False`, puts every layer on the CPU and looks \
         healthy. The proof is the file `libggml-cuda.so` in it, and the CUDA code in that file."
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
            if build.kind != BuildKind::PythonWheel || !build.lacks_cuda() {
                return Vec::new();
            }
            let setting =
                if context.on_windows() { "$env:CMAKE_ARGS='-DGGML_CUDA=on';" } else { "CMAKE_ARGS='-DGGML_CUDA=on'" };
            let from_source = format!(
                "{setting} pip install --force-reinstall --no-cache-dir --no-binary llama-cpp-python llama-cpp-python"
            );
            vec![
                self.fail("The Python wheel of llama.cpp was built without CUDA")
                    .seen("no CUDA backend", build.path.display().to_string())
                    .remedy(Remedy::command("Compile it with CUDA, past pip's cache", from_source))
                    .remedy(Remedy::command("Or use an official build", "llama-doctor install")),
            ]
        })
    }
}
