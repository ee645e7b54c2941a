#!/usr/bin/env bash
# Builds for Windows x86_64 and runs the test suite under wine. Arguments go to `cargo test`.
# What wine cannot answer is tested on parsers and recorded data instead: PowerShell (its powershell.exe is a stub that
# exits 0), the symlink privilege (never needed there), Defender, the real console, MSVC's linker.
set -euo pipefail
cd "$(dirname "$0")/.."
. .ci/windows-env.sh
nice -n 15 cargo test --locked --no-fail-fast --lib --bins --tests "$@"
