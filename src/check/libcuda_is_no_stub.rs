//! Asks whether this holds: the driver's CUDA library is the real one.

use super::{Check, Context, Finding, Group, Needs, remedy};

pub(super) struct LibcudaIsNoStub;

impl Check for LibcudaIsNoStub {
    fn id(&self) -> &'static str {
        "libcuda-is-no-stub"
    }
    fn title(&self) -> &'static str {
        "The driver's CUDA library is the real one"
    }
    fn explanation(&self) -> &'static str {
        "The CUDA toolkit ships an empty `libcuda.so` under `stubs/`, only for linking programs. With that folder \
         in `LD_LIBRARY_PATH`, programs load it instead of the driver's: CUDA says `CUDA driver is a stub \
         library` (34) or finds no device."
    }
    fn group(&self) -> Group {
        Group::Driver
    }
    fn needs(&self) -> Needs {
        Needs::Card
    }
    fn breaks_driver(&self) -> bool {
        true
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        let Some(path) = context.facts.user_driver.libcuda.value() else {
            return vec![self.skip("no libcuda was found")];
        };
        let stub = path.components().any(|part| part.as_os_str() == "stubs");
        if !stub && context.facts.driver_api.value().and_then(|api| api.init) != Some(34) {
            return vec![self.pass("not the toolkit's stand-in")];
        }
        vec![
            self.fail("Programs load the CUDA toolkit's empty stand-in instead of the driver")
                .seen("libcuda.so.1", path.display().to_string())
                .seen(
                    format!("LD_LIBRARY_PATH={}", context.variable("LD_LIBRARY_PATH").unwrap_or_default()),
                    "environment",
                )
                .remedy(remedy::drop_from_library_path("stubs")),
        ]
    }
}
