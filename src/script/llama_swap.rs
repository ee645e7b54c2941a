//! A configuration for llama-swap, which starts a model's server when the model is asked for.

use std::fmt::Write as _;

use super::file::ScriptFile;
use super::launch::Launch;
use super::quote::{self, Refused};
use super::{head, why};

/// The file, to be saved as `NAME.llama-swap.yaml`; `scripts` are the absolute paths of each server's own sh script,
/// whose checks run before the server.
pub fn script(launch: &Launch, scripts: &[String]) -> Result<ScriptFile, Refused> {
    let mut text = String::new();
    for line in head(launch) {
        let _ = writeln!(text, "# {}", quote::comment(&line));
    }
    let name = &launch.name;
    let _ = write!(
        text,
        "#
#   llama-swap --config {name}.llama-swap.yaml --listen 127.0.0.1:8080

# Seconds that a model may take to load: a first start may compile kernels.
healthCheckTimeout: 900
models:
"
    );
    for (server, script) in launch.servers.iter().zip(scripts) {
        let _ = writeln!(text, "  {}:", quote::yaml(&server.name));
        let _ = writeln!(text, "    # {}", quote::comment(&server.title));
        for argument in &server.arguments {
            let reason = quote::comment(&why::reason(argument, server, launch));
            let _ = writeln!(text, "    #   {}: {reason}", argument.flag);
        }
        let _ = writeln!(text, "    cmd: |\n      /bin/sh {} --then", quote::llama_swap(script)?);
        let _ = writeln!(text, "      {}", quote::llama_swap(&launch.server)?);
        for argument in &server.arguments {
            let flag = &argument.flag;
            match &argument.value {
                // llama-swap chooses the port, and looks for the server there.
                Some(_) if argument.id == "port" => text.push_str("      --port ${PORT}\n"),
                Some(_) if argument.id == "host" => text.push_str("      --host 127.0.0.1\n"),
                Some(value) => {
                    let _ = writeln!(text, "      {flag} {}", quote::llama_swap(value)?);
                }
                None => {
                    let _ = writeln!(text, "      {flag}");
                }
            }
        }
        text.push_str("    checkEndpoint: /health\n");
    }
    if launch.servers.len() > 1 {
        let members: Vec<String> = launch.servers.iter().map(|server| quote::yaml(&server.name)).collect();
        let _ = write!(
            text,
            "groups:
  planned-together:
    # The plan has room for all of them at once.
    swap: false
    exclusive: true
    members: [{}]
",
            members.join(", ")
        );
    }
    Ok(ScriptFile {
        name: format!("{name}.llama-swap.yaml"),
        text,
        comment: "#",
        crlf: false,
        bom_if_needed: false,
        executable: false,
    })
}
