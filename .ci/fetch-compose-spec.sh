#!/usr/bin/env bash
# Puts a strict reader of Compose files (PyPI's compose-spec) into a virtual environment of the field cache. Prints its Python.
set -euo pipefail
folder=${LLAMA_DOCTOR_FIELD_CACHE:-$HOME/.cache/llama-doctor-field}/compose-spec
if ! "$folder/bin/python" -c 'import compose_spec' 2>/dev/null; then
  python3 -m venv "$folder"
  "$folder/bin/python" -m pip install --quiet 'compose-spec==0.2.1'
fi
echo "$folder/bin/python"
