#!/usr/bin/env bash
# How long `check` takes, as whole processes: without builds, with one CUDA build that is read, with one that is read and
# run; beside them what starting NVML and listing the cards takes, which is where `nvidia-smi` begins. The median of nine.
#   .ci/bench-check.sh PROGRAM          on the simulated machine of tests/support/fake_cuda.c
#   .ci/bench-check.sh PROGRAM --real   on the cards and with the driver of this machine
set -euo pipefail
cd "$(dirname "$0")/.."
program=$(realpath "${1:?the llama-doctor to measure, a release build}")
build=${CUDA_BUILD:-${LLAMA_DOCTOR_FIELD_CACHE:-$HOME/.cache/llama-doctor-field}/x/node-llama-cpp-linux-x64-cuda-3.22.1}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if [ "${2:-}" != --real ]; then
  for part in NVML:libnvidia-ml.so.1 DRIVER:libcuda.so.1 RUNTIME:libcudart.so.13 BLAS:libcublas.so.13; do
    cc -shared -fPIC -w "-D${part%%:*}" -o "$work/${part##*:}" "-Wl,-soname,${part##*:}" tests/support/fake_cuda.c
  done
  export LD_LIBRARY_PATH=$work
fi
cat > "$work/nvml.c" <<'C'
#include <dlfcn.h>
int main(void) {
    void *library = dlopen("libnvidia-ml.so.1", RTLD_NOW), *device;
    if (!library) return 1;
    int (*init)(void) = dlsym(library, "nvmlInit_v2"), (*count)(unsigned *) = dlsym(library, "nvmlDeviceGetCount_v2");
    int (*handle)(unsigned, void **) = dlsym(library, "nvmlDeviceGetHandleByIndex_v2");
    int (*name)(void *, char *, unsigned) = dlsym(library, "nvmlDeviceGetName");
    unsigned cards = 0;
    char text[96];
    if (init() || count(&cards)) return 1;
    for (unsigned index = 0; index < cards; index++)
        if (!handle(index, &device)) name(device, text, sizeof text);
    return 0;
}
C
cc -o "$work/nvml" "$work/nvml.c" -ldl

median() { # WHAT COMMAND...
  local what=$1 begin; shift
  for _ in 1 2 3 4 5 6 7 8 9; do
    begin=${EPOCHREALTIME//[.,]/}
    env HOME="$work" PATH=/usr/bin:/bin "$@" >/dev/null 2>&1 || [ $? = 1 ] || { echo "$what: failed with $?" >&2; return; }
    echo $((${EPOCHREALTIME//[.,]/} - begin))
  done | sort -n | sed -n 5p | awk -v what="$what" '{ printf "%-44s %7.1f ms\n", what, $1 / 1000 }'
}

median 'NVML started, cards listed' "$work/nvml"
median 'check, no builds (promise: 150 ms)' "$program" check --home "$work/home"
[ -e "$build" ] || { echo "no CUDA build in $build; .ci/fetch-builds.sh fetches one" >&2; exit 0; }
median 'one CUDA build, read (promise: 400 ms)' "$program" inspect "$build"
median 'check, with that build read and run' "$program" check --home "$work/home" --build "$build"
