//! Asks whether this holds: compiled GPU code is kept.

use super::{Check, Context, Finding, Group, Needs, remedy};
use crate::host::facts::Fact;

pub(super) struct JitCacheUsable;

impl Check for JitCacheUsable {
    fn id(&self) -> &'static str {
        "jit-cache-usable"
    }
    fn title(&self) -> &'static str {
        "Compiled GPU code is kept"
    }
    fn explanation(&self) -> &'static str {
        "The driver keeps what it compiled from PTX in `~/.nv/ComputeCache` (Windows: \
         `%APPDATA%\\\\NVIDIA\\\\ComputeCache`), 1 GiB at most by default. When the folder cannot be written, in \
         services without a home, or when `CUDA_CACHE_MAXSIZE` is small, every start compiles again: minutes of \
         work for the processor while the GPU idles."
    }
    fn group(&self) -> Group {
        Group::Storage
    }
    fn needs(&self) -> Needs {
        Needs::Driver
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        let cache = match &context.facts.jit_cache {
            Fact::Known { value, .. } => value,
            Fact::Unknown { unknown } => return vec![self.skip(unknown.clone())],
        };
        let path = cache.path.display();
        if !cache.writable {
            return vec![
                self.warn(format!("The driver cannot keep compiled GPU code: `{path}` cannot be written")).remedy(
                    remedy::set(
                        *context,
                        "Give it another folder",
                        "CUDA_CACHE_PATH",
                        if context.on_windows() { "D:\\ComputeCache" } else { "/var/tmp/ComputeCache" },
                    ),
                ),
            ];
        }
        // llama.cpp's kernels compile to some hundred megabytes.
        if let Some(size) = cache.max_size.filter(|size| size.mib() < 512.0) {
            return vec![
                self.warn(format!(
                    "CUDA_CACHE_MAXSIZE lets the driver keep only {size} of compiled GPU code, less than llama.cpp's"
                ))
                .remedy(remedy::set(*context, "Allow 4 GiB", "CUDA_CACHE_MAXSIZE", "4294967296")),
            ];
        }
        vec![self.pass(path.to_string())]
    }
}
