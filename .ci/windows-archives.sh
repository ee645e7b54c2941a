#!/usr/bin/env bash
# Packs real DLLs in the layout of the project's Windows releases: flat zips, CUDA's libraries in one of their own.
# Stored, not deflated: half a gigabyte is packed in seconds, and unpacked as quickly under wine. Prints the folder.
#   .ci/windows-archives.sh BUILDS FAKES
set -euo pipefail
folder=$1/../windows-archives
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
python3 - "$1" "$2" "$folder" <<'PY'
import os, sys, zipfile
builds, fakes, folder = sys.argv[1:]
def pack(name, source, wanted, more=()):
    path = os.path.join(folder, name)
    # node-llama-cpp adds the version to two names.
    files = {file.replace(".v0.4.0", "") if source == "win-x64" else file: os.path.join(builds, source, file)
             for file in os.listdir(os.path.join(builds, source)) if wanted(file)}
    files.update(more)
    newest = max(os.path.getmtime(file) for file in files.values())
    if os.path.exists(path) and os.path.getmtime(path) > newest:
        return
    with zipfile.ZipFile(path + ".part", "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(files):
            archive.writestr(zipfile.ZipInfo(file, (2026, 9, 23, 0, 0, 0)), open(files[file], "rb").read())
    os.replace(path + ".part", path)
server = {"llama-server.exe": os.path.join(fakes, "record-arguments.exe")}
# llama-common is left out, as in the test of the processor's build: it wants what node-llama-cpp has elsewhere.
library = lambda file: file.endswith(".dll") and not file.startswith("llama-common")
pack("llama-b11156-bin-win-cuda-13.4-x64.zip", "win-x64-cuda", library, server)
pack("llama-b11156-bin-win-cpu-x64.zip", "win-x64", library, server)
pack("cudart-llama-bin-win-cuda-13.4-x64.zip", "cuda", lambda file: file.startswith(("cudart64", "cublas64", "cublasLt64")))
PY
echo "$folder"
