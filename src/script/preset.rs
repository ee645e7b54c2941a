//! A preset for llama-server's router mode, and the script that checks and starts the router with it.

use std::fmt::Write as _;

use super::file::ScriptFile;
use super::launch::Launch;
use super::quote::{self, Refused};
use super::{head, sh, why};

/// `NAME.ini` and `NAME-router.sh`, which belongs beside it.
pub fn scripts(launch: &Launch) -> Result<[ScriptFile; 2], Refused> {
    let mut text = String::new();
    for line in head(launch) {
        let _ = writeln!(text, "# {}", quote::comment(&line));
    }
    let name = &launch.name;
    let _ = writeln!(text, "#\n# Started by {name}-router.sh, which checks files and VRAM first.\n\nversion = 1");
    for server in &launch.servers {
        let _ = writeln!(text, "\n# {}\n[{}]", quote::comment(&server.title), server.name);
        for argument in &server.arguments {
            // The router gives each model a port of its own behind its one address.
            if matches!(argument.id.as_str(), "host" | "port" | "api-key-file") {
                continue;
            }
            let flag = argument.flag.trim_start_matches('-');
            let (key, value) = match (&argument.value, flag) {
                (Some(value), key) => (key, quote::preset(value)?),
                (None, "no-kv-unified") => ("kv-unified", "false".to_owned()),
                (None, key) => (key, "true".to_owned()),
            };
            let _ = writeln!(text, "# {}", quote::comment(&why::reason(argument, server, launch)));
            let _ = writeln!(text, "{key} = {value}");
        }
        text.push_str("# the plan holds all of its models at once\nload-on-startup = true\n");
    }
    let preset = ScriptFile {
        name: format!("{name}.ini"),
        text,
        comment: "#",
        crlf: false,
        bom_if_needed: false,
        executable: false,
    };
    Ok([preset, sh::router(launch)?])
}
