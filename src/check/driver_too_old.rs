//! Asks whether this holds: the driver is new enough for an official build.

use super::{Check, Context, Finding, Group, Needs, remedy};

pub(super) struct DriverTooOld;

impl Check for DriverTooOld {
    fn id(&self) -> &'static str {
        "driver-too-old"
    }
    fn title(&self) -> &'static str {
        "The driver is new enough for an official build"
    }
    fn explanation(&self) -> &'static str {
        "Every CUDA build of llama.cpp needs a driver for its CUDA major version: 525.60.13 (Windows 527.41) for \
         CUDA 12, 580.65.06 for CUDA 13. An older driver says `CUDA driver version is insufficient for CUDA \
         runtime version` (35), and llama.cpp runs on the processor. A newer driver runs every older build: \
         updating never breaks one."
    }
    fn group(&self) -> Group {
        Group::Driver
    }
    fn needs(&self) -> Needs {
        Needs::Driver
    }
    fn breaks_driver(&self) -> bool {
        true
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        let Some(cuda) = context
            .facts
            .driver
            .cuda
            .value()
            .copied()
            .or_else(|| context.facts.driver_api.value().and_then(|api| api.cuda))
        else {
            return vec![self.skip("the driver does not say which CUDA it runs")];
        };
        let version = context
            .facts
            .driver
            .version
            .value()
            .map_or_else(|| "The driver".to_owned(), |version| format!("Driver {version}"));
        let build = context.build_to_run();
        let needed = build.and_then(|build| build.backend("CUDA")?.runtime_major);
        if let (Some(build), Some(major)) = (build, needed.filter(|major| cuda.major < *major)) {
            let finding = self
                .fail(format!("{version} runs CUDA up to {cuda}, and {} needs CUDA {major}", Context::name_of(build)))
                .seen(format!("linked with CUDA {major}"), build.path.display().to_string());
            let newer = remedy::update_driver(*context);
            return vec![if cuda.major >= 12 {
                finding.remedy(remedy::take_cuda_12()).remedies(remedy::or(newer))
            } else {
                finding.remedies(newer)
            }];
        }
        if cuda.major < 12 {
            return vec![
                self.fail(format!("{version} runs CUDA up to {cuda}: every official build needs CUDA 12 or newer"))
                    .seen(format!("CUDA {cuda}"), "NVML")
                    .remedies(remedy::update_driver(*context)),
            ];
        }
        vec![self.pass(format!("{version} runs CUDA up to {cuda}"))]
    }
}
