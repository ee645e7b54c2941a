#!/usr/bin/env python3
"""Make sparse projectors (`mmproj`) of the shapes below, measure what libmtmd allocates for them, keep rows and headers.

    projectors.py [--out FILE.tsv] [--headers FOLDER] [NAME...]

No weights exist: the file's data is a hole. llama.cpp b11434's own libmtmd counts, with its real CUDA host code on a
simulated GPU (the rig: $RIG, default ~/.cache/llama-rig). $PROJECTOR is the program built of `projector.cpp` beside this.
"""
import json, os, subprocess, sys, tempfile
from pathlib import Path
import gguf

RIG = Path(os.environ.get("RIG", Path.home() / ".cache/llama-rig"))
PROGRAM = os.environ.get("PROJECTOR", "/tmp/memory/projector")
F32, F16, BF16, Q8_0 = (gguf.GGMLQuantizationType[name] for name in ("F32", "F16", "BF16", "Q8_0"))
COLUMNS = "build file capability flash_attention device weights compute host".split()


class Projector:
    """Hyperparameters and tensors of one file; shapes as llama.cpp prints them, the fastest dimension first."""

    def __init__(self, kind, side="vision", wide=F16):
        self.values, self.tensors, self.wide = {}, {}, wide
        self.values[f"clip.has_{side}_encoder"] = True
        self.values["clip.projector_type"] = kind

    def set(self, **values):
        self.values.update({key.replace("__", "."): value for key, value in values.items()})
        return self

    def tensor(self, name, *shape, kind=None):
        wide = len(shape) > 1 and not name.endswith("position_embd.weight")
        fits = self.wide != Q8_0 or shape[0] % 32 == 0
        self.tensors[name] = (shape, kind or ((self.wide if fits else F16) if wide else F32))
        return self

    def linear(self, name, rows, columns, bias=True):
        self.tensor(f"{name}.weight", rows, columns)
        return self.tensor(f"{name}.bias", columns) if bias else self

    def norm(self, name, width, bias=True):
        self.tensor(f"{name}.weight", width)
        return self.tensor(f"{name}.bias", width) if bias else self

    def vision(self, width, ff, layers, heads, image, patch, projection, **more):
        self.set(**{"clip.vision." + key: value for key, value in {
            "embedding_length": width, "feed_forward_length": ff, "block_count": layers, "attention.head_count": heads,
            "image_size": image, "patch_size": patch, "projection_dim": projection,
            "attention.layer_norm_epsilon": 1e-6, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}.items()})
        return self.set(**{"clip.vision." + key.replace("__", "."): value for key, value in more.items()})

    def audio(self, width, ff, layers, heads, bins, projection, **more):
        self.set(**{"clip.audio." + key: value for key, value in {
            "embedding_length": width, "feed_forward_length": ff, "block_count": layers, "attention.head_count": heads,
            "num_mel_bins": bins, "projection_dim": projection, "attention.layer_norm_epsilon": 1e-5}.items()})
        return self.set(**{"clip.audio." + key.replace("__", "."): value for key, value in more.items()})

    def blocks(self, width, ff, layers, side="v", bias=True, gate=False, fused=False, scales=False, norm_bias=None,
               key_bias=True, head_norm=0, heads_width=None, post_norms=False):
        norm_bias = bias if norm_bias is None else norm_bias
        inner = heads_width or width
        for at in range(layers):
            block = f"{side}.blk.{at}"
            if fused:
                self.linear(f"{block}.attn_qkv", width, 3 * inner, bias)
            else:
                self.linear(f"{block}.attn_q", width, inner, bias)
                self.linear(f"{block}.attn_k", width, inner, bias and key_bias)
                self.linear(f"{block}.attn_v", width, inner, bias)
            self.linear(f"{block}.attn_out", inner, width, bias)
            self.norm(f"{block}.ln1", width, norm_bias)
            self.norm(f"{block}.ln2", width, norm_bias)
            self.linear(f"{block}.ffn_up", width, ff, bias)
            if gate:
                self.linear(f"{block}.ffn_gate", width, ff, bias)
            self.linear(f"{block}.ffn_down", ff, width, bias)
            if scales:
                self.tensor(f"{block}.ls1.weight", width).tensor(f"{block}.ls2.weight", width)
            if head_norm:
                self.norm(f"{block}.attn_q_norm", head_norm, False).norm(f"{block}.attn_k_norm", head_norm, False)
            if post_norms:
                self.norm(f"{block}.attn_post_norm", width, False).norm(f"{block}.ffn_post_norm", width, False)
        return self

    def patches(self, width, patch, bias=True, kind=None):
        self.tensor("v.patch_embd.weight", patch, patch, 3, width, kind=kind)
        return self.tensor("v.patch_embd.bias", width) if bias else self

    def write(self, path):
        writer = gguf.GGUFWriter(path, "clip")
        for key, value in self.values.items():
            add = {bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32, str: writer.add_string,
                   list: writer.add_array}[type(value)]
            if key == "clip.minicpmv_version":
                add = writer.add_int32
            add(key, value)
        total = 0
        for name, (shape, kind) in self.tensors.items():
            size = gguf.quant_shape_to_byte_shape(tuple(reversed(shape)), kind)
            bytes_ = 1
            for one in size:
                bytes_ *= one
            writer.add_tensor_info(name, tuple(reversed(shape)), __import__("numpy").dtype("float32"), bytes_, raw_dtype=kind)
            total += (bytes_ + 31) // 32 * 32
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        writer.close()
        with open(path, "r+b") as file:
            header = file.seek(0, 2)
            header += -header % 32
            file.truncate(header)
        return header, total


MODELS = {}


def model(name):
    def keep(make):
        MODELS[name] = make
        return make
    return keep


def siglip(projector, width, ff, layers, heads, image, patch, projection, **more):
    projector.vision(width, ff, layers, heads, image, patch, projection, **more)
    projector.patches(width, patch).tensor("v.position_embd.weight", width, (image // patch) ** 2)
    return projector.norm("v.post_ln", width).blocks(width, ff, layers)


def gemma3(text, wide=F16):
    one = siglip(Projector("gemma3", wide=wide), 1152, 4304, 27, 16, 896, 14, text)
    one.set(**{"clip.use_gelu": True})
    return one.tensor("mm.input_projection.weight", text, 1152).tensor("mm.soft_emb_norm.weight", 1152)


for size, text in (("4b", 2560), ("12b", 3840), ("27b", 5376)):
    MODELS[f"gemma-3-{size}"] = lambda text=text: gemma3(text)
MODELS["gemma-3-4b-bf16"] = lambda: gemma3(2560, BF16)


def idefics3(width, ff, layers, heads, image, patch, scale, text, wide=F16):
    one = siglip(Projector("idefics3", wide=wide), width, ff, layers, heads, image, patch, text,
                 projector__scale_factor=scale, preproc_image_size=1536)
    return one.set(**{"clip.use_gelu": True}).linear("mm.model.fc", width * scale * scale, text, False)


MODELS["smolvlm2-500m"] = lambda: idefics3(768, 3072, 12, 12, 512, 16, 4, 960)
MODELS["smolvlm2-500m-q8_0"] = lambda: idefics3(768, 3072, 12, 12, 512, 16, 4, 960, Q8_0)
MODELS["smolvlm-2.2b"] = lambda: idefics3(1152, 4304, 27, 16, 384, 14, 3, 2048)


def llava(text, width=1024, ff=4096, layers=23, heads=16, image=336, patch=14):
    one = Projector("mlp").vision(width, ff, layers, heads, image, patch, text)
    one.patches(width, patch, False).tensor("v.class_embd", width)
    one.tensor("v.position_embd.weight", width, (image // patch) ** 2 + 1).norm("v.pre_ln", width)
    one.blocks(width, ff, layers)
    return one.linear("mm.0", width, text).linear("mm.2", text, text)


MODELS["llava-1.5-7b"] = lambda: llava(4096)
MODELS["llava-1.5-13b"] = lambda: llava(5120)


@model("granite-vision-3.2-2b")
def granite_vision():
    one = siglip(Projector("mlp"), 1152, 4304, 27, 16, 384, 14, 2048, feature_layer=[4, 8, 16, 27])
    return one.set(**{"clip.use_gelu": True}).linear("mm.0", 4608, 2048).linear("mm.2", 2048, 2048)


def pixtral(image, patch, text, merge=0, kind="pixtral", layers=24):
    one = Projector(kind).vision(1024, 4096, layers, 16, image, patch, text)
    one.set(**{"clip.use_silu": True}).patches(1024, patch, False).norm("v.pre_ln", 1024, False)
    one.blocks(1024, 4096, layers, bias=False, gate=True)
    one.linear("mm.1", 1024, text).linear("mm.2", text, text)
    if kind == "pixtral":
        one.tensor("v.token_embd.img_break", text)
    if merge:
        one.set(**{"clip.vision.spatial_merge_size": merge}).norm("mm.input_norm", 1024, False)
        one.linear("mm.patch_merger", 1024 * merge * merge, 1024, False)
    return one


MODELS["pixtral-12b"] = lambda: pixtral(1024, 16, 5120)
MODELS["mistral-small-3.1-24b"] = lambda: pixtral(1540, 14, 5120, 2)
MODELS["ministral-3-8b"] = lambda: pixtral(1540, 14, 4096, 2)
MODELS["lightonocr-1b"] = lambda: pixtral(1540, 14, 1024, 2, "lightonocr")


def qwen2vl(text):
    one = Projector("qwen2vl_merger").vision(1280, 5120, 32, 16, 560, 14, text)
    one.patches(1280, 14, False).tensor("v.patch_embd.weight.1", 14, 14, 3, 1280).norm("v.post_ln", 1280)
    return one.blocks(1280, 5120, 32).linear("mm.0", 5120, 5120).linear("mm.2", 5120, text)


MODELS["qwen2-vl-2b"] = lambda: qwen2vl(1536)
MODELS["qwen2-vl-7b"] = lambda: qwen2vl(3584)


def qwen25vl(text, ff=3420, wide=F16):
    one = Projector("qwen2.5vl_merger", wide=wide).vision(1280, ff, 32, 16, 560, 14, text, n_wa_pattern=8)
    one.set(**{"clip.use_silu": True}).patches(1280, 14, False).tensor("v.patch_embd.weight.1", 14, 14, 3, 1280)
    one.norm("v.post_ln", 1280, False).blocks(1280, ff, 32, gate=True, norm_bias=False)
    return one.linear("mm.0", 5120, 5120).linear("mm.2", 5120, text)


MODELS["qwen2.5-vl-3b"] = lambda: qwen25vl(2048)
MODELS["qwen2.5-vl-7b"] = lambda: qwen25vl(3584)
MODELS["qwen2.5-vl-32b"] = lambda: qwen25vl(5120, 3456)


def qwen3vl(width, ff, layers, text, deep):
    one = Projector("qwen3vl_merger").vision(width, ff, layers, 16, 768, 16, text, spatial_merge_size=2)
    one.set(**{"clip.use_gelu": True}).patches(width, 16).tensor("v.patch_embd.weight.1", 16, 16, 3, width)
    one.tensor("v.position_embd.weight", width, 2304).norm("v.post_ln", width)
    one.blocks(width, ff, layers, fused=True)
    for at in deep:
        one.norm(f"v.deepstack.{at}.norm", width * 4).linear(f"v.deepstack.{at}.fc1", width * 4, width * 4)
        one.linear(f"v.deepstack.{at}.fc2", width * 4, text)
    return one.linear("mm.0", width * 4, width * 4).linear("mm.2", width * 4, text)


MODELS["qwen3-vl-2b"] = lambda: qwen3vl(1024, 4096, 24, 2048, (5, 11, 17))
MODELS["qwen3-vl-8b"] = lambda: qwen3vl(1152, 4304, 27, 4096, (8, 16, 24))
MODELS["qwen3-vl-30b-a3b"] = lambda: qwen3vl(1152, 4304, 27, 2048, (8, 16, 24))
MODELS["qwen3.5-9b"] = lambda: qwen3vl(1152, 4304, 27, 4096, ())


def internvl(width, ff, layers, heads, text, big=False, image=448):
    one = Projector("internvl").vision(width, ff, layers, heads, image, 14, text, projector__scale_factor=2)
    one.set(**{"clip.use_gelu": True}).patches(width, 14).tensor("v.class_embd", width)
    one.tensor("v.position_embd.weight", width, (image // 14) ** 2 + 1)
    one.blocks(width, ff, layers, scales=True, head_norm=width if big else 0, norm_bias=not big)
    one.norm("mm.model.mlp.0", width * 4).linear("mm.model.mlp.1", width * 4, text)
    return one.linear("mm.model.mlp.3", text, text)


MODELS["internvl3-2b"] = lambda: internvl(1024, 4096, 24, 16, 1536)
MODELS["internvl3-8b"] = lambda: internvl(1024, 4096, 24, 16, 3584)
MODELS["internvl3-38b"] = lambda: internvl(3200, 12800, 45, 25, 5120, True)


@model("llama-4-scout")
def llama4():
    one = Projector("llama4").vision(1408, 5632, 34, 16, 336, 14, 5120, projector__scale_factor=2)
    one.set(**{"clip.use_gelu": True}).tensor("v.patch_embd.weight", 588, 1408).tensor("v.class_embd", 1408)
    one.tensor("v.position_embd.weight", 1408, 577).norm("v.pre_ln", 1408).norm("v.post_ln", 1408)
    one.blocks(1408, 5632, 34).linear("mm.model.mlp.1", 5632, 4096, False)
    return one.linear("mm.model.mlp.2", 4096, 4096, False).linear("mm.model.fc", 4096, 5120, False)


def gemma4v(width, ff, layers, heads, text):
    one = Projector("gemma4v").vision(width, ff, layers, heads, 224, 16, text, attention__head_count=heads)
    one.patches(width, 16, False).tensor("v.position_embd.weight", width, 10240, 2)
    one.blocks(width, ff, layers, bias=False, gate=True, head_norm=width // heads, post_norms=True)
    return one.tensor("mm.input_projection.weight", width, text)


MODELS["gemma-4-e4b"] = lambda: gemma4v(768, 3072, 16, 12, 2560)
MODELS["gemma-4-31b"] = lambda: gemma4v(1152, 4304, 27, 16, 5376).tensor("v.std_bias", 1152).tensor("v.std_scale", 1152)


@model("glm-4.1v-9b")
def glm4v():
    one = Projector("glm4v").vision(1536, 4096, 24, 12, 336, 14, 4096)
    one.set(**{"clip.use_silu": True}).patches(1536, 14).tensor("v.patch_embd.weight.1", 14, 14, 3, 1536)
    one.norm("v.norm_embd", 1536, False).tensor("v.position_embd.weight", 1536, 576).norm("v.post_ln", 1536, False)
    one.blocks(1536, 4096, 24, fused=True, bias=False, gate=True)
    one.tensor("mm.patch_merger.weight", 2, 2, 1536, 4096).tensor("mm.patch_merger.bias", 4096)
    one.linear("mm.model.fc", 4096, 4096, False).norm("mm.post_norm", 4096)
    return one.linear("mm.up", 4096, 13696, False).linear("mm.gate", 4096, 13696, False).linear("mm.down", 13696, 4096, False)


@model("minicpm-v-2.6")
def minicpmv():
    one = Projector("resampler").vision(1152, 4304, 27, 16, 448, 14, 0)
    one.set(**{"clip.use_gelu": True, "clip.minicpmv_version": 3, "clip.minicpmv_query_num": 64})
    one.patches(1152, 14).tensor("v.position_embd.weight", 1152, 4900).norm("v.post_ln", 1152).blocks(1152, 4304, 27)
    one.tensor("resampler.pos_embed_k", 3584, 4900, kind=F32).tensor("resampler.query", 3584, 64, kind=F32)
    one.linear("resampler.kv", 1152, 3584, False).linear("resampler.proj", 3584, 3584, False)
    for part in "q", "k", "v", "out":
        one.linear(f"resampler.attn.{part}", 3584, 3584)
    return one.norm("resampler.ln_q", 3584).norm("resampler.ln_kv", 3584).norm("resampler.ln_post", 3584)


def lfm2(width, ff, layers, heads, text):
    one = siglip(Projector("lfm2"), width, ff, layers, heads, 256, 16, text, projector__scale_factor=2)
    one.set(**{"clip.use_gelu": True}).norm("mm.input_norm", width * 4)
    return one.linear("mm.1", width * 4, text).linear("mm.2", text, text)


MODELS["lfm2-vl-450m"] = lambda: lfm2(768, 3072, 12, 12, 1024)
MODELS["lfm2-vl-1.6b"] = lambda: lfm2(1152, 4304, 26, 16, 2048)


@model("kimi-vl-a3b")
def kimivl():
    one = siglip(Projector("kimivl"), 1152, 4304, 27, 16, 896, 14, 2048, projector__scale_factor=2)
    one.set(**{"clip.use_gelu": True}).norm("mm.input_norm", 1152)
    return one.linear("mm.1", 4608, 4608).linear("mm.2", 4608, 2048)


@model("janus-pro-7b")
def janus():
    one = siglip(Projector("janus_pro"), 1024, 4096, 24, 16, 384, 16, 4096)
    return one.set(**{"clip.use_gelu": True}).linear("mm.0", 1024, 4096).linear("mm.1", 4096, 4096)


def whisper(kind, projection, width=1280, ff=5120, layers=32, heads=20, bins=128, **more):
    one = Projector(kind, "audio").audio(width, ff, layers, heads, bins, projection, **more)
    one.tensor("a.conv1d.1.weight", 3, bins, width).tensor("a.conv1d.1.bias", 1, width, kind=F32)
    one.tensor("a.conv1d.2.weight", 3, width, width).tensor("a.conv1d.2.bias", 1, width, kind=F32)
    one.tensor("a.position_embd.weight", width, 1500).norm("a.post_ln", width)
    return one.blocks(width, ff, layers, side="a", key_bias=False)


@model("ultravox-0.5-1b")
def ultravox():
    one = whisper("ultravox", 2048, projector__stack_factor=8)
    one.linear("mm.a.mlp.1", 10240, 4096, False).linear("mm.a.mlp.2", 2048, 2048, False)
    return one.norm("mm.a.norm_pre", 10240, False).norm("mm.a.norm_mid", 2048, False)


@model("voxtral-mini-3b")
def voxtral():
    one = whisper("voxtral", 3072, projector__stack_factor=4)
    return one.linear("mm.a.mlp.1", 5120, 3072, False).linear("mm.a.mlp.2", 3072, 3072, False)


@model("qwen2-audio-7b")
def qwen2a():
    return whisper("qwen2a", 4096).linear("mm.a.fc", 1280, 4096)


def measure(name, headers):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.gguf"
        header, data = MODELS[name]().write(path)
        if headers:
            (Path(headers) / f"{name}.gguf").write_bytes(path.read_bytes())
        os.truncate(path, header + data)
        for flash, code in (("auto", -1), ("off", 0)):
            log = Path(folder) / "events"
            environment = dict(os.environ, LLAMA_LIBDIR=str(RIG / "l11434"), FAKE_EVLOG=str(log), FA=str(code),
                               LD_LIBRARY_PATH=f"{RIG}/lib:{RIG}/l11434", FAKE_GPUS="NVIDIA H200:80000:9.0")
            run = subprocess.run([PROGRAM, path], env=environment, capture_output=True, text=True)
            lines = [line for line in run.stdout.splitlines() if line.startswith("{")]
            answer = json.loads(lines[-1]) if lines else {}
            events = [line.split() for line in log.read_text().splitlines()]
            if not answer.get("CUDA0"):
                print(name, "FAILED", run.stderr[-400:], run.stdout[-200:], file=sys.stderr)
                return
            yield answer, events, flash


def main():
    arguments = sys.argv[1:]
    out = headers = None
    while arguments and arguments[0].startswith("--"):
        flag, value = arguments[:2]
        arguments = arguments[2:]
        out, headers = (value, headers) if flag == "--out" else (out, value)
    lines = ["\t".join(COLUMNS)]
    for name in arguments or MODELS:
        for answer, events, flash in measure(name, headers):
            allocated = [int(size) for what, _, size in events if "alloc" in what.lower()]
            # Weights come first; a second attempt without flash attention may grow the compute buffer.
            weights, compute = allocated[0], max(allocated[1:])
            lines.append("\t".join(map(str, ("b11434", name, "9.0", flash, "CUDA0", weights, compute, answer.get("CPU", 0)))))
            print(lines[-1], allocated, flush=True)
    if out:
        Path(out).write_text("\n".join(lines) + "\n")


main()
