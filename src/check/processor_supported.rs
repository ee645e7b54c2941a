//! Asks whether this holds: official builds exist for this processor.

use super::{Check, Context, Finding, Group, Remedy};

pub(super) struct ProcessorSupported;

impl Check for ProcessorSupported {
    fn id(&self) -> &'static str {
        "processor-supported"
    }
    fn title(&self) -> &'static str {
        "Official builds exist for this processor"
    }
    fn explanation(&self) -> &'static str {
        "llama.cpp's official builds are for x86-64 and 64-bit ARM. A program for another processor says `Exec \
         format error`, or on Windows `not a valid Win32 application`."
    }
    fn group(&self) -> Group {
        Group::System
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        match context.facts.host.architecture.as_str() {
            "x86_64" | "aarch64" => vec![self.pass(context.facts.host.architecture.clone())],
            other => {
                vec![self.fail(format!("There are no official builds for {other}")).remedy(Remedy::command(
                    "Build it here",
                    "cmake -B build -DGGML_CUDA=ON && cmake --build build -j",
                ))]
            }
        }
    }
}
