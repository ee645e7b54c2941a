//! Asks whether this holds: no compatibility library stands before the driver's.

use super::{Check, Context, Finding, Group, Needs, remedy};

pub(super) struct LibcudaIsTheDrivers;

impl Check for LibcudaIsTheDrivers {
    fn id(&self) -> &'static str {
        "libcuda-is-the-drivers"
    }
    fn title(&self) -> &'static str {
        "No compatibility library stands before the driver's"
    }
    fn explanation(&self) -> &'static str {
        "`cuda-compat` packages hold a newer `libcuda.so.1` for data-centre cards with old drivers. Before a \
         GeForce card, or before a newer driver, it fails with 803 or 804. It gets in front through \
         `LD_LIBRARY_PATH`, the loader's configuration, or an image that contains `/usr/local/cuda/compat`."
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
        if !path.components().any(|part| part.as_os_str() == "compat") {
            return vec![self.pass("the driver's own")];
        }
        let refused = matches!(context.facts.driver_api.value().and_then(|api| api.init), Some(803 | 804));
        let summary = "A CUDA compatibility library stands before the driver's own";
        let finding = if refused { self.fail(summary) } else { self.warn(summary) };
        vec![finding.seen("libcuda.so.1", path.display().to_string()).remedy(remedy::drop_from_library_path("compat"))]
    }
}
