//! The formats that `launch --format` knows, and the files that each needs.

use std::path::Path;

use clap::ValueEnum;

use super::file::ScriptFile;
use super::launch::Launch;
use super::quote::Refused;
use super::{cmd, compose, llama_swap, powershell, preset, sh, systemd};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Format {
    /// POSIX shell script
    Sh,
    /// PowerShell script
    Ps1,
    /// Windows batch script; of several servers with the PowerShell script that it runs
    Cmd,
    /// systemd user unit, with the sh script that it runs
    Systemd,
    /// Docker Compose file on the official image
    Compose,
    /// Preset for llama-server's router mode, with its start script
    Preset,
    /// llama-swap configuration, with the sh scripts that it runs
    LlamaSwap,
}

impl Format {
    /// What a person on this system starts by hand.
    pub fn native() -> Vec<Self> {
        if cfg!(windows) { vec![Self::Ps1, Self::Cmd] } else { vec![Self::Sh] }
    }
}

/// The files of all formats asked for, each once; `folder` is where they will lie, as an absolute path.
pub fn files(launch: &Launch, formats: &[Format], folder: &Path) -> Result<Vec<ScriptFile>, Refused> {
    let mut files: Vec<ScriptFile> = Vec::new();
    let mut add = |new: Vec<ScriptFile>| {
        for file in new {
            if !files.iter().any(|known| known.name == file.name) {
                files.push(file);
            }
        }
    };
    for format in formats {
        match format {
            Format::Sh => add(vec![sh::script(launch)?]),
            Format::Ps1 => add(vec![powershell::script(launch)?]),
            Format::Cmd => {
                add(vec![cmd::script(launch)?]);
                if launch.servers.len() > 1 {
                    add(vec![powershell::script(launch)?]);
                }
            }
            Format::Systemd => {
                let script = sh::script(launch)?;
                let path = absolute(folder, &script.name)?;
                add(vec![script, systemd::script(launch, &path)?]);
            }
            Format::Compose => add(vec![compose::script(launch)?]),
            Format::Preset => add(preset::scripts(launch)?.into()),
            Format::LlamaSwap => {
                let each = (0..launch.servers.len()).map(|index| sh::script(&launch.only(index)));
                let each = each.collect::<Result<Vec<_>, _>>()?;
                let paths = each.iter().map(|script| absolute(folder, &script.name)).collect::<Result<Vec<_>, _>>()?;
                add(each);
                add(vec![llama_swap::script(launch, &paths)?]);
            }
        }
    }
    Ok(files)
}

fn absolute(folder: &Path, name: &str) -> Result<String, Refused> {
    let path = folder.join(name);
    path.to_str().map(str::to_owned).ok_or_else(|| Refused {
        word: path.to_string_lossy().into_owned(),
        dialect: "a launch script",
        reason: "the folder's name is not Unicode",
    })
}
