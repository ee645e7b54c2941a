//! Asks whether this holds: the container still has its GPU.

use super::{Check, Context, Finding, Group, Needs, Remedy};

pub(super) struct ContainerKeptGpu;

impl Check for ContainerKeptGpu {
    fn id(&self) -> &'static str {
        "container-kept-gpu"
    }
    fn title(&self) -> &'static str {
        "The container still has its GPU"
    }
    fn explanation(&self) -> &'static str {
        "A container that was started with a GPU can lose it while it runs: `systemctl daemon-reload` on the host \
         rewrites the device rules of its control group. NVML then answers 17 or 999, and CUDA fails. Restarting \
         the container helps until the next reload."
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
        if context.container().is_none() {
            return vec![self.skip("not in a container")];
        }
        if !matches!(context.facts.driver.nvml_code, Some(17 | 999)) {
            return vec![self.pass("the driver answers, or fails for another reason")];
        }
        vec![
            self.fail("The container has lost its GPU: the host's rules no longer let it through")
                .seen(format!("NVML {}", context.facts.driver.nvml_code.unwrap_or_default()), "NVML")
                .remedy(Remedy::advice("Restart the container"))
                .remedy(Remedy::command(
                    "So that it does not come again, on the host",
                    "sudo nvidia-ctk system create-dev-char-symlinks --create-all",
                )),
        ]
    }
}
