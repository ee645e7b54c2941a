#!/usr/bin/env bash
# Times `pull` beside `hf download` and curl on one loopback hub: seconds, CPU seconds and peak memory, and ratios to ours.
# ours and hf check or size the file; curl does neither. LLAMA_DOCTOR names another program of ours than the release build.
#   .ci/bench-pull.sh [MIB]        default 1024
set -euo pipefail
cd "$(git rev-parse --show-toplevel)"
mib=${1:-1024}
ours=${LLAMA_DOCTOR:-target/release/llama-doctor}
[ -x "$ours" ] || { echo "build it first: cargo build --release" >&2; exit 1; }
hf=$(.ci/fetch-hf-client.sh)/hf
work=$(mktemp -d)
trap 'kill "${server:-}" 2>/dev/null || true; rm -rf "$work"' EXIT

# A header that a model begins with, then noise.
python3 - "$work/noise-Q8_0.gguf" "$mib" <<'PY'
import os, struct, sys
text = lambda value: struct.pack("<Q", len(value)) + value.encode()
size = int(sys.argv[2]) << 20
head = b"GGUF" + struct.pack("<Iqq", 3, 1, 1) + text("general.architecture") + struct.pack("<I", 8) + text("llama")
head += text("noise") + struct.pack("<IqIQ", 1, size // 4, 0, 0)
with open(sys.argv[1], "wb") as file:
    file.write(head + b"\0" * (-len(head) % 32))
    for _ in range(int(sys.argv[2])):
        file.write(os.urandom(1 << 20))
PY
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
python3 tests/field/hub.py "$port" bench/noise-GGUF "$work/noise-Q8_0.gguf" >"$work/ready" &
server=$!
until [ -s "$work/ready" ]; do sleep 0.2; done

export HF_ENDPOINT=http://127.0.0.1:$port HF_HUB_DISABLE_TELEMETRY=1 HF_HUB_DISABLE_XET=1
python3 - "$work" "$mib" "$ours" "$hf" "$HF_ENDPOINT" "${ROUNDS:-3}" <<'PY'
import os, shutil, subprocess, sys, time
work, mib, ours, hf, endpoint, rounds = sys.argv[1], int(sys.argv[2]), *sys.argv[3:6], int(sys.argv[6])
home = os.path.join(work, "home")
url = f"{endpoint}/bench/noise-GGUF/resolve/main/noise-Q8_0.gguf"
commands = {
    "llama-doctor pull": [ours, "-q", "pull", "bench/noise-GGUF"],
    "hf download": [hf, "download", "bench/noise-GGUF", "noise-Q8_0.gguf"],
    "curl -L": ["curl", "-sSfL", "-o", os.path.join(home, "file"), url],
    "curl -L + sha256sum": ["sh", "-c", f"curl -sSfL -o {home}/file {url} && sha256sum {home}/file"],
}
environment = dict(os.environ, HF_HOME=os.path.join(home, "hf"), LLAMA_DOCTOR_HOME=os.path.join(home, "doctor"))
best = {}
for _ in range(rounds):
    for name, command in commands.items():
        shutil.rmtree(home, ignore_errors=True)
        os.makedirs(home)
        os.sync()
        begin = time.monotonic()
        child = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.monotonic() - begin
        assert status == 0, f"{name} failed"
        figures = (seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)
        best[name] = min(best.get(name, figures), figures)
ours_figures = best["llama-doctor pull"]
print(f"{mib} MiB, best of {rounds}")
print(f"{'':22}{'seconds':>9}{'CPU':>8}{'MiB':>8}   times ours")
for name, figures in best.items():
    ratios = "  ".join(f"{one / own:.2f}" for one, own in zip(figures, ours_figures))
    print(f"{name:22}{figures[0]:9.2f}{figures[1]:8.2f}{figures[2]:8.1f}   {ratios}")
PY
