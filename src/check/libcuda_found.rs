//! Asks whether this holds: programs find the driver's CUDA library.

use super::{Check, Context, Finding, Group, Needs, Remedy, remedy};
use crate::host::facts::Fact;

pub(super) struct LibcudaFound;

impl Check for LibcudaFound {
    fn id(&self) -> &'static str {
        "libcuda-found"
    }
    fn title(&self) -> &'static str {
        "Programs find the driver's CUDA library"
    }
    fn explanation(&self) -> &'static str {
        "CUDA programs ask the loader for `libcuda.so.1` (Windows: `nvcuda.dll`), which belongs to the driver and \
         not to the CUDA toolkit. When it is missing, llama.cpp's CUDA backend does not load, and release builds \
         do not say so. `nvidia-smi` does not need it: on Debian and Ubuntu it is a package of its own."
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
        match &context.facts.user_driver.libcuda {
            Fact::Known { value, .. } => vec![self.pass(value.display().to_string())],
            Fact::Unknown { unknown } if unknown == "not looked at" => vec![self.skip("not looked at")],
            Fact::Unknown { unknown } => {
                let name = if context.on_windows() { "nvcuda.dll" } else { "libcuda.so.1" };
                let finding = self
                    .fail(format!("The driver's CUDA library `{name}` is not found"))
                    .seen(unknown.clone(), "the loader");
                if let Some(copy) = context.facts.user_driver.other_libcuda.first() {
                    let folder = copy.parent().unwrap_or(copy).display().to_string();
                    return vec![
                        finding.seen("a copy lies outside the loader's folders", copy.display().to_string()).remedy(
                            Remedy::command(
                                "Show the loader the folder",
                                format!("export LD_LIBRARY_PATH={folder}:$LD_LIBRARY_PATH"),
                            ),
                        ),
                    ];
                }
                vec![finding.remedies(remedy::compute_libraries(*context))]
            }
        }
    }
}
