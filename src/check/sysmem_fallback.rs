//! Asks whether this holds: gPU memory does not overflow into RAM.

use super::{Check, Context, Finding, Group, Needs, Remedy};

pub(super) struct SysmemFallback;

/// Where a person finds the setting. No program can read it.
const SETTING: &str = "NVIDIA Control Panel > Manage 3D settings > CUDA - Sysmem Fallback Policy";

impl Check for SysmemFallback {
    fn id(&self) -> &'static str {
        "sysmem-fallback"
    }
    fn title(&self) -> &'static str {
        "GPU memory does not overflow into RAM"
    }
    fn explanation(&self) -> &'static str {
        "On Windows the driver moves GPU memory to RAM when the card is full, instead of failing: llama.cpp then \
         runs ten times slower without a word. NVIDIA's setting `CUDA - Sysmem Fallback Policy` cannot be read by \
         programs. Set it to `Prefer No Sysmem Fallback`, and keep a twentieth of the card free."
    }
    fn group(&self) -> Group {
        Group::Memory
    }
    fn needs(&self) -> Needs {
        Needs::Driver
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        if !context.on_windows() {
            return vec![self.skip("a matter of Windows")];
        }
        let tight = context.visible_gpus().find(|gpu| gpu.total.0 > 0 && gpu.free.0 < gpu.total.0 / 20);
        match tight {
            Some(gpu) => vec![
                self.warn(format!("{} is nearly full: Windows will move GPU memory to RAM, slowly and unseen", gpu.id))
                    .seen(format!("{} of {} free", gpu.free, gpu.total), "NVML")
                    .remedy(Remedy::advice(format!("{SETTING} > Prefer No Sysmem Fallback"))),
            ],
            None => vec![self.skip(format!("programs cannot read it: {SETTING}"))],
        }
    }
}
