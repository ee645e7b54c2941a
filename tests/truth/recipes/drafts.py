#!/usr/bin/env python3
"""Measure the context that drafts with a model's own multi-token-prediction layers: rows in the form of more.tsv.

    drafts.py --out FILE.tsv MODEL.gguf...      sparse models, as measure.py makes them; needs the rig, no GPU
"""
import json, os, re, subprocess, sys
from pathlib import Path

RIG = Path(os.environ.get("RIG", Path.home() / ".cache/llama-rig"))
COLUMNS = ("build file tag gpus capability args n_ctx n_batch n_ubatch type_k type_v fa parallel unified offload_kqv "
           "swa_full op_offload outputs devices host output_mib fa_resolved").split()
server = dict(n_seq_max=4, kv_unified=1, n_outputs_max=4)
q8 = dict(type_k="q8_0", type_v="q8_0")
SETTINGS = [
    (1, "ngl=999", [dict(n_ctx=8192, **server), dict(n_ctx=32768, **server), dict(n_ctx=131072, **q8, **server),
                    dict(n_ctx=32768, n_ubatch=2048, **server), dict(n_ctx=16384, n_seq_max=1, n_outputs_max=1),
                    dict(n_ctx=32768, n_seq_max=2, kv_unified=0, n_outputs_max=2), dict(n_ctx=8192, fa="off", **server)]),
    (2, "ngl=999", [dict(n_ctx=32768, **server)]),
    (1, "ngl=24", [dict(n_ctx=32768, **server)]),
]

rows = []
out = sys.argv[sys.argv.index("--out") + 1]
for file in map(Path, sys.argv[3:]):
    for gpus, arguments, contexts in SETTINGS:
        arguments += " mtp=1 ctx_type=1"
        lines = "".join(" ".join(f"{key}={value}" for key, value in dict(one, ctx_type=1).items()) + "\n" for one in contexts)
        done = subprocess.run([str(RIG / "rig11434.sh"), str(file), *arguments.split(), "no_alloc=1"], input=lines,
                              capture_output=True, text=True, env=dict(os.environ, FAKE_GPUS=";".join(["SIMULATED:2097152:9.0"] * gpus)))
        found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")][1:]
        for given, result in zip(contexts, found):
            if not result.get("ok"):
                print(file.stem, given, result.get("log_tail", "")[-3:])
                continue
            parts = {key: f"{one['model']}/{one['context']}/{one['compute']}" for key, one in result["breakdown"].items()}
            pick = lambda key, default: str(given.get(key, default))
            rows.append(["b11434", file.stem, "draft head", str(gpus), "9.0", arguments + " no_alloc=1", pick("n_ctx", 0), "2048",
                         pick("n_ubatch", 512), pick("type_k", "f16"), pick("type_v", "f16"), pick("fa", "auto"),
                         pick("n_seq_max", 1), pick("kv_unified", 0), "1", "0", "1", pick("n_outputs_max", 0),
                         ",".join(parts.get(f"CUDA{index}", "0/0/0") for index in range(gpus)),
                         ",".join(f"{key}:{one}" for key, one in sorted(parts.items()) if not re.match(r"CUDA\d", key)), "-", "-"])
Path(out).write_text("\t".join(COLUMNS) + "\n" + "".join("\t".join(row) + "\n" for row in rows))
print(len(rows), "rows")
