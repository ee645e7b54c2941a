//! The POSIX shell: one script that starts the launch's servers, and the checks that the other Unix formats borrow from it.

use std::fmt::Write as _;

use super::arguments::Argument;
use super::file::ScriptFile;
use super::launch::{Launch, LaunchServer};
use super::quote::{self, Refused};
use super::{head, why};

/// The script, to be saved as `NAME.sh`.
pub fn script(launch: &Launch) -> Result<ScriptFile, Refused> {
    Ok(ScriptFile {
        name: format!("{}.sh", launch.name),
        text: text(launch)?,
        comment: "#",
        crlf: false,
        bom_if_needed: false,
        executable: true,
    })
}

/// The script that starts llama-server's router with the launch's preset, to be saved as `NAME-router.sh` beside `NAME.ini`.
pub(crate) fn router(launch: &Launch) -> Result<ScriptFile, Refused> {
    let mut text = String::from("#!/bin/sh\n");
    for line in head(launch) {
        let _ = writeln!(text, "# {}", quote::comment(&line));
    }
    let first = &launch.servers[0];
    let router = Launch { name: format!("{}-router", launch.name), ..launch.clone() };
    text.push_str(&usage(&router));
    text.push_str("set -u\n\n");
    let _ = writeln!(text, "server={}", quote::sh(&launch.server)?);
    text.push_str(OPTIONS);
    text.push_str(&checks(launch)?);
    let step = if launch.servers.len() == 1 {
        // On the router's command line it is stronger than in the preset.
        "if [ \"$stepped\" = yes ]; then set -- -c \"$context\" \"$@\"; fi".to_owned()
    } else {
        // There it would be one context for all: each model's own is put into a copy of the preset.
        let own = |(index, server): (usize, &LaunchServer)| format!("{}=$context_{}", server.name, index + 1);
        let contexts: Vec<String> = launch.servers.iter().enumerate().map(own).collect();
        STEPPED_PRESET.replace("CONTEXTS", &contexts.join(" "))
    };
    let keys = super::launch::value(&first.arguments, "api-key-file");
    let keys = keys.map(|file| Ok(format!(" --api-key-file {}", quote::sh(file)?))).transpose()?.unwrap_or_default();
    let _ = write!(
        text,
        "
preset=$(dirname -- \"$0\")/{}.ini
{step}
exec \"$server\" --models-preset \"$preset\" --models-max {} --host {} --port {}{keys} \"$@\"
",
        launch.name,
        launch.servers.len(),
        quote::sh(&first.host)?,
        first.port
    );
    Ok(ScriptFile {
        name: format!("{}-router.sh", launch.name),
        text,
        comment: "#",
        crlf: false,
        bom_if_needed: false,
        executable: true,
    })
}

/// The preset with each section's `c` replaced; sections' names have no blanks.
const STEPPED_PRESET: &str = r#"if [ "$stepped" = yes ]; then
    if ! awk -v contexts="CONTEXTS" '
        BEGIN { count = split(contexts, pairs, " "); for (i = 1; i <= count; i++) { split(pairs[i], pair, "="); own["[" pair[1] "]"] = pair[2] } }
        /^\[/ { section = $0 }
        /^(c|ctx-size) = / && section in own { $0 = "c = " own[section] }
        { print }' "$preset" >"$preset.stepped"; then
        say "$preset.stepped cannot be written, and the smaller contexts would stand there"
        exit 3
    fi
    preset=$preset.stepped
fi"#;

pub(crate) fn text(launch: &Launch) -> Result<String, Refused> {
    let mut text = String::from("#!/bin/sh\n");
    for line in head(launch) {
        let _ = writeln!(text, "# {}", quote::comment(&line));
    }
    text.push_str(&usage(launch));
    text.push_str("set -u\n\n");
    let _ = writeln!(text, "server={}", quote::sh(&launch.server)?);
    text.push_str(OPTIONS);
    text.push_str(&checks(launch)?);
    if launch.servers.len() == 1 {
        text.push_str(THEN);
        text.push_str(&one(launch)?);
    } else {
        text.push_str(&several(launch)?);
    }
    Ok(text)
}

fn usage(launch: &Launch) -> String {
    let name = &launch.name;
    let ports = launch.servers.iter().map(LaunchServer::url).collect::<Vec<_>>().join(" and ");
    format!(
        "#
#   sh {name}.sh                 start; {ports}; Ctrl-C stops
#   sh {name}.sh --strict-vram   refuse rather than start with a smaller context
#   sh {name}.sh --no-check      start without looking at files and VRAM
# Other arguments go to llama-server behind ours, so that they win.
"
    )
}

const OPTIONS: &str = r#"
strict=no check=yes then=no
while [ $# -gt 0 ]; do
    case $1 in
        --strict-vram) strict=yes ;;
        --no-check) check=no ;;
        --then) then=yes; shift; break ;;   # run what follows instead, after the checks
        *) break ;;
    esac
    shift
done

say() { printf 'llama-doctor: %s\n' "$*" >&2; }

# FILE BYTES COMMAND: the file is there and as long as it was; the command brings it.
need_file() {
    if [ ! -f "$1" ]; then
        say "the model file $1 is missing"
        [ -z "$3" ] || say "fetch it: $3"
        exit 3
    fi
    [ -n "$2" ] || return 0
    size=$(stat -Lc %s "$1" 2>/dev/null || stat -Lf %z "$1" 2>/dev/null || wc -c <"$1")
    [ "$size" -eq "$2" ] && return 0
    say "$1 has $size bytes, and $2 were planned for: it is another file, or a broken download"
    exit 5
}

# MiB free on a GPU now; nothing where nvidia-smi is absent or cannot tell.
free_mib() {
    nvidia_smi=$(command -v nvidia-smi || echo /usr/lib/wsl/lib/nvidia-smi)
    "$nvidia_smi" "--id=$1" --query-gpu=memory.free --format=csv,noheader,nounits 2>/dev/null | tr -dc 0-9
}

# HAVE NEED: an unknown amount is taken for enough.
fits() { [ -z "$1" ] || [ "$1" -ge "$2" ]; }
"#;

fn variable(name: &str, launch: &Launch, index: usize) -> String {
    if launch.servers.len() == 1 { name.to_owned() } else { format!("{name}_{}", index + 1) }
}

fn checks(launch: &Launch) -> Result<String, Refused> {
    let mut text = String::new();
    let planned = &launch.rungs[0];
    text.push('\n');
    for (index, context) in planned.contexts.iter().enumerate() {
        let _ = writeln!(text, "{}={context}", variable("context", launch, index));
    }
    text.push_str("stepped=no\nif [ \"$check\" = yes ]; then\n");
    text.push_str(
        "    if ! command -v \"$server\" >/dev/null 2>&1; then
        say \"the program $server is missing: llama-doctor install\"
        exit 3
    fi
",
    );
    for server in &launch.servers {
        let words = server.fetch.iter().map(|word| quote::sh(word)).collect::<Result<Vec<_>, _>>()?;
        let fetch = quote::sh(&words.join(" "))?;
        for file in &server.files {
            let bytes = file.bytes.map_or_else(|| "''".to_owned(), |bytes| bytes.0.to_string());
            let _ = writeln!(text, "    need_file {} {bytes} {fetch}", quote::sh(&file.path)?);
        }
    }
    text.push_str(OVERRIDES);
    if !launch.gpus.is_empty() {
        text.push_str(&ladder(launch)?);
    }
    text.push_str("fi\n");
    Ok(text)
}

const OVERRIDES: &str = r#"
    # What would change llama-server's defaults behind the plan's back.
    overrides=$(env | sed -n 's/^\(LLAMA_ARG_[A-Z0-9_]*\)=.*/\1/p' | tr '\n' ' ')
    [ -z "$overrides" ] || say "the environment changes llama-server's defaults: $overrides"
    for file in /etc/llama.cpp/config.ini "${XDG_CONFIG_HOME:-${HOME:-}/.config}/llama.cpp/config.ini"; do
        [ ! -f "$file" ] || say "$file changes llama-server's defaults"
    done
"#;

/// The first rung whose needs are met; the last resort is to refuse.
fn ladder(launch: &Launch) -> Result<String, Refused> {
    let mut text = String::from("\n    # The largest planned context whose VRAM is free now.\n");
    for (index, gpu) in launch.gpus.iter().enumerate() {
        let _ = writeln!(
            text,
            "    free_{index}=$(free_mib {})   # {}, {}",
            quote::sh(&gpu.smi_id)?,
            gpu.id,
            quote::comment(&gpu.name)
        );
        let _ = writeln!(
            text,
            "    [ -n \"$free_{index}\" ] || say 'free VRAM of {} is not known here; starting as planned'",
            gpu.id
        );
    }
    for (step, rung) in launch.rungs.iter().enumerate() {
        let word = if step == 0 { "if" } else { "elif" };
        let tests = rung.needs_mib.iter().enumerate().map(|(gpu, need)| format!("fits \"$free_{gpu}\" {need}"));
        let tests = tests.collect::<Vec<_>>().join(" && ");
        let sets = rung.contexts.iter().enumerate();
        let sets = sets.map(|(index, context)| format!("{}={context}", variable("context", launch, index)));
        let sets = sets.collect::<Vec<_>>().join(" ");
        let action = if step == 0 { ":".to_owned() } else { format!("{sets} stepped=yes") };
        let _ = writeln!(text, "    {word} {tests}; then {action}");
    }
    let need = &launch.rungs[0].needs_mib;
    let amounts = launch
        .gpus
        .iter()
        .enumerate()
        .map(|(index, gpu)| format!("{} has $free_{index} MiB free and {} are planned for", gpu.id, need[index]));
    let amounts = amounts.collect::<Vec<_>>().join("; ");
    let contexts = (0..launch.servers.len()).map(|index| format!("${}", variable("context", launch, index)));
    let contexts = contexts.collect::<Vec<_>>().join(" and ");
    let _ = write!(
        text,
        "    else
        say \"too little VRAM: {amounts}\"
        say 'no planned context fits: close other programs on the GPU, or plan again with llama-doctor launch'
        exit 3
    fi
    if [ \"$stepped\" = yes ]; then
        say \"VRAM is short: {amounts}\"
        if [ \"$strict\" = yes ]; then
            say 'refusing, as --strict-vram asks'
            exit 3
        fi
        say \"starting with a smaller context: {contexts} tokens\"
    fi
"
    );
    Ok(text)
}

const THEN: &str = r#"
if [ "$then" = yes ]; then
    # A repeated flag: the last one wins.
    if [ "$stepped" = yes ]; then set -- "$@" -c "$context"; fi
    exec "$@"
fi
"#;

/// `set -- "$@" FLAG VALUE`, aligned, each with its reason.
fn flag_lines(server: &LaunchServer, launch: &Launch, index: usize, indent: &str) -> Result<String, Refused> {
    let mut rows = Vec::new();
    for argument in &server.arguments {
        let call = format!("{indent}set -- \"$@\" {}", shell_argument(argument, launch, index)?);
        rows.push((call, quote::comment(&why::reason(argument, server, launch))));
    }
    // A long path does not push the other comments out of sight.
    let width = rows.iter().map(|(call, _)| call.chars().count()).filter(|width| *width <= 50).max().unwrap_or(0);
    Ok(rows.iter().map(|(call, why)| format!("{call:width$}   # {why}\n")).collect::<Vec<_>>().concat())
}

fn shell_argument(argument: &Argument, launch: &Launch, index: usize) -> Result<String, Refused> {
    let flag = quote::sh(&argument.flag)?;
    Ok(match &argument.value {
        Some(_) if argument.id == "context" => format!("{flag} \"${}\"", variable("context", launch, index)),
        Some(value) => format!("{flag} {}", quote::sh(value)?),
        None => flag,
    })
}

fn one(launch: &Launch) -> Result<String, Refused> {
    let flags = flag_lines(&launch.servers[0], launch, 0, "")?;
    Ok(format!(
        "
extra=$#   # what was given to this script comes last
{flags}while [ \"$extra\" -gt 0 ]; do set -- \"$@\" \"$1\"; shift; extra=$((extra - 1)); done
exec \"$server\" \"$@\"
"
    ))
}

fn several(launch: &Launch) -> Result<String, Refused> {
    let mut text = String::from(SUPERVISION);
    for (index, server) in launch.servers.iter().enumerate() {
        let number = index + 1;
        let _ = write!(
            text,
            "
# {}
start_{number}() {{
    extra=$#
{}    while [ \"$extra\" -gt 0 ]; do set -- \"$@\" \"$1\"; shift; extra=$((extra - 1)); done
    \"$server\" \"$@\" &
    pid_{number}=$! pids=\"$pids $!\"
}}
",
            quote::comment(&server.title),
            flag_lines(server, launch, index, "    ")?
        );
    }
    text.push('\n');
    for number in 1..=launch.servers.len() {
        let _ = writeln!(text, "start_{number} \"$@\"");
    }
    for (index, server) in launch.servers.iter().enumerate() {
        let _ = writeln!(
            text,
            "wait_ready {} \"$pid_{}\" {}",
            quote::sh(&server.name)?,
            index + 1,
            quote::sh(&server.url())?
        );
    }
    text.push_str("say 'all servers are ready; Ctrl-C stops them'\n");
    text.push_str("while :; do\n    sleep 1\n");
    for (index, server) in launch.servers.iter().enumerate() {
        let _ = writeln!(text, "    still_runs {} \"$pid_{}\"", quote::sh(&server.name)?, index + 1);
    }
    text.push_str("done\n");
    Ok(text)
}

const SUPERVISION: &str = r#"
pids=
# All servers end with this script: asked first, killed after ten seconds.
stop() {
    trap '' INT TERM HUP
    sleep 1   # a Ctrl-C reached the servers too, and a second signal would cut their shutdown short
    kill $pids 2>/dev/null
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        kill -0 $pids 2>/dev/null || break
        sleep 1
    done
    kill -9 $pids 2>/dev/null
    wait
}
trap 'stop; exit 130' INT
trap 'stop; exit 143' TERM HUP

# NAME PID: when a server ends, so do the others.
still_runs() {
    kill -0 "$2" 2>/dev/null && return 0
    wait "$2"
    code=$?
    say "$1 ended with exit code $code; stopping the others"
    stop
    [ "$code" -ne 0 ] || code=6
    exit "$code"
}

healthy() { curl -sf -o /dev/null --max-time 2 "$1/health" 2>/dev/null || wget -q -T 2 -O /dev/null "$1/health" 2>/dev/null; }

# NAME PID URL
wait_ready() {
    if ! command -v curl >/dev/null 2>&1 && ! command -v wget >/dev/null 2>&1; then
        say "neither curl nor wget is here: not waiting for $1"
        return 0
    fi
    until healthy "$3"; do
        still_runs "$1" "$2"
        sleep 1
    done
    say "$1 is ready: $3"
}
"#;
