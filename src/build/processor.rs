//! Whether a build's code for the processor runs on this one: it was compiled for instructions that the processor may lack.

/// What `llama_print_system_info` calls a feature that the loaded code was compiled with, and how Linux calls it.
/// Source: `ggml_backend_cpu_get_features` in `ggml/src/ggml-cpu/ggml-cpu.cpp` of b11434; `/proc/cpuinfo`.
const FEATURES: &[(&str, &str)] = &[
    ("SSE3", "pni"),
    ("SSSE3", "ssse3"),
    ("AVX", "avx"),
    ("AVX_VNNI", "avx_vnni"),
    ("AVX2", "avx2"),
    ("F16C", "f16c"),
    ("FMA", "fma"),
    ("BMI2", "bmi2"),
    ("AVX512", "avx512f"),
    ("AVX512_VBMI", "avx512vbmi"),
    ("AVX512_VNNI", "avx512_vnni"),
    ("AVX512_BF16", "avx512_bf16"),
    ("AMX_INT8", "amx_int8"),
];

/// The features that the loaded code uses and the processor lacks. `processor` are the processor's own, as Linux names
/// them; one that tells none of those that every such processor has is not known well enough.
pub fn lacking(system_info: &str, processor: &[String]) -> Vec<&'static str> {
    let has = |feature: &str| processor.iter().any(|known| known == feature);
    if !(has("ssse3") || has("sse4_2")) {
        return Vec::new();
    }
    // `CPU : SSE3 = 1 | AVX = 1 | `, after the parts of other backends.
    let Some((_, text)) = system_info.rsplit_once("CPU : ") else { return Vec::new() };
    let used = |name: &str| text.split('|').any(|part| part.trim() == format!("{name} = 1"));
    // Windows does not tell the oldest ones, which come with every newer one.
    let implied = |feature: &str| matches!(feature, "pni" | "ssse3") && has("sse4_2");
    // Nor does it tell of AMX.
    let untold = |feature: &str| cfg!(windows) && feature == "amx_int8";
    let lacks = |(_, feature): &&(&str, &'static str)| !has(feature) && !implied(feature) && !untold(feature);
    FEATURES.iter().filter(|(name, _)| used(name)).filter(lacks).map(|(name, _)| *name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_compared() {
        let info = "CUDA : ARCHS = 860 | CPU : SSE3 = 1 | AVX2 = 1 | AVX_VNNI = 1 | AMX_INT8 = 1 | OPENMP = 1 | ";
        let epyc: Vec<String> = ["pni", "ssse3", "sse4_2", "avx2"].map(str::to_owned).into();
        let expected: &[&str] = if cfg!(windows) { &["AVX_VNNI"] } else { &["AVX_VNNI", "AMX_INT8"] };
        assert_eq!(lacking(info, &epyc), expected);
        assert_eq!(lacking("CUDA : ARCHS = 860 | ", &epyc), [] as [&str; 0]);
        // A processor of which nothing is known lacks nothing.
        assert_eq!(lacking(info, &[]), [] as [&str; 0]);
    }
}
