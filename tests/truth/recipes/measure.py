#!/usr/bin/env python3
"""Make sparse models of the shapes in models.py, measure what llama.cpp allocates for them, keep rows and headers.

    measure.py [--out FILE.tsv] [--headers FOLDER] NAME...

Nothing is downloaded and no weights exist: the real libllama says which tensors an architecture has, its quantizer
which types they get, and the file's data is a hole. Both builds' real CUDA host code then runs on a simulated GPU
(the rig: $RIG, default ~/.cache/llama-rig, with bin11434/mkmodel, rig11434.sh and rig.sh).
"""
import json, os, re, struct, subprocess, sys, tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import gguf
import numpy as np
from models import MODELS

RIG = Path(os.environ.get("RIG", Path.home() / ".cache/llama-rig"))
RIG_SH = os.environ.get("RIG_SH", "/tmp/rig/rig.sh")
BUILDS = {"v0.5.0": (RIG_SH, "8.6"), "b11434": (str(RIG / "rig11434.sh"), "9.0")}
COLUMNS = ("build file tag gpus capability args n_ctx n_batch n_ubatch type_k type_v fa parallel unified offload_kqv "
           "swa_full op_offload outputs devices host output_mib fa_resolved").split()
# Tensors that ordinary files of an architecture do not have, though llama.cpp would take them.
UNUSUAL = (r"\.(scale|input_scale|scale_inv)$|lora_[ab]|gate_up_exps|ffn_gate_up|^cls|_exps_scale|attn_sub_norm|"
           r"ffn_sub_norm")


def make(name, folder):
    """The sparse file of one model."""
    model = MODELS[name]
    kind, kind_name = model.get("file_type", (15, "Q4_K_M"))
    meta, out = folder / f"{name}.meta", folder / f"{name}-{kind_name}.gguf"
    if out.exists():
        return out
    writer = gguf.GGUFWriter(str(meta), model["architecture"])
    writer.add_string("general.name", name)
    prefix = model["architecture"] + "."
    for key, value in model["keys"].items():
        add = {bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32, str: writer.add_string,
                list: writer.add_array}[type(value)]
        add(key if key.startswith(("xielu.", "tokenizer.")) else prefix + key, value)
    tokens = [f"t{i}" for i in range(model["vocabulary"])]
    tokens[3] = "<0x0A>"
    writer.add_tokenizer_model(model.get("tokenizer", "llama"))
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types([1, 1, 1, 6] + [1] * (len(tokens) - 4))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    library = RIG / "l11434"
    environment = dict(os.environ, MK_ALLOC="1", LLAMA_LIBDIR=str(library), FAKE_GPUS="BIG:8388608:9.0",
                       LD_LIBRARY_PATH=f"{RIG}/lib:{library}")
    without = "|".join(filter(None, [model.get("unusual", UNUSUAL), model["without"]]))
    done = subprocess.run([str(RIG / "bin11434/mkmodel"), str(meta), str(out), str(kind), without], env=environment,
                          capture_output=True, text=True)
    meta.unlink()
    if (model.get("joined") or model.get("tables")) and not done.returncode:
        rewrite(out, model.get("joined"))
    if done.returncode:
        raise RuntimeError(f"{name}: {done.stderr[-1500:]}")
    return out


def rewrite(path, joins):
    """What mkmodel cannot ask for: Q, K and V as one tensor, as published files of some architectures have them, and tables
    of whole numbers."""
    reader = gguf.GGUFReader(path)
    target = Path(f"{path}.joined")
    writer = gguf.GGUFWriter(str(target), reader.fields["general.architecture"].contents())
    for key, field in reader.fields.items():
        if not key.startswith("GGUF.") and key != "general.architecture":
            sub_type = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(key, field.contents(), field.types[0], sub_type=sub_type)
    written, size = set(), 0
    for tensor in reader.tensors:
        dims, kind, name = [int(one) for one in tensor.shape], tensor.tensor_type, tensor.name
        if "tid2eid" in name:
            kind = gguf.GGMLQuantizationType.I32
        part = joins and re.fullmatch(r"(blk\.\d+\.attn_)[qkv]\.(weight|bias)", name)
        if part:
            name = f"{part[1]}qkv.{part[2]}"
            if name in written:
                continue
            dims[-1] = sum(int(one.shape[-1]) for one in reader.tensors
                           if re.fullmatch(re.escape(part[1]) + r"[qkv]\." + part[2], one.name))
            if part[2] == "weight":
                kind = gguf.GGMLQuantizationType.Q5_K
        written.add(name)
        block, size_of_block = gguf.GGML_QUANT_SIZES[kind]
        count = 1
        for one in dims:
            count *= one
        bytes_of = count // block * size_of_block
        writer.add_tensor_info(name, gguf.quant_shape_to_byte_shape(dims[::-1], kind) if block > 1 else dims[::-1],
                               np.dtype(np.uint8) if block > 1 else np.dtype(np.float16 if size_of_block == 2 else np.float32),
                               bytes_of, raw_dtype=kind)
        size += -(-bytes_of // 32) * 32
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    start = -(-target.stat().st_size // 32) * 32
    os.truncate(target, start + size)
    target.replace(path)


def strip(source, target):
    """The header alone: no tokenizer, no data."""
    reader = gguf.GGUFReader(source)
    raw = open(source, "rb").read(reader.data_offset)
    kept = [field for key, field in reader.fields.items() if not key.startswith(("GGUF.", "tokenizer."))]
    body, size = b"", lambda field: sum(part.nbytes for part in field.parts)
    for field in kept:
        body += raw[field.offset:field.offset + size(field)]
    key = (reader.fields["general.architecture"].contents() + ".vocab_size").encode()
    count = len(kept)
    if not any(field.name == key.decode() for field in kept):
        body += struct.pack("<Q", len(key)) + key + struct.pack("<II", 4, len(reader.fields["tokenizer.ggml.tokens"].data))
        count += 1
    for tensor in reader.tensors:
        body += raw[tensor.field.offset:tensor.field.offset + size(tensor.field)]
    data = b"GGUF" + struct.pack("<IQQ", 3, len(reader.tensors), count) + body
    target.write_bytes(data + b"\0" * (-len(data) % 32))


def settings(model, layers):
    """Tag, GPUs, model arguments and contexts, for one model."""
    if model.get("embeds"):
        yield from settings_of_embedder(model, layers)
        return
    server = dict(n_seq_max=4, kv_unified=1, n_outputs_max=4)
    types = lambda kind: dict(type_k=kind, type_v=kind)
    one = [dict(n_ctx=8192, **server), dict(n_ctx=32768, **types("q8_0"), **server),
           dict(n_ctx=131072, **types("q4_0"), **server), dict(n_ctx=32768, n_ubatch=2048, **server),
           dict(n_ctx=16384, n_ubatch=256, n_seq_max=1, n_outputs_max=1),
           dict(n_ctx=32768, n_seq_max=2, kv_unified=0, n_outputs_max=2, **types("q8_0")),
           dict(n_ctx=8192, fa="off", **server), dict(n_ctx=32768, offload_kqv=0, **server)]
    if model.get("windowed"):
        one.append(dict(n_ctx=32768, swa_full=1, **server))
    two = [dict(n_ctx=8192, **server), dict(n_ctx=65536, **types("q8_0"), **server)]
    yield "server", 1, "ngl=999", one
    yield "half", 1, f"ngl={max(layers // 2, 1)}", two
    yield "2gpu", 2, "ngl=999", two
    if model["keys"].get("expert_count"):
        yield "cpumoe", 1, f"ngl=999 n_cpu_moe={max(layers // 2, 1)}", two[1:]
        yield "cpumoe", 1, "ngl=999 n_cpu_moe=99", two[:1]


def settings_of_embedder(model, layers):
    """A whole input is one batch, and every row of it is put out."""
    train = model["keys"]["context_length"]
    def server(tokens, **more):
        size = min(tokens, train)
        return dict(n_ctx=size, n_batch=size, n_ubatch=size, n_seq_max=4, kv_unified=1, n_outputs_max=size, embeddings=1) | more
    one = [server(512), server(2048), server(8192), server(1000), server(2048, fa="off"), server(2048, n_seq_max=1, kv_unified=0),
           server(2048, n_seq_max=2, kv_unified=0), server(2048, embeddings=0, n_outputs_max=4), server(2048, offload_kqv=0)]
    two = [server(2048), server(8192), server(512, fa="off")]
    yield "server", 1, "ngl=999", one
    yield "half", 1, f"ngl={max(layers // 2, 1)}", two
    yield "host", 1, "ngl=0", two
    yield "2gpu", 2, "ngl=999", two
    if model["keys"].get("expert_count"):
        yield "cpumoe", 1, "ngl=999 n_cpu_moe=99", two


def measure(name, file, build, wanted):
    """Rows of one model on one build."""
    script, capability = BUILDS[build]
    rows, refused = [], 0
    layers = MODELS[name]["keys"]["block_count"]
    for tag, gpus, arguments, contexts in settings(MODELS[name], layers):
        contexts = [one for one in contexts if wanted(tag, one)]
        lines = "".join(" ".join(f"{key}={value}" for key, value in one.items()) + "\n" for one in contexts)
        card = f"SIMULATED:2097152:{capability}"
        done = subprocess.run([script, str(file), *arguments.split(), "no_alloc=1"], input=lines, capture_output=True,
                              text=True, env=dict(os.environ, FAKE_GPUS=";".join([card] * gpus)), timeout=900)
        found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")][1:]
        refused += len(contexts) - len(found)
        for given, result in zip(contexts, found):
            if not result.get("ok"):
                refused += 1
                continue
            parts = {key: f"{one['model']}/{one['context']}/{one['compute']}" for key, one in result["breakdown"].items()}
            pick = lambda key, default: str(given.get(key, default))
            rows.append([build, f"own/{file.stem}", tag, str(gpus), capability, arguments + " no_alloc=1" + " embeddings=1" * given.get("embeddings", 0),
                         pick("n_ctx", 0), pick("n_batch", 2048), pick("n_ubatch", 512), pick("type_k", "f16"), pick("type_v", "f16"),
                         pick("fa", "auto"), pick("n_seq_max", 1), pick("kv_unified", 0), pick("offload_kqv", 1),
                         pick("swa_full", 0), "1", pick("n_outputs_max", 0),
                         ",".join(parts.get(f"CUDA{index}", "0/0/0") for index in range(gpus)),
                         ",".join(f"{key}:{one}" for key, one in sorted(parts.items()) if not re.match(r"CUDA\d", key)),
                         "-", "-"])
    return rows, refused


def main():
    arguments = sys.argv[1:]
    option = lambda flag, default: arguments.pop(arguments.index(flag) + 1) if flag in arguments else default
    out, headers = Path(option("--out", "rows.tsv")), Path(option("--headers", "headers"))
    names = [one for one in arguments if not one.startswith("--")] or list(MODELS)
    folder = Path(os.environ.get("MODELS_FOLDER", tempfile.gettempdir())) / "truth-models"
    folder.mkdir(parents=True, exist_ok=True)
    headers.mkdir(parents=True, exist_ok=True)
    # The older build is asked for less: what differs between builds shows in any row. Its dry run (no_alloc) is not what
    # it does on two GPUs, so that is left out.
    wanted = {"b11434": lambda tag, one: True,
              "v0.5.0": lambda tag, one: "embeddings" in one and tag != "2gpu" or tag in ("half", "cpumoe") or tag == "server" and (one.get("n_ubatch") == 2048 or one.get("fa") == "off"
              or one["n_ctx"] in (8192, 131072))}

    def one(name):
        try:
            file = make(name, folder)
        except RuntimeError as error:
            return print(error, flush=True)
        strip(file, headers / file.name)
        for build in BUILDS:
            rows, refused = measure(name, file, build, wanted[build])
            with open(out, "a") as target:
                if not out.stat().st_size:
                    target.write("\t".join(COLUMNS) + "\n")
                target.write("".join("\t".join(row) + "\n" for row in rows))
            print(f"{name} {build}: {len(rows)} rows, {refused} refused", flush=True)
        file.unlink()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(one, names))


if __name__ == "__main__":
    main()
