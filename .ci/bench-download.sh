#!/usr/bin/env bash
# Downloads and unpacks by the clock, ours beside curl, aria2c, unzip and bsdtar, on loopback. Prints seconds and ratios.
# Needs python3, curl, unzip, tar; aria2c and bsdtar (Debian: aria2, libarchive-tools) where installed.
#   .ci/bench-download.sh [MIB]        default 1024
set -euo pipefail
cd "$(git rev-parse --show-toplevel)"
mib=${1:-1024} rounds=${ROUNDS:-3}
work=$(mktemp -d)
trap 'kill "${server:-}" 2>/dev/null || true; rm -rf "$work"' EXIT

ours=${TRANSFER:-}
if [ -z "$ours" ]; then
  cargo bench -q --bench transfer --no-run
  ours=$(find target/release/deps -name 'transfer-*' ! -name '*.d' -printf '%T@ %p\n' | sort -rn | head -1 | cut -d' ' -f2-)
fi

head -c "${mib}M" /dev/urandom > "$work/file.bin"
digest=$(sha256sum "$work/file.bin" | cut -d' ' -f1)
cat > "$work/server.py" <<'PY'
import http.server, os, re, socketserver, sys, time
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *_): pass
    def do_HEAD(self): self.answer(False)
    def do_GET(self): self.answer(True)
    def answer(self, body):
        # /file.bin at full speed, /paced/file.bin at 20 MB/s a connection
        paced = self.path.startswith("/paced/")
        with open(os.path.basename(self.path), "rb") as file:
            size = os.fstat(file.fileno()).st_size
            match = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            start, end = (int(match[1]), int(match[2] or size - 1) + 1) if match else (0, size)
            end = min(end, size)
            self.send_response(206 if match else 200)
            self.send_header("Content-Length", str(end - start))
            self.send_header("ETag", '"one"'); self.send_header("Accept-Ranges", "bytes")
            if match: self.send_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
            self.end_headers(); self.wfile.flush()
            if not body: return
            at, began = start, time.monotonic()
            while at < end:
                sent = os.sendfile(self.connection.fileno(), file.fileno(), at, min(end - at, 1 << (16 if paced else 22)))
                at += sent
                if paced: time.sleep(max(0, (at - start) / 20e6 - (time.monotonic() - began)))
class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True; request_queue_size = 64
    def handle_error(self, *_): pass
server = Server(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True); server.serve_forever()
PY
(cd "$work" && exec python3 server.py > port) & server=$!
until [ -s "$work/port" ]; do sleep 0.1; done
url="http://127.0.0.1:$(cat "$work/port")"

# The best of some rounds: least disturbed by whatever else runs.
best() {
  local least=999999 name=$1; shift
  for _ in $(seq "$rounds"); do
    rm -rf "$work/out"; mkdir "$work/out"; sync
    local began ended; began=$(date +%s%N); "$@" > /dev/null 2>&1; ended=$(date +%s%N)
    local took=$(((ended - began) / 1000000)); [ "$took" -lt "$least" ] && least=$took
  done
  [ -n "${base:-}" ] || base=$least
  awk -v n="$name" -v t="$least" -v b="$base" -v m="$mib" 'BEGIN { printf "  %-44s %7.2f s  %5.2f of ours\n", n, t/1000, t/b }'
}

echo "$mib MiB at full speed"
base=
best "ours, 8 connections, sha256"      "$ours" download "$url/file.bin" "$work/out/f" 8 "$digest"
best "ours, 1 connection, sha256"       "$ours" download "$url/file.bin" "$work/out/f" 1 "$digest"
best "curl"                             curl -sSf -o "$work/out/f" "$url/file.bin"
best "curl, then sha256sum"             bash -c "curl -sSf -o $work/out/f $url/file.bin && sha256sum $work/out/f"
if command -v aria2c > /dev/null; then
  best "aria2c -x8 -s8 -k16M"           aria2c -q -x8 -s8 -k16M --file-allocation=none -d "$work/out" -o f "$url/file.bin"
  best "aria2c -x8, with its checksum"  aria2c -q -x8 -s8 -k16M --file-allocation=none --checksum="sha-256=$digest" -d "$work/out" -o f "$url/file.bin"
fi

echo "$mib MiB at 20 MB/s a connection"
base='' rounds=1
best "ours, 8 connections, sha256"      "$ours" download "$url/paced/file.bin" "$work/out/f" 8 "$digest"
command -v aria2c > /dev/null &&
  best "aria2c -x8, with its checksum"  aria2c -q -x8 -s8 -k16M --file-allocation=none --checksum="sha-256=$digest" -d "$work/out" -o f "$url/paced/file.bin"
best "curl, then sha256sum"             bash -c "curl -sSf -o $work/out/f $url/paced/file.bin && sha256sum $work/out/f"
rounds=${ROUNDS:-3}

echo "memory while downloading (largest resident set)"
/usr/bin/env python3 - "$ours" "$url/file.bin" "$work/out/m" "$digest" <<'PY'
import resource, subprocess, sys
program, url, out, digest = sys.argv[1:]
subprocess.run([program, "download", url, out, "8", digest], check=True, stdout=subprocess.DEVNULL)
print(f"  ours  {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024:.1f} MiB")
PY

# Libraries shrink about as these do.
mkdir "$work/tree"
find -L /usr/lib -name 'lib*.so.*' -size +500k -size -30M 2> /dev/null | sort | head -80 | xargs -I{} cp -L {} "$work/tree/" || true
echo "$(du -sm "$work/tree" | cut -f1) MiB of libraries, unpacked"
(cd "$work/tree" && python3 -m zipfile -c ../tree.zip ./*)
tar -C "$work" -czf "$work/tree.tar.gz" tree
base=
best "ours, zip, sha256 of each file"   "$ours" unpack "$work/tree.zip" "$work/out/t"
best "unzip"                            unzip -q "$work/tree.zip" -d "$work/out/t"
command -v bsdtar > /dev/null && best "bsdtar, zip" bash -c "mkdir $work/out/t && bsdtar -xf $work/tree.zip -C $work/out/t"
base=
best "ours, tar.gz, sha256 of each file" "$ours" unpack "$work/tree.tar.gz" "$work/out/t"
best "tar"                              bash -c "mkdir $work/out/t && tar -xzf $work/tree.tar.gz -C $work/out/t"
command -v bsdtar > /dev/null && best "bsdtar, tar.gz" bash -c "mkdir $work/out/t && bsdtar -xf $work/tree.tar.gz -C $work/out/t"
exit 0
