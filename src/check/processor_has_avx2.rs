//! Asks whether this holds: the processor has AVX2.

use super::{Check, Context, Finding, Group, Remedy};

pub(super) struct ProcessorHasAvx2;

impl Check for ProcessorHasAvx2 {
    fn id(&self) -> &'static str {
        "processor-has-avx2"
    }
    fn title(&self) -> &'static str {
        "The processor has AVX2"
    }
    fn explanation(&self) -> &'static str {
        "Python wheels and self-built llama.cpp are often compiled for AVX2 and end with `Illegal instruction` \
         (Windows 0xC000001D) on processors without it. Official builds choose among variants and run, slowly. \
         Virtual machines can hide AVX2 that the real processor has."
    }
    fn group(&self) -> Group {
        Group::System
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        if context.facts.host.architecture != "x86_64" {
            return vec![self.skip("not an x86-64 processor")];
        }
        let Some(features) = context.facts.host.cpu_features.value() else {
            return vec![self.skip("the processor's features are not known")];
        };
        if features.iter().any(|feature| feature == "avx2") {
            return vec![self.pass("AVX2")];
        }
        vec![
            self.warn("The processor has no AVX2: wheels and builds made for it end with `Illegal instruction`")
                .seen(features.join(" "), "processor flags")
                .remedy(Remedy::command("Official builds choose code that fits", "llama-doctor install")),
        ]
    }
}
