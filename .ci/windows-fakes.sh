#!/usr/bin/env bash
# Builds the libraries and programs that stand for NVIDIA's and llama.cpp's in tests on Windows. Prints their folder.
set -euo pipefail
cd "$(dirname "$0")/../tests/support/windows"

folder=${LLAMA_DOCTOR_WINDOWS_FAKES:-$HOME/.cache/llama-doctor-windows-fakes}
compiler=(x86_64-w64-mingw32-gcc -O1 -s -Wall -Wno-unused-parameter)
mkdir -p "$folder"
for pair in nvml=nvml nvcuda=nvcuda cudart=cudart64_13 llama=llama; do
  "${compiler[@]}" -shared -o "$folder/${pair#*=}.dll" "${pair%=*}.c"
done
for pair in record-arguments=record_arguments console=console; do
  "${compiler[@]}" -municode -o "$folder/${pair%=*}.exe" "${pair#*=}.c"
done
echo "$folder"
