//! A systemd user unit. It runs the launch's sh script with `--then`, so that the checks and the ladder are the script's and
//! the flags are the unit's own, readable and editable.

use std::fmt::Write as _;

use super::file::ScriptFile;
use super::launch::Launch;
use super::quote::{self, Refused};
use super::{head, why};

/// The unit, to be saved as `NAME.service`; `script` is the absolute path of the launch's sh script.
pub fn script(launch: &Launch, script: &str) -> Result<ScriptFile, Refused> {
    let mut text = String::new();
    for line in head(launch) {
        let _ = writeln!(text, "# {}", quote::comment(&line));
    }
    let name = &launch.name;
    let _ = write!(
        text,
        "#
#   cp {name}.service ~/.config/systemd/user/
#   systemctl --user daemon-reload && systemctl --user enable --now {name}
#   journalctl --user -u {name} -f
# To start it at boot without a login: loginctl enable-linger

[Unit]
Description={}
StartLimitIntervalSec=300
StartLimitBurst=5

[Service]
Type=exec
",
        quote::comment(&launch.title).replace('%', "%%")
    );
    if let [server] = launch.servers.as_slice() {
        let _ = writeln!(text, "ExecStart=/bin/sh {} --then \\", quote::systemd(script)?);
        let _ = write!(text, "    {}", quote::systemd(&launch.server)?);
        for argument in &server.arguments {
            // A comment between continued lines is skipped (systemd.syntax(7)).
            let reason = quote::comment(&why::reason(argument, server, launch));
            let _ = write!(text, " \\\n    # {reason}\n    {}", argument.flag);
            if let Some(value) = &argument.value {
                let _ = write!(text, " {}", quote::systemd(value)?);
            }
        }
        text.push('\n');
    } else {
        // The script starts all servers, waits until they are ready and stops them together.
        let _ = writeln!(text, "ExecStart=/bin/sh {}", quote::systemd(script)?);
    }
    text.push_str(
        "Restart=on-failure
RestartSec=5
# What a restart does not mend: a wrong flag, a missing file, too little VRAM, a broken model.
RestartPreventExitStatus=2 3 5
TimeoutStopSec=30

[Install]
WantedBy=default.target
",
    );
    Ok(ScriptFile {
        name: format!("{name}.service"),
        text,
        comment: "#",
        crlf: false,
        bom_if_needed: false,
        executable: false,
    })
}
