#!/usr/bin/env python3
"""Predicted against real memory of llama-server on this machine's NVIDIA GPU, one row a configuration.

measure.py SERVER LLAMA_DOCTOR HEADERS OUT.jsonl [--jobs N] [--shapes NAME,NAME] [--contexts N,N] [--types T,T] [--predict N]

HEADERS holds real GGUF headers (shapes, types, a synthetic vocabulary) as NAME.gguf.BYTES.xz; each becomes a sparse file of the
true size, whose weights are zeros: memory does not depend on them. Every server is asked for the process's memory through NVML
before the model is loaded (0), after loading, after a prompt that fills two micro-batches, and after a long generation.
Standard library only, no network but loopback."""

import argparse, concurrent.futures, ctypes, json, lzma, os, re, socket, subprocess, sys, tempfile, threading, time, urllib.request


class Nvml:
    """Just enough NVML to ask which process holds how many bytes of GPU 0."""

    class ProcessInfo(ctypes.Structure):
        _fields_ = [("pid", ctypes.c_uint), ("used", ctypes.c_ulonglong), ("gpu_instance", ctypes.c_uint), ("compute_instance", ctypes.c_uint)]

    class Memory(ctypes.Structure):
        _fields_ = [("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong)]

    def __init__(self):
        self.library = ctypes.CDLL("libnvidia-ml.so.1")
        self.check("nvmlInit_v2")
        self.device = ctypes.c_void_p()
        self.check("nvmlDeviceGetHandleByIndex_v2", 0, ctypes.byref(self.device))

    def check(self, name, *arguments):
        code = getattr(self.library, name)(*arguments)
        if code:
            sys.exit(f"{name} failed with NVML code {code}")

    def memory(self):
        memory = Nvml.Memory()
        self.check("nvmlDeviceGetMemoryInfo", self.device, ctypes.byref(memory))
        return {"total": memory.total, "free": memory.free, "used": memory.used}

    def process_bytes(self, pid):
        count = ctypes.c_uint(64)
        processes = (Nvml.ProcessInfo * 64)()
        self.check("nvmlDeviceGetComputeRunningProcesses_v3", self.device, ctypes.byref(count), processes)
        return next((p.used for p in processes[: count.value] if p.pid == pid), None)


def restore(headers, folder):
    models = {}
    for name in sorted(os.listdir(headers)):
        match = re.fullmatch(r"(.+\.gguf)\.(\d+)\.xz", name)
        if not match:
            continue
        path = os.path.join(folder, match[1])
        with open(path, "wb") as file, lzma.open(os.path.join(headers, name)) as header:
            file.write(header.read())
            file.truncate(int(match[2]))
        models[match[1]] = path
    return models


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def post(port, path, body, seconds):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=seconds) as answer:
        return json.load(answer)


BUFFER = re.compile(r"(\S+) +(model|KV|RS|compute|output) buffer size = +([\d.]+) MiB")


def log_buffers(text):
    """Sums the buffer lines of a `-lv 4` log: {device: {model, context, compute, output}} in MiB."""
    buffers = {}
    for device, kind, mib in BUFFER.findall(text):
        kind = {"KV": "context", "RS": "context"}.get(kind, kind)
        part = buffers.setdefault(device, {})
        part[kind] = round(part.get(kind, 0) + float(mib), 2)
    return buffers


def predict(doctor, model, context, cache, parallel):
    """What the program promises for exactly this configuration, or why it does not."""
    if not doctor:
        return None
    command = [doctor, "fit", model, "-c", str(context), "-ctk", cache, "-ctv", cache, "-fa", "on", "-ngl", "all", "--json"]
    command += ["-np", str(parallel), "--kv-unified"]
    done = subprocess.run(command, capture_output=True, text=True)
    try:
        return json.loads(done.stdout)["options"][0]["servers"][0]["memory"]
    except (ValueError, LookupError):
        return {"error": done.stderr.strip()[-300:]}


def measure(server, doctor, nvml, name, model, context, cache, tokens, parallel=4):
    row = {"model": name, "context": context, "cache_type": cache, "predicted": predict(doctor, model, context, cache, parallel)}
    port = free_port()
    arguments = ["-m", model, "-c", str(context), "-ctk", cache, "-ctv", cache, "-fa", "on", "-ngl", "all", "--fit", "off", "-b", "2048", "-ub", "512"]
    arguments += ["-np", str(parallel), "--kv-unified", "--host", "127.0.0.1", "--port", str(port), "-lv", "4", "--cache-ram", "0"]
    with tempfile.TemporaryFile("w+") as log:
        started = time.monotonic()
        process = subprocess.Popen([server, *arguments], stdout=log, stderr=log)
        try:
            while True:
                if process.poll() is not None:
                    raise RuntimeError(f"the server ended with {process.returncode}")
                if time.monotonic() - started > 240:
                    raise RuntimeError("the server was not ready after 240 s")
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2)
                    break
                except OSError:
                    time.sleep(0.2)
            row["ready_seconds"] = round(time.monotonic() - started, 1)
            row["process_after_load"] = nvml.process_bytes(process.pid)
            row["device_after_load"] = nvml.memory()
            prompt = [(7 * i) % 1000 + 5 for i in range(2048)]
            answer = post(port, "/completion", {"prompt": prompt, "n_predict": 1, "ignore_eos": True, "temperature": 0}, 300)
            row["process_after_prompt"] = nvml.process_bytes(process.pid)
            row["prompt_tokens_per_second"] = round(answer["timings"]["prompt_per_second"], 1)
            answer = post(port, "/completion", {"prompt": prompt[:16], "n_predict": tokens, "ignore_eos": True, "temperature": 0}, 300)
            row["process_after_generation"] = nvml.process_bytes(process.pid)
            row["generated"] = answer["timings"]["predicted_n"]
            row["tokens_per_second"] = round(answer["timings"]["predicted_per_second"], 1)
        except (RuntimeError, OSError, ValueError, LookupError) as error:
            row["error"] = str(error)
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
        log.seek(0)
        text = log.read()
        row["buffers_mib"] = log_buffers(text)
        if "error" in row:
            row["log_tail"] = text[-1500:]
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("server"), parser.add_argument("doctor"), parser.add_argument("headers"), parser.add_argument("out")
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument("--shapes", default="")
    parser.add_argument("--contexts", default="8192,65536")
    parser.add_argument("--types", default="f16,q8_0,q4_0")
    parser.add_argument("--predict", type=int, default=1000)
    options = parser.parse_args()
    nvml, lock = Nvml(), threading.Lock()
    with tempfile.TemporaryDirectory(prefix="llama-doctor-gpu-") as folder:
        models = restore(options.headers, folder)
        wanted = [name for name in models if not options.shapes or any(one in name for one in options.shapes.split(","))]
        jobs = [(n, c, t) for n in wanted for c in map(int, options.contexts.split(",")) for t in options.types.split(",")]
        doctor = options.doctor if os.path.exists(options.doctor) else None
        # Servers run side by side while their weights, and as much again for caches, fit the card together.
        budget, room = [nvml.memory()["free"]], threading.Condition()

        def one(job):
            cost = min(2 * os.path.getsize(models[job[0]]) + (8 << 30), nvml.memory()["total"] * 9 // 10)
            with room:
                room.wait_for(lambda: budget[0] >= cost)
                budget[0] -= cost
            try:
                one_alone(job)
            finally:
                with room:
                    budget[0] += cost
                    room.notify_all()

        def one_alone(job):
            name, context, cache = job
            row = measure(options.server, doctor, nvml, name, models[name], context, cache, options.predict)
            with lock, open(options.out, "a") as out:
                out.write(json.dumps(row) + "\n")
            print(name, context, cache, row.get("process_after_generation"), row.get("error", ""), flush=True)

        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            list(pool.map(one, jobs))


if __name__ == "__main__":
    main()
