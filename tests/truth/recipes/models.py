"""Shapes of models, after their published configurations; some with fewer layers, which are alike anyway."""

MODELS = {}
BIASES = r"\.bias$"
HEAD_NORMS = "attn_[qk]_norm"
ROPE_FACTORS = "rope_freqs|rope_factors"
JOINED = "attn_qkv"
PARTS = r"attn_[qkv]\.(weight|bias)"
TIED = r"^output\.weight$"


def shape(train, width, layers, forward, heads, kv_heads, **more):
    """The keys that every architecture has; `__` in a name is a dot."""
    keys = {"context_length": train, "embedding_length": width, "block_count": layers, "feed_forward_length": forward,
            "attention.head_count": heads, "attention.head_count_kv": kv_heads,
            "attention.layer_norm_rms_epsilon": 1e-5, "attention.layer_norm_epsilon": 1e-5, "rope.freq_base": 1e4}
    return keys | {key.replace("__", "."): value for key, value in more.items()}


def heads(size, value=None):
    return {"attention.key_length": size, "attention.value_length": value or size}


def experts(count, used, forward, **more):
    keys = {"expert_count": count, "expert_used_count": used, "expert_feed_forward_length": forward}
    return keys | more


def model(name, architecture, vocabulary, keys, without="", **more):
    """`without`: tensors that llama.cpp would take and the published model has not."""
    if isinstance(without, (list, tuple)):
        without = "|".join(without)
    MODELS[name] = dict(architecture=architecture, vocabulary=vocabulary, keys=keys, without=without, **more)


PLAIN = [BIASES, ROPE_FACTORS, JOINED]
OUTPUT_BIASES = r"(attn_output|ffn_(up|down|gate)|^output)\.bias"

# Dense decoders, one after another as they were published.
model("Baichuan2-7B", "baichuan", 125696, shape(4096, 4096, 32, 11008, 32, 32), [*PLAIN, HEAD_NORMS])
model("Baichuan2-13B", "baichuan", 125696, shape(4096, 5120, 40, 13696, 40, 40), [*PLAIN, HEAD_NORMS])
model("Falcon-7B", "falcon", 65024, shape(2048, 4544, 12, 18176, 71, 1), [ROPE_FACTORS, PARTS, "attn_norm_2", r"(attn_qkv|attn_output|ffn_(up|down))\.bias"])
model("Falcon-40B", "falcon", 65024, shape(2048, 8192, 8, 32768, 128, 8), [ROPE_FACTORS, PARTS, r"(attn_qkv|attn_output|ffn_(up|down))\.bias"])
model("Pythia-6.9B", "gptneox", 50432, shape(2048, 4096, 12, 16384, 32, 32, use_parallel_residual=True, rope__dimension_count=32), [ROPE_FACTORS, PARTS])
model("GPT-NeoX-Sequential", "gptneox", 50432, shape(2048, 2560, 8, 10240, 32, 32, use_parallel_residual=False, rope__dimension_count=20), [ROPE_FACTORS, PARTS])
model("GPT-2-XL", "gpt2", 50257, shape(1024, 1600, 12, 6400, 25, 25), [ROPE_FACTORS, PARTS, TIED])
model("StarCoder-15B", "starcoder", 49152, shape(8192, 6144, 10, 24576, 48, 1), [ROPE_FACTORS, PARTS])
model("MPT-7B", "mpt", 50432, shape(2048, 4096, 12, 16384, 32, 32, attention__max_alibi_bias=8.0), [BIASES, ROPE_FACTORS, PARTS, HEAD_NORMS, "position_embd", TIED, "ffn_act", "ffn.act"])
model("BLOOM-7B1", "bloom", 250880, shape(2048, 4096, 10, 16384, 32, 32), [ROPE_FACTORS, PARTS, TIED])
model("StableLM-2-1.6B", "stablelm", 100352, shape(4096, 2048, 12, 5632, 32, 32, rope__dimension_count=16), [ROPE_FACTORS, JOINED, HEAD_NORMS, OUTPUT_BIASES])
model("StableLM-2-12B", "stablelm", 100352, shape(4096, 5120, 10, 13824, 32, 8, rope__dimension_count=40), [ROPE_FACTORS, JOINED, "ffn_norm", OUTPUT_BIASES, r"attn_[qkv]\.bias"])
model("Phi-2", "phi2", 51200, shape(2048, 2560, 12, 10240, 32, 32, rope__dimension_count=32), [ROPE_FACTORS, JOINED], joined=True)
model("PhiMoE-3.5", "phimoe", 32064, shape(131072, 4096, 10, 6400, 32, 8, rope__dimension_count=128, attention__sliding_window=131072, rope__scaling__original_context_length=4096, **experts(16, 2, 6400)), [JOINED, "rope_freqs", r"ffn_(up|down|gate)(_exps|_inp)?\.bias"])
model("Orion-14B", "orion", 84608, shape(4096, 5120, 10, 15360, 40, 40), [ROPE_FACTORS, JOINED, r"(attn_[qkv]|attn_output|ffn_(up|down|gate))\.bias"])
model("OLMo-7B", "olmo", 50304, shape(4096, 4096, 10, 11008, 32, 32, attention__clamp_kqv=8.0), PLAIN)
model("OpenELM-3B", "openelm", 32000, shape(2048, 3072, 8, [768 + 1024 * i for i in range(8)], [12, 12, 16, 16, 20, 20, 24, 24], [3, 3, 4, 4, 5, 5, 6, 6], **heads(128)), [BIASES, ROPE_FACTORS])
model("Arctic", "arctic", 32000, shape(4096, 7168, 5, 4864, 56, 8, **experts(128, 2, 4864)), PLAIN)
model("DBRX", "dbrx", 100352, shape(32768, 6144, 6, 10752, 48, 8, attention__clamp_kqv=8.0, **experts(16, 4, 10752)), [BIASES, ROPE_FACTORS, PARTS])
model("Jais-13B", "jais", 84992, shape(2048, 5120, 8, 13653 // 256 * 256, 40, 40, attention__max_alibi_bias=8.0), [ROPE_FACTORS, PARTS])
model("MiniCPM-2B", "minicpm", 122753, shape(4096, 2304, 10, 5760, 36, 36, rope__dimension_count=64, embedding_scale=12.0, residual_scale=0.22, logit_scale=9.0), [*PLAIN, HEAD_NORMS, TIED])
model("Nemotron-4-15B", "nemotron", 256000, shape(4096, 6144, 8, 24576, 48, 8, rope__dimension_count=64), [ROPE_FACTORS, JOINED, r"(attn_[qkv]|attn_output|ffn_(up|down))\.bias"])
model("ChatGLM3-6B", "chatglm", 65024, shape(8192, 4096, 10, 13696, 32, 2, rope__dimension_count=64), [ROPE_FACTORS, JOINED, r"(attn_output|ffn_(up|down))\.bias"], joined=True)
model("Arcee-AFM-4.5B", "arcee", 128004, shape(65536, 2560, 10, 18432, 20, 4, rope__dimension_count=128, **heads(128)), PLAIN)
model("Apertus-8B", "apertus", 131072, shape(65536, 4096, 8, 21504, 32, 8, rope__dimension_count=128, xielu__alpha_n=0.8, xielu__alpha_p=0.8, xielu__beta=0.5, xielu__eps=1e-6), [BIASES, "rope_factors", JOINED])
model("CodeShell-7B", "codeshell", 70144, shape(8192, 4096, 10, 16384, 32, 8), [ROPE_FACTORS, JOINED], joined=True)
model("XVERSE-7B", "xverse", 100534, shape(8192, 4096, 10, 11008, 32, 32), PLAIN)
model("PLaMo-13B", "plamo", 50432, shape(4096, 5120, 8, 13824, 40, 5), PLAIN)
model("InternLM2.5-7B", "internlm2", 92544, shape(32768, 4096, 12, 14336, 32, 8), PLAIN)
model("EXAONE-3.5-7.8B", "exaone", 102400, shape(32768, 4096, 10, 14336, 32, 8), [BIASES, "rope_factors", JOINED])
model("Qwen-7B", "qwen", 151936, shape(32768, 4096, 10, 22016, 32, 32), [ROPE_FACTORS, PARTS, r"(attn_output|ffn_(up|down|gate))\.bias"])
model("Refact-1.6B", "refact", 49216, shape(4096, 2048, 10, 5632, 32, 1), PLAIN)
model("Nemotron-Super-49B", "deci", 128256, shape(131072, 8192, 8, [28672, 28672, 14336, 7168, 28672, 28672, 14336, 28672], [64, 64, 0, 0, 64, 0, 64, 64], [8, 8, 0, 0, 8, 0, 8, 8], rope__dimension_count=128, **heads(128)), [BIASES, "rope_factors", JOINED])
model("Hunyuan-7B", "hunyuan-dense", 128167, shape(262144, 4096, 10, 14336, 32, 8, **heads(128)), PLAIN)
model("Pangu-Embedded-7B", "pangu-embedded", 153376, shape(32768, 4096, 10, 12800, 32, 8), [ROPE_FACTORS, JOINED, r"ffn_(up|down|gate)\.bias|^output\.bias"])

# Mixtures of experts.
model("DeepSeek-MoE-16B", "deepseek", 102400, shape(4096, 2048, 10, 10944, 16, 16, leading_dense_block_count=1, expert_shared_count=2, **experts(64, 6, 1408, expert_weights_scale=1.0)), PLAIN)
model("Ling-Lite", "bailingmoe", 126464, shape(16384, 2048, 10, 5632, 16, 4, leading_dense_block_count=0, expert_shared_count=2, **experts(64, 6, 1408, expert_weights_norm=True), **heads(128)), PLAIN)
model("Ling-Mini-2.0", "bailingmoe2", 157184, shape(32768, 2048, 10, 5120, 16, 4, leading_dense_block_count=1, expert_shared_count=1, expert_shared_feed_forward_length=512, rope__dimension_count=64, expert_group_count=8, expert_group_used_count=4, **experts(256, 8, 512, expert_weights_norm=True, expert_weights_scale=2.5, expert_gating_func=2), **heads(128)), [r"(attn|ffn_(up|down|gate))[a-z_]*\.bias", ROPE_FACTORS, PARTS])

# Second batch: windows, gates, routers of their own kind.
MOE_BIASES = r"(attn|ffn_(up|down|gate))[a-z_]*\.bias"
# llama.cpp asks for gate and up of an expert as one tensor first, where an architecture may have it.
JOINED_EXPERTS = r"\.(scale|input_scale|scale_inv)$|lora_[ab]|^cls|_exps_scale|nextn"
pattern = lambda layers, every: [(layer + 1) % every != 0 for layer in range(layers)]
model("SmallThinker-21B-A3B", "smallthinker", 151936, shape(16384, 2560, 12, 768, 28, 4, attention__sliding_window=4096, **experts(64, 6, 768, expert_gating_func=2), **heads(128)), PLAIN, windowed=True)
model("EXAONE-MoE-30B", "exaone-moe", 153600, shape(131072, 2048, 12, 10240, 32, 4, attention__sliding_window=128, leading_dense_block_count=1, expert_shared_count=1, **experts(128, 8, 1024, expert_gating_func=2, expert_weights_norm=True, expert_weights_scale=2.5), **heads(128)), [MOE_BIASES, ROPE_FACTORS, JOINED], windowed=True)
model("Trinity-Mini", "afmoe", 200192, shape(131072, 2048, 12, 6144, 32, 4, attention__sliding_window=2048, leading_dense_block_count=2, expert_shared_count=1, **experts(128, 8, 1024, expert_gating_func=2, expert_weights_norm=True, expert_weights_scale=2.826), **heads(128)), [MOE_BIASES, ROPE_FACTORS, JOINED], windowed=True)
model("PLaMo-3-8B", "plamo3", 107520, shape(4096, 4096, 16, 16384, 32, 4, attention__sliding_window=2048, **heads(128)), [BIASES, ROPE_FACTORS], windowed=True)
MIMO = [0, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 0]
model("MiMo-V2-Flash", "mimo2", 152576, shape(262144, 4096, 12, 16384, [64] * 12, [8 if one else 4 for one in MIMO], attention__sliding_window=128, attention__sliding_window_pattern=[bool(one) for one in MIMO], leading_dense_block_count=1, rope__dimension_count=64, attention__value_scale=0.707, **experts(256, 8, 2048, expert_gating_func=2), **heads(192, 128)), [r"(attn_[a-z]+|ffn_(up|down|gate))\.bias", ROPE_FACTORS, JOINED], windowed=True)
model("Step-3.5-Flash", "step35", 128896, shape(262144, 4096, 12, 11264, [64 if one % 4 == 0 else 96 for one in range(12)], [8] * 12, attention__sliding_window=512, attention__sliding_window_pattern=[one % 4 != 0 for one in range(12)], leading_dense_block_count=3, expert_shared_count=1, expert_shared_feed_forward_length=1280, **experts(288, 8, 1280, expert_gating_func=2, expert_weights_norm=True, expert_weights_scale=3.0), **heads(128)), [MOE_BIASES, ROPE_FACTORS, JOINED], windowed=True)
model("Command-A-MoE", "cohere2moe", 256000, shape(131072, 4096, 12, 16384, 32, 8, attention__sliding_window=4096, logit_scale=0.25, leading_dense_block_count=1, expert_shared_count=1, rope__dimension_count=128, **experts(64, 6, 1536, expert_weights_norm=True, expert_gating_func=2), **heads(128)), [BIASES, ROPE_FACTORS, JOINED], windowed=True, unusual=JOINED_EXPERTS)
model("Grok-2", "grok", 131072, shape(131072, 8192, 4, 32768, 64, 8, **experts(8, 2, 16384), **heads(128)), PLAIN)
model("Laguna-XS", "laguna", 100352, shape(262144, 2048, 12, 8192, [48 if one % 4 == 0 else 64 for one in range(12)], [8] * 12, attention__sliding_window=512, leading_dense_block_count=1, expert_shared_count=1, expert_shared_feed_forward_length=512, rope__dimension_count=64, **experts(256, 8, 512, expert_gating_func=2, expert_weights_norm=True, expert_weights_scale=2.5), **heads(128)), [MOE_BIASES, ROPE_FACTORS, JOINED], windowed=True)
model("Granite-SWA", "granite_swa", 100352, shape(131072, 4096, 12, 12800, 32, 8, attention__sliding_window=1024, attention__sliding_window_pattern=pattern(12, 4), rope__dimension_count=128, logit_scale=16.0, residual_scale=0.22, embedding_scale=12.0, attention__scale=0.0078125), [BIASES, ROPE_FACTORS, JOINED, TIED], windowed=True)
model("Mellum-2", "mellum", 98304, shape(131072, 2304, 12, 7168, 32, 4, attention__sliding_window=1024, **experts(64, 8, 896), **heads(128)), PLAIN, windowed=True)
model("Jais-2-8B", "jais2", 150272, shape(8192, 3328, 10, 26624, 26, 26, **heads(128)), [ROPE_FACTORS, JOINED])
model("Maincoder-1B", "maincoder", 151936, shape(2048, 1536, 10, 4096, 16, 4, **heads(96)), PLAIN)
model("Spark-2.5", "spark2_5", 131072, shape(131072, 2048, 12, 8192, [16] * 12, [4] * 12, attention__sliding_window=1024, attention__sliding_window_pattern=pattern(12, 4), **heads(128)), PLAIN, windowed=True)
model("PaddleOCR-VL", "paddleocr", 103424, shape(131072, 1024, 10, 3072, 16, 2, rope__dimension_sections=[16, 24, 24, 0], **heads(128)), [*PLAIN, HEAD_NORMS])
model("HunyuanOCR", "hunyuan_vl", 120818, shape(32768, 1024, 10, 3584, 16, 8, rope__dimension_sections=[16, 16, 16, 16], **heads(128)), PLAIN)
model("Hunyuan-V3", "hy_v3", 120832, shape(262144, 4096, 10, 13312, 64, 8, leading_dense_block_count=1, expert_shared_count=1, expert_shared_feed_forward_length=1536, **experts(192, 8, 1536, expert_gating_func=2, expert_weights_norm=True, expert_weights_scale=2.826), **heads(128)), [MOE_BIASES, ROPE_FACTORS, JOINED], unusual=JOINED_EXPERTS)
model("Qwen2-VL-7B", "qwen2vl", 152064, shape(32768, 3584, 10, 18944, 28, 4, rope__dimension_sections=[16, 24, 24, 0]), [OUTPUT_BIASES, ROPE_FACTORS, JOINED])
model("GLM-4.5V", "glm4moe", 151552, shape(131072, 4096, 9, 10944, 96, 8, leading_dense_block_count=1, nextn_predict_layers=1, expert_shared_count=1, rope__dimension_count=64, rope__dimension_sections=[8, 12, 12, 0], **experts(128, 8, 1408, expert_gating_func=2, expert_weights_norm=True, expert_weights_scale=1.0), **heads(128)), [r"(attn_output|ffn_(up|down|gate))[a-z_]*\.bias", ROPE_FACTORS, JOINED, HEAD_NORMS])
model("Kimi-K2", "deepseek2", 163840, shape(131072, 7168, 6, 18432, 64, 1, leading_dense_block_count=1, attention__q_lora_rank=1536, attention__kv_lora_rank=512, attention__key_length_mla=192, attention__value_length_mla=128, rope__dimension_count=64, expert_shared_count=1, **experts(384, 8, 2048, expert_gating_func=2, expert_weights_norm=True, expert_weights_scale=2.827), **heads(576, 512)), [MOE_BIASES, ROPE_FACTORS, JOINED, r"attn_kv_b\.", r"attn_q\."], unusual=JOINED_EXPERTS)
model("ERNIE-4.5-0.3B", "ernie4_5", 103424, shape(131072, 1024, 18, 3072, 16, 2, **heads(128)), [*PLAIN, HEAD_NORMS, TIED])

# Sparse attention with an indexer.
model("DeepSeek-V3.2", "deepseek32", 129280, shape(163840, 7168, 6, 18432, 128, 1, leading_dense_block_count=1, attention__q_lora_rank=1536, attention__kv_lora_rank=512, attention__key_length_mla=192, attention__value_length_mla=128, attention__indexer__head_count=64, attention__indexer__key_length=128, attention__indexer__top_k=2048, rope__dimension_count=64, expert_shared_count=1, expert_group_count=8, expert_group_used_count=4, **experts(256, 8, 2048, expert_gating_func=2, expert_weights_norm=True, expert_weights_scale=2.5), **heads(576, 512)), [r"(attn_[a-z_]+|ffn_(up|down|gate))\.bias", ROPE_FACTORS, JOINED, r"attn_kv_b\.", r"attn_q\."], unusual=JOINED_EXPERTS)
model("GLM-5", "glm-dsa", 154880, shape(202752, 6144, 7, 12288, 64, 1, leading_dense_block_count=1, nextn_predict_layers=1, attention__q_lora_rank=2048, attention__kv_lora_rank=512, attention__key_length_mla=256, attention__value_length_mla=256, attention__indexer__head_count=32, attention__indexer__key_length=128, attention__indexer__top_k=2048, rope__dimension_count=64, expert_shared_count=1, **experts(256, 8, 2048, expert_gating_func=2, expert_weights_norm=True, expert_weights_scale=2.5), **heads(576, 512)), [r"(attn_[a-z_]+|ffn_(up|down|gate))\.bias", ROPE_FACTORS, JOINED, r"attn_kv_b\.", r"attn_q\."], unusual=r"\.(scale|input_scale|scale_inv)$|lora_[ab]|^cls|_exps_scale")

WITH_NEXTN = r"\.(scale|input_scale|scale_inv)$|lora_[ab]|^cls|_exps_scale"
# Layers that predict further tokens: llama.cpp skips most of them, not all of each.
model("Step-3.5-Flash-MTP", "step35", 128896, shape(262144, 4096, 9, 11264, [64 if one % 4 == 0 else 96 for one in range(9)], [8] * 9, attention__sliding_window=512, attention__sliding_window_pattern=[one % 4 != 0 for one in range(9)], leading_dense_block_count=3, nextn_predict_layers=1, expert_shared_count=1, expert_shared_feed_forward_length=1280, **experts(288, 8, 1280, expert_gating_func=2, expert_weights_norm=True, expert_weights_scale=3.0), **heads(128)), [MOE_BIASES, ROPE_FACTORS, JOINED], windowed=True, unusual=WITH_NEXTN)
model("Hunyuan-V3-MTP", "hy_v3", 120832, shape(262144, 4096, 7, 13312, 64, 8, leading_dense_block_count=1, nextn_predict_layers=1, expert_shared_count=1, expert_shared_feed_forward_length=1536, **experts(192, 8, 1536, expert_gating_func=2, expert_weights_norm=True, expert_weights_scale=2.826), **heads(128)), [MOE_BIASES, ROPE_FACTORS, JOINED], unusual=WITH_NEXTN)
model("Command-A-MoE-MTP", "cohere2moe", 256000, shape(131072, 4096, 9, 16384, 32, 8, attention__sliding_window=4096, logit_scale=0.25, leading_dense_block_count=1, nextn_predict_layers=1, expert_shared_count=1, rope__dimension_count=128, **experts(64, 6, 1536, expert_weights_norm=True, expert_gating_func=2), **heads(128)), [BIASES, ROPE_FACTORS, JOINED], windowed=True, unusual=WITH_NEXTN)

# Gemma 3n, Gemma 4, Llama 4: shared caches, inputs of every layer, heads of two sizes.
GEMMA = r"\.(input_scale|scale_inv)$|lora_[ab]|(attn_[a-z]+|ffn_(up|down|gate))\.scale$|output\.scale|embd\.scale"
WINDOWS = {"attention.key_length_swa": 256, "attention.value_length_swa": 256, "rope.dimension_count": 512, "rope.dimension_count_swa": 256}
model("Gemma-4-26B-A4B", "gemma4", 262144, shape(262144, 2816, 30, 2112, 16, [8 if one else 2 for one in pattern(30, 6)], attention__sliding_window=1024, attention__sliding_window_pattern=pattern(30, 6), attention__shared_kv_layers=0, embedding_length_per_layer_input=0, final_logit_softcapping=30.0, **WINDOWS, **experts(128, 8, 704), **heads(512)), [BIASES, JOINED, TIED], unusual=GEMMA, windowed=True)
model("Gemma-4-E2B", "gemma4", 262144, shape(131072, 1536, 35, 6144, 8, 1, attention__sliding_window=512, attention__sliding_window_pattern=pattern(35, 5), attention__shared_kv_layers=20, embedding_length_per_layer_input=256, final_logit_softcapping=30.0, **WINDOWS, **heads(512)), [BIASES, JOINED, TIED], unusual=GEMMA, windowed=True)
model("Gemma-3n-E2B", "gemma3n", 262400, shape(32768, 2048, 30, 8192, 8, 2, attention__sliding_window=512, attention__shared_kv_layers=10, embedding_length_per_layer_input=256, **heads(256)), [BIASES, ROPE_FACTORS, JOINED, TIED], unusual=GEMMA, windowed=True)
model("Llama-4-Maverick", "llama4", 202048, shape(1048576, 5120, 8, 16384, 40, 8, rope__dimension_count=128, interleave_moe_layer_step=2, **experts(128, 1, 8192), **heads(128)), [BIASES, "rope_factors", JOINED], windowed=True)
model("Mistral-Large-3", "deepseek2", 131072, shape(262144, 7168, 6, 16384, 128, 1, leading_dense_block_count=1, attention__q_lora_rank=1536, attention__kv_lora_rank=512, attention__key_length_mla=192, attention__value_length_mla=128, attention__temperature_scale=0.1, attention__temperature_length=8192, rope__dimension_count=64, expert_shared_count=1, **experts(128, 4, 4096, expert_gating_func=1, expert_weights_norm=True, expert_weights_scale=1.0), **heads(576, 512)), [MOE_BIASES, ROPE_FACTORS, JOINED, r"attn_kv_b\.", r"attn_q\."], unusual=JOINED_EXPERTS)

# Encoders: no cache, embeddings out. Pooling is 1 = mean, 2 = first token, 4 = rank.
def encoder(name, architecture, vocabulary, train, width, layers, forward, heads, pooling, without, kv_heads=None, types=2, unusual=None, joined=False, **more):
    keys = shape(train, width, layers, forward, heads, kv_heads or heads, attention__causal=False, pooling_type=pooling, **more)
    if types:
        keys["tokenizer.ggml.token_type_count"] = types
    model(name, architecture, vocabulary, keys, without, embeds=True, joined=joined, **(dict(unusual=unusual) if unusual else {}))


HEADLESS = [JOINED, r"^cls"]
WITH_HEAD = r"\.(scale|input_scale|scale_inv)$|lora_[ab]"
encoder("BGE-Small-EN-1.5", "bert", 30522, 512, 384, 12, 1536, 12, 2, HEADLESS)
encoder("MiniLM-L6-v2", "bert", 30522, 512, 384, 6, 1536, 12, 1, HEADLESS)
encoder("BGE-Large-EN-1.5", "bert", 30522, 512, 1024, 24, 4096, 16, 2, HEADLESS)
encoder("BGE-M3", "bert", 250002, 8192, 1024, 24, 4096, 16, 2, HEADLESS, types=1)
encoder("BGE-Reranker-v2-M3", "bert", 250002, 8192, 1024, 24, 4096, 16, 4, [JOINED, r"cls\.norm"], types=1, unusual=WITH_HEAD)
encoder("Nomic-Embed-Text-1.5", "nomic-bert", 30528, 2048, 768, 12, 3072, 12, 1, [r"(attn_[qkv]|attn_output|ffn_up|ffn_down)\.bias", JOINED], rope__freq_base=1000.0, joined=True)
encoder("Nomic-Embed-Text-2-MoE", "nomic-bert-moe", 250048, 512, 768, 12, 3072, 12, 1, [JOINED], types=1, joined=True, moe_every_n_layers=2, expert_count=8, expert_used_count=2)
encoder("NeoBERT", "neo-bert", 30522, 4096, 768, 28, 2048, 12, 1, HEADLESS[1:], types=0)
encoder("Jina-v2-Base-EN", "jina-bert-v2", 30528, 8192, 768, 12, 3072, 12, 1, [JOINED, r"^cls", HEAD_NORMS, "attn_norm_2", r"ffn_up\.bias"])
encoder("Jina-v2-Base-Code", "jina-bert-v2", 61056, 8192, 768, 12, 3072, 12, 1, [JOINED, r"^cls", r"ffn_up\.bias"])
encoder("Jina-v3", "jina-bert-v3", 250002, 8192, 1024, 24, 4096, 16, 1, HEADLESS, types=1)
encoder("ModernBERT-Base", "modern-bert", 50368, 8192, 768, 22, 1152, 12, 2, [r"blk\.0\.attn_norm", r"^cls", r"\.bias"], types=0, attention__sliding_window=128)
encoder("GTE-Reranker-ModernBERT", "modern-bert", 50368, 8192, 768, 22, 1152, 12, 4, [r"blk\.0\.attn_norm", r"\.bias$"], types=0, attention__sliding_window=128, classifier__pooling_type=1, unusual=WITH_HEAD)
encoder("EuroBERT-210M", "eurobert", 128256, 8192, 768, 12, 3072, 12, 1, [BIASES, JOINED], types=0)
encoder("EuroBERT-610M", "eurobert", 128256, 8192, 1152, 26, 4096, 18, 1, [BIASES, JOINED], kv_heads=6, types=0)
encoder("Llama-Embed-Nemotron-8B", "llama-embed", 128256, 131072, 4096, 32, 14336, 32, 1, [BIASES, JOINED, "rope_factors"], kv_heads=8, types=0, rope__dimension_count=128)
encoder("EmbeddingGemma-300M", "gemma-embedding", 262144, 2048, 768, 24, 1152, 3, 1, [BIASES, JOINED, TIED, r"^dense"], kv_heads=1, types=0, attention__sliding_window=257, **heads(256))
encoder("EmbeddingGemma-300M-Dense", "gemma-embedding", 262144, 2048, 768, 24, 1152, 3, 1, [BIASES, JOINED, TIED], kv_heads=1, types=0, attention__sliding_window=257, dense_2_feat_in=768, dense_2_feat_out=3072, dense_3_feat_in=3072, dense_3_feat_out=768, **heads(256))

# Decoders with something of their own.
BITNET = r"\.(scale|input_scale|scale_inv)$|lora_[ab]|^cls"
WIDE = r"\.(scale|input_scale|scale_inv)$|lora_[ab]|^cls|_exps_scale|gate_up_exps"
model("BitNet-b1.58-3B", "bitnet", 32002, shape(2048, 3200, 26, 8640, 32, 32), [BIASES, ROPE_FACTORS, JOINED, r"^output\.weight"], unusual=BITNET)
model("GroveMoE-33B", "grovemoe", 151936, shape(131072, 2048, 12, 6144, 32, 4, expert_chunk_feed_forward_length=128, experts_per_group=2, expert_group_scale=0.05, **experts(128, 8, 768), **heads(128)), PLAIN)
model("Talkie-13B", "talkie", 65536, shape(8192, 5120, 10, 13696, 40, 40, logit_scale=0.5, rope__dimension_count=128, **heads(128)), PLAIN)
model("Nanbeige-4.1-3B", "nanbeige", 166144, shape(65536, 2560, 10, 10496, 20, 4, rope__dimension_count=128, **heads(128)), PLAIN)
model("Nanbeige-Looped-3B", "nanbeige", 166144, shape(65536, 2560, 8, 10496, 20, 4, rope__dimension_count=128, num_loops=2, **heads(128)), PLAIN)
model("Chameleon-7B", "chameleon", 65536, shape(4096, 4096, 12, 11008, 32, 32), [r"(attn_[qkv]|attn_output|ffn_[a-z]+)\.bias", ROPE_FACTORS, JOINED])
model("Chameleon-34B", "chameleon", 65536, shape(4096, 8192, 6, 22016, 64, 8, swin_norm=True), [r"(attn_[qkv]|attn_output|ffn_[a-z]+)\.bias", ROPE_FACTORS, JOINED])
model("CogVLM-17B", "cogvlm", 32000, shape(8192, 4096, 10, 14336, 32, 32, rope__dimension_count=128), [BIASES, ROPE_FACTORS, PARTS])
model("Maple-20B-A3B", "maple", 128000, shape(131072, 2048, 12, 6144, 32, 4, attention__sliding_window=1024, attention__sliding_window_pattern=[one % 4 != 3 for one in range(12)], swiglu_clamp_exp=[7.0] * 12, **experts(128, 8, 768), **heads(128)), PLAIN, windowed=True)
model("Muse-Glimmer-30B", "muse-glimmer", 128000, shape(131072, 4096, 12, 14336, 32, 8, attention__sliding_window=1024, logit_scale=0.5, final_logit_softcapping=30.0, rope__dimension_count=128, **heads(128)), PLAIN, windowed=True)
model("BitNet-b1.58-3B-Ternary", "bitnet", 32002, shape(2048, 3200, 26, 8640, 32, 32), [BIASES, ROPE_FACTORS, JOINED, r"^output\.weight"], unusual=BITNET, file_type=(37, "TQ2_0"))

# Latent attention of further kinds.
LATENT = [MOE_BIASES, ROPE_FACTORS, JOINED, r"attn_kv_b\.", r"attn_q\."]
model("Mistral-Small-4", "mistral4", 131072, shape(262144, 4096, 12, 12288, 32, 1, leading_dense_block_count=0, attention__q_lora_rank=1024, attention__kv_lora_rank=256, attention__key_length_mla=128, attention__value_length_mla=128, attention__temperature_scale=0.1, attention__temperature_length=8192, rope__dimension_count=64, expert_shared_count=1, **experts(128, 4, 2048, expert_gating_func=1, expert_weights_norm=True, expert_weights_scale=1.0), **heads(320, 256)), LATENT, unusual=JOINED_EXPERTS)
model("MiniCPM3-4B", "minicpm3", 73448, shape(32768, 2560, 16, 6400, 40, 40, attention__q_lora_rank=768, attention__kv_lora_rank=256, rope__dimension_count=32, rope__scaling__original_context_length=32768, **heads(96, 64)), [BIASES, "rope_freqs", JOINED])
model("DeepSeek-OCR", "deepseek2-ocr", 129280, shape(8192, 1280, 12, 6848, 10, 10, leading_dense_block_count=1, expert_shared_count=2, attention__layer_norm_rms_epsilon=1e-6, rope__dimension_count=128, **experts(64, 6, 896, expert_weights_scale=1.0), **heads(128)), [MOE_BIASES, ROPE_FACTORS, JOINED], unusual=JOINED_EXPERTS)

# Blocks of cells chosen by an indexer.
model("MiniMax-M3", "minimax-m3", 200064, shape(1048576, 6144, 9, 12288, 64, 4, leading_dense_block_count=3, rope__dimension_count=64, expert_shared_count=1, attention__indexer__head_count=4, attention__indexer__key_length=128, attention__indexer__top_k=16, attention__indexer__block_size=128, attention__indexer__local_blocks=1, **experts(128, 4, 3072, expert_gating_func=2, expert_weights_norm=True, expert_weights_scale=2.0), **heads(128)), [MOE_BIASES, ROPE_FACTORS, JOINED], unusual=JOINED_EXPERTS)
KDA = {"ssm.conv_kernel": 4, "kda.head_dim": 128, "kda.gate_lower_bound": -5.0}
EVERY_FOURTH = lambda layers: [1 if layer % 4 == 3 else 0 for layer in range(layers)]
model("Ling-3.0-Mini", "bailingmoe3", 157184, shape(131072, 1536, 12, 4608, 16, EVERY_FOURTH(12), leading_dense_block_count=1, attention__kv_lora_rank=512, attention__q_lora_rank=768, attention__key_length_mla=192, attention__value_length_mla=128, rope__dimension_count=64, expert_shared_count=1, expert_shared_feed_forward_length=512, **KDA, **experts(128, 8, 512, expert_gating_func=2, expert_weights_norm=True, expert_weights_scale=2.5), **heads(576, 512)), [r"(attn_[a-z_]+|ffn_(up|down|gate))\.bias", ROPE_FACTORS, JOINED], unusual=JOINED_EXPERTS)
model("Kimi-K3", "kimi-k3", 163840, shape(262144, 7168, 9, 18432, 64, EVERY_FOURTH(9), leading_dense_block_count=1, attention__kv_lora_rank=512, attention__q_lora_rank=1536, attention__key_length_mla=192, attention__value_length_mla=128, rope__dimension_count=64, expert_shared_count=1, expert_latent_length=3584, attn_res__block_size=4, activation__situ_beta=4.0, activation__situ_linear_beta=4.0, **KDA, **experts(384, 8, 2048, expert_gating_func=2, expert_weights_norm=True, expert_weights_scale=2.827), **heads(576, 512)), [r"(attn_[a-z_]+|ffn_(up|down|gate))\.bias", ROPE_FACTORS, JOINED, r"attn_kv_b\."], unusual=JOINED_EXPERTS)
INDEXER = {"attention.indexer.head_count": 32, "attention.indexer.key_length": 128, "attention.indexer.top_k": 2048}
STREAMS = {"hyper_connection.count": 4, "hyper_connection.epsilon": 1e-6}
model("Hunyuan-V4", "hy_v4", 120832, shape(262144, 4096, 9, 13312, 64, 1, leading_dense_block_count=1, attention__q_lora_rank=1536, attention__kv_lora_rank=512, attention__key_length_mla=192, attention__value_length_mla=128, rope__dimension_count=64, expert_shared_count=1, attention__indexer__types=[True if one % 4 in (0, 1) else False for one in range(9)], hyper_connection__magnitude=2.0, **STREAMS, **INDEXER, **experts(192, 8, 1536, expert_gating_func=2, expert_weights_norm=True, expert_weights_scale=2.826), **heads(576, 512)), LATENT, unusual=JOINED_EXPERTS)
model("Hunyuan-V4-Dense", "hy_v4", 120832, shape(262144, 4096, 7, 13312, 64, 1, leading_dense_block_count=1, attention__q_lora_rank=1536, attention__kv_lora_rank=512, attention__key_length_mla=192, attention__value_length_mla=128, rope__dimension_count=64, expert_shared_count=1, swiglu_clamp_exp=7.0, hyper_connection__magnitude=2.0, **STREAMS, **experts(192, 8, 1536, expert_gating_func=2, expert_weights_norm=True, expert_weights_scale=2.826), **heads(576, 512)), LATENT, unusual=JOINED_EXPERTS)
DOTS_WINDOWS = [one % 4 != 3 for one in range(12)]
model("dots3-note", "dots3note", 152064, shape(262144, 4096, 12, 10944, [96 if one else 64 for one in DOTS_WINDOWS], [1] * 12, leading_dense_block_count=1, attention__q_lora_rank=1536, attention__kv_lora_rank=512, attention__kv_lora_rank_swa=256, attention__key_length_mla=192, attention__value_length_mla=128, attention__key_length_mla_swa=192, attention__value_length_mla_swa=128, attention__key_length_swa=320, attention__value_length_swa=256, attention__sliding_window=1024, attention__sliding_window_pattern=DOTS_WINDOWS, attention__indexer__types=[not one for one in DOTS_WINDOWS], rope__dimension_count=64, rope__freq_base_swa=1e4, expert_shared_count=1, **INDEXER, **experts(128, 8, 1408, expert_gating_func=2, expert_weights_norm=True, expert_weights_scale=2.5), **heads(576, 512)), LATENT, unusual=JOINED_EXPERTS, windowed=True)
model("GLM-5.2", "glm-dsa", 154880, shape(1048576, 6144, 12, 12288, 64, 1, leading_dense_block_count=3, attention__q_lora_rank=2048, attention__kv_lora_rank=512, attention__key_length_mla=256, attention__value_length_mla=256, rope__dimension_count=64, expert_shared_count=1, **INDEXER, **experts(256, 8, 2048, expert_gating_func=2, expert_weights_norm=True, expert_weights_scale=2.5), **heads(576, 512)), [r"(attn_[a-z_]+|ffn_(up|down|gate))\.bias", ROPE_FACTORS, JOINED, r"attn_kv_b\.", r"attn_q\."], unusual=JOINED_EXPERTS)
model("Step-3.5-Flash-Clamped", "step35", 128896, shape(262144, 4096, 12, 11264, [64 if one % 4 == 0 else 96 for one in range(12)], [8] * 12, attention__sliding_window=512, attention__sliding_window_pattern=[one % 4 != 0 for one in range(12)], leading_dense_block_count=3, swiglu_clamp_exp=[7.0 if one >= 10 else 0.0 for one in range(12)], swiglu_clamp_shexp=[16.0 if one == 11 else 0.0 for one in range(12)], expert_shared_count=1, expert_shared_feed_forward_length=1280, **experts(288, 8, 1280, expert_gating_func=2, expert_weights_norm=True, expert_weights_scale=3.0), **heads(128)), [MOE_BIASES, ROPE_FACTORS, JOINED], windowed=True)
# Compressed caches, streams of residuals, and experts chosen by a table in the first layers.
model("DeepSeek-V4-Flash", "deepseek4", 129280, shape(1048576, 4096, 12, 2048, 64, 1, attention__q_lora_rank=1024, attention__sliding_window=128, attention__output_group_count=8, attention__output_lora_rank=1024, attention__compress_rope_freq_base=160000.0, attention__compress_ratios=[0, 0] + [4, 128] * 5, attention__indexer__head_count=64, attention__indexer__key_length=128, attention__indexer__top_k=512, hyper_connection__sinkhorn_iterations=20, hash_layer_count=3, swiglu_clamp_exp=10.0, rope__dimension_count=64, expert_shared_count=1, **STREAMS, **experts(256, 6, 2048, expert_gating_func=4, expert_weights_norm=True, expert_weights_scale=1.5), **heads(512)), [r"(attn_[a-z_]+|ffn_(up|down|gate))\.bias", ROPE_FACTORS, JOINED, "exp_probs_b_vl"], unusual=JOINED_EXPERTS, windowed=True, tables=True)
model("GLM-5.3-Flash", "glm5-next", 154880, shape(1048576, 4096, 12, 12288, 64, EVERY_FOURTH(12), leading_dense_block_count=1, attention__q_lora_rank=1536, attention__kv_lora_rank=512, attention__key_length_mla=192, attention__value_length_mla=128, attention__indexer__kpool=4, attention__indexer__kpool_select_tail=True, attention__indexer__types=[one != 7 for one in range(12)], rope__dimension_count=0, expert_shared_count=1, swiglu_clamp_exp=10.0, hyper_connection__sinkhorn_iterations=20, **KDA, **STREAMS, **INDEXER, **experts(256, 8, 1536, expert_gating_func=2, expert_weights_norm=True, expert_weights_scale=2.5), **heads(512)), [r"(attn_[a-z_]+|ffn_(up|down|gate))\.bias", ROPE_FACTORS, JOINED], unusual=JOINED_EXPERTS)
