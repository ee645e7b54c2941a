//! cmd.exe's batch language.

use std::fmt::Write as _;

use super::file::ScriptFile;
use super::launch::Launch;
use super::quote::{self, Refused};
use super::{head, why};

/// The script, to be saved as `NAME.cmd`. Of several servers it needs `NAME.ps1` beside it.
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

"
    );
    text.push_str(&if launch.servers.len() == 1 { one(launch)? } else { several(&name) });
    Ok(ScriptFile {
        name: format!("{}.cmd", launch.name),
        text,
        comment: "rem",
        crlf: true,
        bom_if_needed: false,
        executable: false,
    })
}

/// cmd can neither wait for two programs, nor say which of them ended, nor stop the other: PowerShell does.
fn several(name: &str) -> String {
    format!(
        "rem cmd can neither wait for two servers nor stop one when the other ends. PowerShell can: {name}.ps1 does the work.
set script=\"%~dp0{name}.ps1\"
if not exist %script% (
    >&2 echo llama-doctor: %script% is missing, and it starts the servers: write it with llama-doctor launch --format cmd
    exit /b 3
)
set words=
:options
if \"%~1\"==\"\" goto options_done
if /i \"%~1\"==\"--strict-vram\" (set words=%words% -StrictVram& shift& goto options)
if /i \"%~1\"==\"--no-check\" (set words=%words% -NoCheck& shift& goto options)
set words=%words% %1
shift
goto options
:options_done
powershell -NoLogo -NoProfile -ExecutionPolicy Bypass -File %script%%words%
exit /b %errorlevel%
"
    )
}

fn one(launch: &Launch) -> Result<String, Refused> {
    let server = &launch.servers[0];
    let mut text = format!(
        "set strict=no
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

set context={}
if %check%==no goto start

",
        launch.rungs[0].contexts[0]
    );
    text.push_str(&checks(launch)?);
    let _ = writeln!(text, "\n:start\nrem {}", quote::cmd_comment(&server.title));
    // One line, and no variable but those of numbers: a `%` in a name is safe only where it is read once.
    let mut command = quote::cmd(&launch.server)?;
    for argument in &server.arguments {
        let reason = format!("{}: {}", argument.flag, why::reason(argument, server, launch));
        let _ = writeln!(text, "rem   {}", quote::cmd_comment(&reason));
        let _ = write!(command, " {}", bare_or_quoted(&argument.flag)?);
        match &argument.value {
            Some(_) if argument.id == "context" => command.push_str(" %context%"),
            Some(value) => {
                let _ = write!(command, " {}", bare_or_quoted(value)?);
            }
            None => {}
        }
    }
    if command.encode_utf16().count() > LONGEST_LINE {
        let reason = "cmd reads no line of more than 8191 characters; the PowerShell script does";
        return Err(Refused { word: command, dialect: "a cmd script", reason });
    }
    let _ = writeln!(text, "{command}%extra%\nexit /b %errorlevel%");
    Ok(text)
}

/// Less room for what is given to the script.
/// Source: <https://learn.microsoft.com/troubleshoot/windows-client/shell-experience/command-line-string-limitation>
const LONGEST_LINE: usize = 8191 - 1024;

/// Quotes only what needs them, so that a flag reads as a flag.
fn bare_or_quoted(word: &str) -> Result<String, Refused> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:\\+@".contains(c);
    if !word.is_empty() && word.chars().all(plain) { Ok(word.to_owned()) } else { quote::cmd(word) }
}

/// `MAX_PATH` less the closing NUL: cmd finds no file whose path is longer.
const LONGEST_PATH: usize = 259;

fn short_enough(path: &str) -> Result<String, Refused> {
    if path.encode_utf16().count() > LONGEST_PATH {
        let reason = "cmd finds no file whose path is longer than 259 characters; the PowerShell script does";
        return Err(Refused { word: path.to_owned(), dialect: "a cmd script", reason });
    }
    quote::cmd(path)
}

/// Jumps instead of blocks in parentheses: a name may hold some.
fn checks(launch: &Launch) -> Result<String, Refused> {
    let program = quote::cmd(&launch.server)?;
    let mut text = format!(
        "if exist {program} goto program_is_here
where {program} >nul 2>nul && goto program_is_here
>&2 echo llama-doctor: the program {program} is missing: llama-doctor install
exit /b 3
:program_is_here
"
    );
    let files = launch.servers.iter().flat_map(|server| server.files.iter().map(move |file| (server, file)));
    for (index, (server, file)) in files.enumerate() {
        let (number, path) = (index + 1, short_enough(&file.path)?);
        let words = server.fetch.iter().map(|word| bare_or_quoted(word)).collect::<Result<Vec<_>, _>>()?;
        let _ = write!(
            text,
            "if exist {path} goto file_{number}_is_here
>&2 echo llama-doctor: the model file {path} is missing
"
        );
        if !words.is_empty() {
            let _ = writeln!(text, ">&2 echo llama-doctor: fetch it: {}", words.join(" "));
        }
        let _ = write!(text, "exit /b 3\n:file_{number}_is_here\n");
        if let Some(bytes) = file.bytes {
            // As text: cmd's numbers have 32 bits.
            let _ = write!(
                text,
                "for %%f in ({path}) do set size=%%~zf
if \"%size%\"==\"{bytes}\" goto file_{number}_is_right
>&2 echo llama-doctor: {path} has %size% bytes, and {bytes} were planned for: another file, or a broken download
exit /b 5
:file_{number}_is_right
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
        let target = if step == 0 { "start" } else { "stepped" };
        let _ = writeln!(text, "{tests}(set context={}& goto {target})", rung.contexts[0]);
    }
    let need = &launch.rungs[0].needs_mib;
    let amounts = launch
        .gpus
        .iter()
        .enumerate()
        .map(|(index, gpu)| format!("{} has %free_{index}% MiB free and {} are planned for", gpu.id, need[index]));
    let amounts = amounts.collect::<Vec<_>>().join("; ");
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
>&2 echo llama-doctor: starting with a smaller context: %context% tokens
"
    );
    Ok(text)
}
