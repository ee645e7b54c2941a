#!/usr/bin/env bash
# Fetches what the Windows end-to-end tests load: llama.cpp built for Windows with and without CUDA (node-llama-cpp's
# packages on npm), and the CUDA 13 runtime libraries that the first lacks (NVIDIA's wheels on PyPI). About 700 MB.
# Prints the folder that holds `win-x64/`, `win-x64-cuda/` and `cuda/`, each full of DLLs.
set -euo pipefail

llama=3.21.1 cudart=13.5.37 cublas=13.10.0.20
folder=${LLAMA_DOCTOR_FIELD_CACHE:-$HOME/.cache/llama-doctor-field}/windows
wanted="$llama $cudart $cublas"

mkdir -p "$folder"
exec 9>"$folder/.lock"
flock 9
if [ "$(cat "$folder/.complete" 2>/dev/null)" != "$wanted" ]; then
  work=$(mktemp -d "$folder/.fetch.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  rm -rf "$folder"/win-x64 "$folder"/win-x64-cuda "$folder"/cuda "$folder/.complete"
  # `npm pack` checks the registry's sha512, pip its sha256.
  for name in win-x64 win-x64-cuda; do
    (cd "$work" && npm pack --silent "@node-llama-cpp/$name@$llama" >/dev/null)
    tar -xzf "$work/node-llama-cpp-$name-$llama.tgz" -C "$work" "package/bins/$name"
    mv "$work/package/bins/$name" "$folder/$name"
  done
  python3 -m pip download --quiet --no-deps --only-binary=:all: --platform win_amd64 --dest "$work" \
    "nvidia-cuda-runtime==$cudart" "nvidia-cublas==$cublas" >&2
  mkdir "$folder/cuda"
  for wheel in "$work"/*.whl; do
    python3 -m zipfile -e "$wheel" "$work/wheel" >&2
  done
  find "$work/wheel" -name '*.dll' -exec mv -t "$folder/cuda" {} +
  echo "$wanted" >"$folder/.complete"
fi
echo "$folder"
