#!/usr/bin/env bash
# Builds for Windows x86_64 and runs the test suite under wine, then the end-to-end tests with a fake GPU in System32.
# What wine cannot answer, and what tests it instead:
#   PowerShell (its powershell.exe is a stub that exits 0)    src/script/powershell.rs and quote.rs against its grammar
#   the symlink privilege (never needed there)                the hub cache without links, tests/models.rs
#   Defender and the security centre                          recorded events, src/host/windows/antivirus.rs, windows_facts.rs
#   the Mark of the Web (no second streams)                   what browsers write, src/host/mark_of_the_web.rs
#   Ctrl-Break to a group of processes                        Ctrl-C, which reaches the same handler
#   an error mode handed on to a child                        each of our processes sets its own, which a library reads back
#   consoles without escape sequences                         no escape is written without colours
#   cmd's chcp and its second expansion                       tests/launch_scripts.rs against cmd's grammar
#   GPU memory by process, final names of long paths          recorded counters; the absolute path in their place
#   MSVC's linker                                             the `windows` job of .github/workflows/ci.yml
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
