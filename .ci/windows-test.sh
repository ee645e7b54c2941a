#!/usr/bin/env bash
# Builds for Windows x86_64 and runs the test suite under wine, then the end-to-end tests with a fake GPU in System32.
# What wine cannot answer is tested on parsers and recorded data instead: PowerShell (its powershell.exe is a stub that
# exits 0), the symlink privilege (never needed there), Defender, the real console, MSVC's linker.
# Nor does it send Ctrl-Break to a group, hand a program's error mode on, resolve paths of more than 260 characters, know
# consoles without escape sequences, or count GPU memory by process.
#   .ci/windows-test.sh              everything
#   .ci/windows-test.sh suite|ends   one half
set -euo pipefail
cd "$(dirname "$0")/.."
. .ci/windows-env.sh
half=${1:-all}
status=0

if [ "$half" != ends ]; then
  nice -n 15 cargo test --locked --no-fail-fast --lib --bins --tests || status=$?
fi

if [ "$half" != suite ]; then
  LLAMA_DOCTOR_WINDOWS_FAKES=$(.ci/windows-fakes.sh)
  LLAMA_DOCTOR_WINDOWS_BUILDS=$(.ci/fetch-windows.sh)
  LLAMA_DOCTOR_WINDOWS_ARCHIVES=$(.ci/windows-archives.sh "$LLAMA_DOCTOR_WINDOWS_BUILDS" "$LLAMA_DOCTOR_WINDOWS_FAKES")
  system32=$WINEPREFIX/drive_c/windows/system32
  trap 'rm -f "$system32/nvml.dll" "$system32/nvcuda.dll"' EXIT
  cp "$LLAMA_DOCTOR_WINDOWS_FAKES/nvml.dll" "$LLAMA_DOCTOR_WINDOWS_FAKES/nvcuda.dll" "$system32/"
  export LLAMA_DOCTOR_WINDOWS_FAKES="Z:$LLAMA_DOCTOR_WINDOWS_FAKES" LLAMA_DOCTOR_WINDOWS_BUILDS="Z:$LLAMA_DOCTOR_WINDOWS_BUILDS"
  export LLAMA_DOCTOR_WINDOWS_ARCHIVES="Z:$LLAMA_DOCTOR_WINDOWS_ARCHIVES"
  nice -n 15 cargo test --locked --no-fail-fast --test windows_end_to_end -- --ignored || status=$?
fi
exit "$status"
