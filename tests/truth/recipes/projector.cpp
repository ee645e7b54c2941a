// projector MMPROJ.gguf...: what libmtmd would allocate on each device, one JSON line a file.
// R=~/.cache/llama-rig S=$R/src; g++ -O1 -std=c++17 -I$S/include -I$S/ggml/include -I$S/tools/mtmd -I$S/src -o projector
//   projector.cpp -L$R/l11434 -l:libmtmd.so.0 -l:libllama.so.0 -l:libggml.so.0 -l:libggml-base.so.0 $R/lib/libcuda.so.1
//   -Wl,-rpath,$R/lib:$R/l11434 -Wl,--allow-shlib-undefined
#include "mtmd.h"
#include "ggml-backend.h"
#include <cstdio>
#include <cstdlib>
#include <string>
int main(int argc, char ** argv) {
    ggml_backend_load_all_from_path(getenv("LLAMA_LIBDIR"));
    for (int i = 1; i < argc; i++) {
        mtmd_context_params p = mtmd_context_params_default();
        p.use_gpu = !getenv("CPU_ONLY");
        if (const char * fa = getenv("FA")) p.flash_attn_type = (llama_flash_attn_type) atoi(fa);
        if (const char * n = getenv("MAX_TOKENS")) p.image_max_tokens = atoi(n);
        auto u = mtmd_get_memory_usage(argv[i], p);
        printf("{\"file\":\"%s\",\"max_tokens\":%d,\"non_causal\":%d", argv[i], u.image_max_tokens, u.use_non_causal);
        for (auto & [dev, size] : u.backend_mem_usage) printf(",\"%s\":%zu", ggml_backend_dev_name(dev), size);
        printf("}\n"); fflush(stdout);
    }
}
