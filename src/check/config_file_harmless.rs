//! Asks whether this holds: llama.cpp's configuration file keeps nothing off the GPU.

use super::{Check, Context, Finding, Group, Remedy};

pub(super) struct ConfigFileHarmless;

impl Check for ConfigFileHarmless {
    fn id(&self) -> &'static str {
        "config-file-harmless"
    }
    fn title(&self) -> &'static str {
        "llama.cpp's configuration file keeps nothing off the GPU"
    }
    fn explanation(&self) -> &'static str {
        "llama.cpp reads `/etc/llama.cpp/config.ini` and the user's own before variables and command line. A \
         forgotten `n-gpu-layers = 0` or `device = none` there changes every start."
    }
    fn group(&self) -> Group {
        Group::Environment
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        let files = &context.facts.llama_config;
        if files.is_empty() {
            return vec![self.skip("no configuration file of llama.cpp's")];
        }
        let harmful = |line: &str| {
            let squeezed: String = line.chars().filter(|c| !c.is_whitespace()).collect();
            ["n-gpu-layers=0", "gpu-layers=0", "ngl=0", "device=none"].contains(&squeezed.as_str())
        };
        let found =
            files.iter().find_map(|(file, lines)| lines.iter().find(|line| harmful(line)).map(|line| (file, line)));
        match found {
            None => vec![self.pass(files.keys().cloned().collect::<Vec<_>>().join(", "))],
            Some((file, line)) => vec![
                self.warn("llama.cpp's configuration file keeps models off the GPU")
                    .seen(line.clone(), file.clone())
                    .remedy(Remedy::advice(format!("Take the line out of `{file}`"))),
            ],
        }
    }
}
