//! Asks whether this holds: no more threads are asked for than the processor has cores.

use super::{Check, Context, Finding, Group, remedy};

pub(super) struct ThreadsFitProcessor;

impl Check for ThreadsFitProcessor {
    fn id(&self) -> &'static str {
        "threads-fit-processor"
    }
    fn title(&self) -> &'static str {
        "No more threads are asked for than the processor has cores"
    }
    fn explanation(&self) -> &'static str {
        "llama.cpp computes with one thread for each physical core, and leaves the efficiency cores of hybrid processors \
         out. `LLAMA_ARG_THREADS` overrules that: more threads than cores wait for each other. In a container \
         llama.cpp counts the cores of the whole machine and not those that it may use, which matters where no GPU \
         does the work."
    }
    fn group(&self) -> Group {
        Group::Performance
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        let host = &context.facts.host;
        let Some(cores) = host.physical_cores.value().copied() else {
            return vec![self.skip("the processor's cores are not known")];
        };
        let asked = context.variable("LLAMA_ARG_THREADS").and_then(|value| value.trim().parse::<i64>().ok());
        if let Some(asked) = asked.filter(|asked| *asked > 0) {
            if asked <= i64::from(cores) {
                return vec![self.pass(format!("{asked} of {cores}"))];
            }
            return vec![
                self.warn(format!("LLAMA_ARG_THREADS asks for {asked} threads, and the processor has {cores} cores"))
                    .seen(format!("LLAMA_ARG_THREADS={asked}"), "environment")
                    .remedy(remedy::unset(*context, "LLAMA_ARG_THREADS")),
            ];
        }
        let allowed = host.cgroup_cpu_limit.value().copied().filter(|_| context.visible_gpus().next().is_none());
        match allowed.filter(|allowed| *allowed < f64::from(cores) / 2.0) {
            None => vec![self.pass(format!("{cores} cores"))],
            Some(allowed) => {
                let threads = (allowed.floor() as u64).max(1);
                vec![
                    self.warn(format!(
                        "llama.cpp would start {cores} threads, and this container may use {allowed} processors"
                    ))
                    .seen(format!("{allowed} processors"), "the control group")
                    .remedy(remedy::set(
                        *context,
                        "Start as many as may run",
                        "LLAMA_ARG_THREADS",
                        &threads.to_string(),
                    )),
                ]
            }
        }
    }
}
