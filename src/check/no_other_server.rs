//! Asks whether this holds: no other model server holds GPU memory.

use super::{Check, Context, Finding, Group, Needs, remedy, vram_available};

pub(super) struct NoOtherServer;

impl Check for NoOtherServer {
    fn id(&self) -> &'static str {
        "no-other-server"
    }
    fn title(&self) -> &'static str {
        "No other model server holds GPU memory"
    }
    fn explanation(&self) -> &'static str {
        "Ollama, LM Studio, vLLM or an earlier `llama-server` keep their models on the card while they run, also \
         when idle. Two servers share a card only when both fit."
    }
    fn group(&self) -> Group {
        Group::Memory
    }
    fn needs(&self) -> Needs {
        Needs::Driver
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        let servers =
            ["ollama", "lm studio", "lmstudio", "lms", "llama-server", "koboldcpp", "vllm", "tabby", "text-generation"];
        let found = context.visible_gpus().find_map(|gpu| {
            let processes = gpu.processes.value()?;
            let process = processes
                .iter()
                .find(|process| servers.iter().any(|name| process.name.to_lowercase().starts_with(name)))?;
            Some((gpu, process))
        });
        let Some((gpu, process)) = found else {
            let known = context.visible_gpus().any(|gpu| gpu.processes.value().is_some());
            return vec![if known { self.pass("none") } else { self.skip("the driver does not list processes") }];
        };
        if vram_available::crowded(gpu) {
            return vec![self.skip("moot: see `vram-available`")];
        }
        let held = process.used.map_or_else(String::new, |used| format!(" and holds {used}"));
        vec![
            self.warn(format!("{} runs on {}{held}", process.name, gpu.id))
                .seen(process.name.clone(), format!("process {}", process.pid))
                .remedy(remedy::end(*context, process)),
        ]
    }
}
