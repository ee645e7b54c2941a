//! Asks whether this holds: llama-server's port 8080 is free.

use super::{Check, Context, Finding, Group, Remedy};
use crate::host::facts::Fact;

pub(super) struct PortFree;

impl Check for PortFree {
    fn id(&self) -> &'static str {
        "port-free"
    }
    fn title(&self) -> &'static str {
        "llama-server's port 8080 is free"
    }
    fn explanation(&self) -> &'static str {
        "llama-server listens on 127.0.0.1:8080 by default. When another program has the port, it ends with \
         `couldn't bind HTTP server socket`. On Windows, Hyper-V and WSL reserve whole ranges of ports (`netsh \
         int ipv4 show excludedportrange tcp`)."
    }
    fn group(&self) -> Group {
        Group::System
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        match &context.facts.default_port_free {
            Fact::Unknown { unknown } => vec![self.skip(unknown.clone())],
            Fact::Known { value: true, .. } => vec![self.pass("free")],
            Fact::Known { value: false, .. } => {
                let who = if context.on_windows() {
                    "Get-NetTCPConnection -LocalPort 8080"
                } else {
                    "ss -ltnp 'sport = :8080'"
                };
                vec![
                    self.warn("Port 8080 is taken: llama-server needs another one")
                        .remedy(Remedy::command("See who has it", who))
                        .remedy(Remedy::command("Or choose another", "llama-server --port 8081 ...")),
                ]
            }
        }
    }
}
