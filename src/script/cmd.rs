//! cmd.exe's batch language.

use std::fmt::Write as _;

use super::file::ScriptFile;
use super::launch::Launch;
use super::quote::{self, Refused};
use super::{head, why};

/// The script, to be saved as `NAME.cmd`.
pub fn script(launch: &Launch) -> Result<ScriptFile, Refused> {
    // Delayed expansion off: `!` in a name is a character. UTF-8: names beyond ASCII.
    let mut text = String::from("@echo off\nsetlocal DisableDelayedExpansion EnableExtensions\nchcp 65001 >nul\n");
    for line in head(launch) {
        let _ = writeln!(text, "rem {}", quote::cmd_comment(&line));
    }
    let name = quote::cmd_comment(&launch.name);
    let _ = write!(
        text,
        "rem
rem   {name}.cmd                 start; Ctrl-C stops
rem   {name}.cmd --strict-vram   refuse rather than start with a smaller context
rem   {name}.cmd --no-check      start without looking at files and VRAM
rem Other arguments go to llama-server behind ours, so that they win.

set server={}
set strict=no
set check=yes
set extra=
:options
if \"%~1\"==\"\" goto options_done
if /i \"%~1\"==\"--strict-vram\" (set strict=yes& shift& goto options)
if /i \"%~1\"==\"--no-check\" (set check=no& shift& goto options)
set extra=%extra% %1
shift
goto options
:options_done

",
        quote::cmd(&launch.server)?
    );
    for (index, context) in launch.rungs[0].contexts.iter().enumerate() {
        let _ = writeln!(text, "set context_{}={context}", index + 1);
    }
    text.push_str("if %check%==no goto start\n\n");
    text.push_str(&checks(launch)?);
    text.push_str("\n:start\n");
    for (index, server) in launch.servers.iter().enumerate() {
        let number = index + 1;
        let _ = writeln!(text, "rem {}\nset args_{number}=", quote::cmd_comment(&server.title));
        for argument in &server.arguments {
            let _ = writeln!(text, "rem   {}", quote::cmd_comment(&why::reason(argument, server, launch)));
            let value = match &argument.value {
                Some(_) if argument.id == "context" => format!(" %context_{number}%"),
                Some(value) => format!(" {}", bare_or_quoted(value)?),
                None => String::new(),
            };
            let _ = writeln!(text, "set args_{number}=%args_{number}% {}{value}", bare_or_quoted(&argument.flag)?);
        }
    }
    if launch.servers.len() > 1 {
        // Windows of their own: cmd can neither wait for two programs nor stop one when the other ends.
        for (index, server) in launch.servers.iter().enumerate().skip(1) {
            let number = index + 1;
            let title = quote::cmd_comment(&server.name);
            let _ = writeln!(text, "start \"{title}\" %server% %args_{number}%%extra%");
        }
    }
    text.push_str("%server% %args_1%%extra%\nset code=%errorlevel%\n");
    for server in launch.servers.iter().skip(1) {
        let title = quote::cmd_comment(&server.name);
        let _ = writeln!(text, "taskkill /fi \"windowtitle eq {title}\" /t /f >nul 2>nul");
    }
    text.push_str("exit /b %code%\n");
    Ok(ScriptFile {
        name: format!("{}.cmd", launch.name),
        text,
        comment: "rem",
        crlf: true,
        bom_if_needed: false,
        executable: false,
    })
}

/// Quotes only what needs them, so that a flag reads as a flag.
fn bare_or_quoted(word: &str) -> Result<String, Refused> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:\\+@".contains(c);
    if !word.is_empty() && word.chars().all(plain) { Ok(word.to_owned()) } else { quote::cmd(word) }
}

fn checks(launch: &Launch) -> Result<String, Refused> {
    let mut text = String::from(
        "where %server% >nul 2>nul
if errorlevel 1 if not exist %server% (
    >&2 echo llama-doctor: the program %server% is missing: llama-doctor install
    exit /b 3
)
",
    );
    for file in launch.servers.iter().flat_map(|server| &server.files) {
        let path = quote::cmd(&file.path)?;
        let _ = write!(
            text,
            "set file={path}
if not exist %file% (
    >&2 echo llama-doctor: the model file %file% is missing; fetch it with llama-doctor pull
    exit /b 3
)
"
        );
        if let Some(bytes) = file.bytes {
            // As text: cmd's numbers have 32 bits.
            let _ = write!(
                text,
                "for %%f in (%file%) do set size=%%~zf
if not \"%size%\"==\"{bytes}\" (
    >&2 echo llama-doctor: %file% has %size% bytes, and {bytes} were planned for: another file, or a broken download
    exit /b 5
)
",
                bytes = bytes.0
            );
        }
    }
    text.push_str(
        "rem What would change llama-server's defaults behind the plan's back.
set LLAMA_ARG_ >nul 2>nul && >&2 echo llama-doctor: variables named LLAMA_ARG_... change llama-server's defaults
if exist \"%PROGRAMDATA%\\llama.cpp\\config.ini\" >&2 echo llama-doctor: %PROGRAMDATA%\\llama.cpp\\config.ini changes llama-server's defaults
if exist \"%APPDATA%\\llama.cpp\\config.ini\" >&2 echo llama-doctor: %APPDATA%\\llama.cpp\\config.ini changes llama-server's defaults
",
    );
    if !launch.gpus.is_empty() {
        text.push_str(&ladder(launch)?);
    }
    Ok(text)
}

fn ladder(launch: &Launch) -> Result<String, Refused> {
    let mut text = String::from("\nrem The largest planned context whose VRAM is free now.\n");
    for (index, gpu) in launch.gpus.iter().enumerate() {
        let id = quote::cmd(&gpu.smi_id)?;
        let id = id.trim_matches('"');
        let _ = write!(
            text,
            "rem {}, {}
set free_{index}=
for /f \"delims= \" %%v in ('nvidia-smi \"--id=%%ID%%\" --query-gpu^=memory.free --format^=csv^,noheader^,nounits 2^>nul') do set free_{index}=%%v
set known=
for /f \"delims=0123456789\" %%v in (\"%free_{index}%\") do set known=no
if not defined free_{index} set known=no
if defined known (
    >&2 echo llama-doctor: free VRAM of {} is not known here; starting as planned
    goto start
)
",
            gpu.id,
            quote::cmd_comment(&gpu.name),
            gpu.id
        );
        text = text.replace("%%ID%%", id);
    }
    for (step, rung) in launch.rungs.iter().enumerate() {
        let tests = rung.needs_mib.iter().enumerate().map(|(gpu, need)| format!("if %free_{gpu}% geq {need} "));
        let tests = tests.collect::<Vec<_>>().concat();
        let sets = rung.contexts.iter().enumerate();
        let sets = sets.map(|(index, context)| format!("set context_{}={context}& ", index + 1));
        let sets = sets.collect::<Vec<_>>().concat();
        let target = if step == 0 { "start" } else { "stepped" };
        let _ = writeln!(text, "{tests}({sets}goto {target})");
    }
    let need = &launch.rungs[0].needs_mib;
    let amounts = launch
        .gpus
        .iter()
        .enumerate()
        .map(|(index, gpu)| format!("{} has %free_{index}% MiB free and {} are planned for", gpu.id, need[index]));
    let amounts = amounts.collect::<Vec<_>>().join("; ");
    let contexts = (1..=launch.servers.len()).map(|number| format!("%context_{number}%")).collect::<Vec<_>>();
    let _ = write!(
        text,
        ">&2 echo llama-doctor: too little VRAM: {amounts}
>&2 echo llama-doctor: no planned context fits: close other programs on the GPU, or plan again with llama-doctor launch
exit /b 3
:stepped
>&2 echo llama-doctor: VRAM is short: {amounts}
if %strict%==yes (
    >&2 echo llama-doctor: refusing, as --strict-vram asks
    exit /b 3
)
>&2 echo llama-doctor: starting with a smaller context: {} tokens
",
        contexts.join(" and ")
    );
    Ok(text)
}
