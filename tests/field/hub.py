#!/usr/bin/env python3
"""A Hugging Face hub on loopback for field tests and benchmarks: one repository, files of any size, from the disk.

hub.py PORT REPOSITORY FILE...   serves FILEs as REPOSITORY (org/name) until it is stopped.
It speaks what llama.cpp, huggingface_hub and curl ask for: refs, revision, tree, info, and resolve with a redirect to
/cdn under another host name, as the real hub redirects to its file servers. Nothing is asked of any other machine.
"""
import hashlib
import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"
port, repository, paths = int(sys.argv[1]), sys.argv[2], sys.argv[3:]


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


files = {os.path.basename(path): (path, os.path.getsize(path), sha256(path)) for path in paths}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def json(self, value):
        self.answer(200, json.dumps(value).encode(), Content_Type="application/json")

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = self.path.split("?")[0]
        api = f"/api/models/{repository}"
        if path == f"{api}/refs":
            branch = {"name": "main", "ref": "refs/heads/main", "targetCommit": COMMIT}
            self.json({"branches": [branch], "tags": [], "converts": []})
        elif path in (api, f"{api}/revision/main", f"{api}/revision/{COMMIT}"):
            siblings = [{"rfilename": name} for name in files]
            self.json({"id": repository, "sha": COMMIT, "private": False, "gated": False, "disabled": False,
                       "downloads": 0, "likes": 0, "tags": [], "siblings": siblings})
        elif path in (f"{api}/tree/main", f"{api}/tree/{COMMIT}"):
            self.json([{"type": "file", "path": name, "size": size, "oid": "0" * 40,
                        "lfs": {"oid": digest, "size": size, "pointerSize": 134}}
                       for name, (_, size, digest) in files.items()])
        elif path.startswith(f"/{repository}/resolve/") and path.split("/")[-1] in files:
            _, size, digest = files[path.split("/")[-1]]
            self.answer(302, Location=f"http://localhost:{port}/cdn/{digest}?Signature=1", X_Repo_Commit=COMMIT,
                        X_Linked_Size=str(size), X_Linked_ETag=f'"{digest}"', ETag=f'"{digest}"', Accept_Ranges="bytes")
        elif path.startswith("/cdn/"):
            self.send_file(path.split("/")[-1])
        else:
            self.answer(404, b'{"error": "Entry not found"}', X_Error_Code="EntryNotFound")

    def send_file(self, digest):
        path, size, _ = next(entry for entry in files.values() if entry[2] == digest)
        wanted = self.headers.get("Range", "")
        start, end = 0, size
        if wanted.startswith("bytes="):
            first, last = wanted[6:].split("-")
            start, end = int(first), min(int(last) + 1, size) if last else size
            if start >= size:
                self.answer(416, Content_Range=f"bytes */{size}")
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(end - start))
        self.send_header("ETag", f'"cdn-{digest[:8]}"')
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Type", "application/octet-stream")
        self.end_headers()
        if self.command == "HEAD":
            return
        with open(path, "rb") as file:
            sent = start
            while sent < end:
                sent += os.sendfile(self.connection.fileno(), file.fileno(), sent, min(end - sent, 1 << 20))


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        pass  # A client that leaves in the middle is nothing to print.


server = Server(("127.0.0.1", port), Handler)
print("ready", flush=True)
server.serve_forever()
