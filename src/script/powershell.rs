//! PowerShell, from Windows PowerShell 5.1 on.
//!
//! 5.1 hands arguments with quotes or trailing backslashes on wrongly, so the script writes the command line itself, by the
//! rules of `CommandLineToArgvW`, and starts the process with it.

use std::fmt::Write as _;

use super::file::ScriptFile;
use super::launch::Launch;
use super::quote::{self, Refused};
use super::{head, why};

/// The script, to be saved as `NAME.ps1`.
pub fn script(launch: &Launch) -> Result<ScriptFile, Refused> {
    let mut text = String::new();
    for line in head(launch) {
        let _ = writeln!(text, "# {}", quote::comment(&line));
    }
    let name = &launch.name;
    let _ = write!(
        text,
        "#
#   powershell -ExecutionPolicy Bypass -File {name}.ps1               start; Ctrl-C stops
#   powershell -ExecutionPolicy Bypass -File {name}.ps1 -StrictVram   refuse rather than start with a smaller context
#   powershell -ExecutionPolicy Bypass -File {name}.ps1 -NoCheck      start without looking at files and VRAM
# Other arguments go to llama-server behind ours, so that they win.
param(
    [switch] $StrictVram,
    [switch] $NoCheck,
    [Parameter(ValueFromRemainingArguments = $true)] [string[]] $Extra = @()
)
$ErrorActionPreference = 'Stop'

$Server = {}
",
        quote::powershell(&launch.server)?
    );
    text.push_str(FUNCTIONS);
    text.push('\n');
    for (index, context) in launch.rungs[0].contexts.iter().enumerate() {
        let _ = writeln!(text, "$Context{} = {context}", index + 1);
    }
    text.push_str(&checks(launch)?);
    for (index, server) in launch.servers.iter().enumerate() {
        let number = index + 1;
        let _ = writeln!(text, "\n# {}\n$Arguments{number} = @(", quote::comment(&server.title));
        let mut rows = Vec::new();
        for argument in &server.arguments {
            let mut row = format!("    {}", quote::powershell(&argument.flag)?);
            match &argument.value {
                Some(_) if argument.id == "context" => {
                    let _ = write!(row, "; \"$Context{number}\"");
                }
                Some(value) => {
                    let _ = write!(row, "; {}", quote::powershell(value)?);
                }
                None => {}
            }
            rows.push((row, quote::comment(&why::reason(argument, server, launch))));
        }
        let width = rows.iter().map(|(row, _)| row.chars().count()).filter(|width| *width <= 50).max().unwrap_or(0);
        for (row, why) in rows {
            let _ = writeln!(text, "{row:width$}   # {why}");
        }
        text.push_str(") + $Extra\n");
    }
    text.push_str("\n$Running = @()\ntry {\n");
    for (index, server) in launch.servers.iter().enumerate() {
        let number = index + 1;
        let name = quote::powershell(&server.name)?;
        let _ = writeln!(text, "    $Running += Start-Server {name} $Arguments{number}");
    }
    if launch.servers.len() > 1 {
        for (index, server) in launch.servers.iter().enumerate() {
            let _ = writeln!(text, "    Wait-Ready $Running[{index}] {}", quote::powershell(&server.url())?);
        }
    }
    text.push_str(TAIL);
    Ok(ScriptFile {
        name: format!("{name}.ps1"),
        text,
        comment: "#",
        crlf: true,
        bom_if_needed: true,
        executable: false,
    })
}

const FUNCTIONS: &str = r#"
function Say([string] $Text) { [Console]::Error.WriteLine("llama-doctor: $Text") }

# One command line that the program's own parser reads back word for word.
function Join-Words([string[]] $Words) {
    $Quoted = foreach ($Word in $Words) {
        if ($Word -ne '' -and $Word -notmatch '[\s"]') { $Word; continue }
        $Escaped = [regex]::Replace($Word, '(\\*)"', '$1$1\"')
        '"' + [regex]::Replace($Escaped, '(\\+)$', '$1$1') + '"'
    }
    $Quoted -join ' '
}

function Start-Server([string] $Name, [string[]] $Words) {
    $Start = New-Object System.Diagnostics.ProcessStartInfo
    $Start.FileName = $Server
    $Start.Arguments = Join-Words $Words
    $Start.UseShellExecute = $false
    $Process = [System.Diagnostics.Process]::Start($Start)
    [pscustomobject] @{ Name = $Name; Process = $Process }
}

function Wait-Ready($One, [string] $Url) {
    while (-not $One.Process.HasExited) {
        try {
            $null = Invoke-WebRequest -UseBasicParsing -TimeoutSec 2 -Uri "$Url/health"
            Say "$($One.Name) is ready: $Url"
            return
        } catch { Start-Sleep -Seconds 1 }
    }
}

# The file is there and as long as it was.
function Test-ModelFile([string] $Path, $Bytes, [string] $Fetch) {
    if (-not (Test-Path -LiteralPath $Path -PathType Leaf)) {
        Say "the model file $Path is missing"
        if ($Fetch) { Say "fetch it: $Fetch" }
        exit 3
    }
    $Size = (Get-Item -LiteralPath $Path).Length
    if ($null -ne $Bytes -and $Size -ne $Bytes) {
        Say "$Path has $Size bytes, and $Bytes were planned for: it is another file, or a broken download"
        exit 5
    }
}

# MiB free on a GPU now; nothing where nvidia-smi is absent or cannot tell.
function Get-FreeMib([string] $Id) {
    try {
        $Line = & nvidia-smi "--id=$Id" --query-gpu=memory.free --format=csv,noheader,nounits 2>$null
        if ("$Line".Trim() -match '^\d+$') { [long] "$Line".Trim() }
    } catch { $null }
}

# An unknown amount is taken for enough.
function Test-Fit($Have, [long] $Need) { ($null -eq $Have) -or ($Have -ge $Need) }
"#;

fn checks(launch: &Launch) -> Result<String, Refused> {
    let mut text = String::from(
        "if (-not $NoCheck) {
    if (-not (Get-Command -Name $Server -CommandType Application -ErrorAction SilentlyContinue)) {
        Say \"the program $Server is missing: llama-doctor install\"
        exit 3
    }
",
    );
    for server in &launch.servers {
        let words = server.fetch.iter().map(|word| bare_or_quoted(word)).collect::<Result<Vec<_>, _>>()?;
        let fetch = quote::powershell(&words.join(" "))?;
        for file in &server.files {
            let bytes = file.bytes.map_or_else(|| "$null".to_owned(), |bytes| bytes.0.to_string());
            let path = quote::powershell(&file.path)?;
            let _ = writeln!(text, "    Test-ModelFile {path} {bytes} {fetch}");
        }
    }
    text.push_str(
        "
    # What would change llama-server's defaults behind the plan's back.
    $Overrides = @(Get-ChildItem Env: | Where-Object { $_.Name -like 'LLAMA_ARG_*' } | ForEach-Object { $_.Name })
    if ($Overrides) { Say \"the environment changes llama-server's defaults: $Overrides\" }
    foreach ($Base in @($env:PROGRAMDATA, $env:APPDATA) | Where-Object { $_ }) {
        $File = Join-Path $Base 'llama.cpp/config.ini'
        if (Test-Path -LiteralPath $File) { Say \"$File changes llama-server's defaults\" }
    }
",
    );
    if !launch.gpus.is_empty() {
        text.push_str(&ladder(launch)?);
    }
    text.push_str("}\n");
    Ok(text)
}

/// Quotes only what needs them: a command for people to copy.
fn bare_or_quoted(word: &str) -> Result<String, Refused> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:\\".contains(c);
    if !word.is_empty() && word.chars().all(plain) { Ok(word.to_owned()) } else { quote::powershell(word) }
}

fn ladder(launch: &Launch) -> Result<String, Refused> {
    let mut text = String::from("\n    # The largest planned context whose VRAM is free now.\n");
    for (index, gpu) in launch.gpus.iter().enumerate() {
        let id = quote::powershell(&gpu.smi_id)?;
        let _ = writeln!(text, "    $Free{index} = Get-FreeMib {id}   # {}, {}", gpu.id, quote::comment(&gpu.name));
        let _ = writeln!(
            text,
            "    if ($null -eq $Free{index}) {{ Say 'free VRAM of {} is not known here; starting as planned' }}",
            gpu.id
        );
    }
    text.push_str("    $Stepped = $false\n");
    let mut word = "    if";
    for (step, rung) in launch.rungs.iter().enumerate() {
        let tests = rung.needs_mib.iter().enumerate().map(|(gpu, need)| format!("(Test-Fit $Free{gpu} {need})"));
        let tests = tests.collect::<Vec<_>>().join(" -and ");
        let sets = rung.contexts.iter().enumerate();
        let sets =
            sets.map(|(index, context)| format!("$Context{} = {context}; ", index + 1)).collect::<Vec<_>>().concat();
        let action = if step == 0 { String::new() } else { format!(" {sets}$Stepped = $true") };
        let _ = writeln!(text, "{word} ({tests}) {{{action} }}");
        word = "    elseif";
    }
    let need = &launch.rungs[0].needs_mib;
    let amounts = launch
        .gpus
        .iter()
        .enumerate()
        .map(|(index, gpu)| format!("{} has $Free{index} MiB free and {} are planned for", gpu.id, need[index]));
    let amounts = amounts.collect::<Vec<_>>().join("; ");
    let contexts = (1..=launch.servers.len()).map(|number| format!("$Context{number}")).collect::<Vec<_>>();
    let contexts = contexts.join(" and ");
    let _ = write!(
        text,
        "    else {{
        Say \"too little VRAM: {amounts}\"
        Say 'no planned context fits: close other programs on the GPU, or plan again with llama-doctor launch'
        exit 3
    }}
    if ($Stepped) {{
        Say \"VRAM is short: {amounts}\"
        if ($StrictVram) {{
            Say 'refusing, as -StrictVram asks'
            exit 3
        }}
        Say \"starting with a smaller context: {contexts} tokens\"
    }}
"
    );
    Ok(text)
}

/// Servers end together, and with this script.
const TAIL: &str = r#"    while (-not ($Running | Where-Object { $_.Process.HasExited })) { Start-Sleep -Milliseconds 300 }
    $First = @($Running | Where-Object { $_.Process.HasExited })[0]
    $Code = $First.Process.ExitCode
    if ($Running.Count -gt 1) {
        Say "$($First.Name) ended with exit code $Code; stopping the others"
        if ($Code -eq 0) { $Code = 6 }
    }
} finally {
    foreach ($One in $Running) { if (-not $One.Process.HasExited) { $One.Process.Kill() } }
}
exit $Code
"#;
