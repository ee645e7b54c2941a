#!/usr/bin/env bash
# Puts the real Hugging Face client into a virtual environment of the field cache. Prints the folder of its programs.
set -euo pipefail
folder=${LLAMA_DOCTOR_FIELD_CACHE:-$HOME/.cache/llama-doctor-field}/hf-client
if [ ! -x "$folder/bin/hf" ]; then
  python3 -m venv "$folder"
  "$folder/bin/python" -m pip install --quiet 'huggingface_hub>=1,<3'
fi
echo "$folder/bin"
