//! Which cache types are worth proposing, and which of the found options is the one to take.

use super::plan::{LimitedBy, PlanOption};
use super::settings::{CacheType, FlashAttention};

/// K and V types with fast decoding kernels in official builds (`GGML_CUDA_FA_QUANTS`, llama.cpp b11434 `ggml/CMakeLists.txt:206`).
pub const DEFAULT_KERNELS: &str = "q4_0-q4_0;q8_0-q8_0;f16-f16;bf16-bf16";

/// What the user values most in an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Preference {
    #[default]
    Balanced,
    Context,
    Quality,
    Speed,
}

/// Cache types by how little they harm, best first. K suffers more than V from coarse steps, and some families' K more than
/// others', so `q8_0` is the coarsest type that is hard to tell from f16.
const QUALITY: [CacheType; 6] =
    [CacheType::F16, CacheType::Q8_0, CacheType::Q5_1, CacheType::Q5_0, CacheType::Q4_1, CacheType::Q4_0];

/// The pairs to search, best quality first: what was asked for, else equal pairs with fast kernels in the build at hand.
/// `bf16` is converted to f16 at every step and saves nothing, and `iq4_nl` has no kernel at all: both only when asked for.
pub fn pairs(
    k: Option<CacheType>,
    v: Option<CacheType>,
    flash_attention: FlashAttention,
    kernels: &str,
) -> Vec<(CacheType, CacheType)> {
    match (k, v) {
        (Some(k), Some(v)) => return vec![(k, v)],
        // A pair of unequal types decodes slowly in official builds.
        (Some(one), None) | (None, Some(one)) => return vec![(one, one)],
        (None, None) => {}
    }
    let compiled = |kind: CacheType| {
        let pair = format!("{kind}-{kind}");
        kernels.trim() == "all" || kernels.split([';', ',']).any(|one| one.trim() == pair)
    };
    QUALITY
        .into_iter()
        .filter(|kind| *kind == CacheType::F16 || (flash_attention != FlashAttention::Off && compiled(*kind)))
        .map(|kind| (kind, kind))
        .collect()
}

fn rank(kind: CacheType) -> usize {
    match kind {
        CacheType::F32 | CacheType::Bf16 => 0,
        CacheType::Iq4Nl => QUALITY.len(),
        other => QUALITY.iter().position(|one| *one == other).unwrap_or(QUALITY.len()),
    }
}

/// What a context of this many tokens is still good for: a long chat, a source file.
const ENOUGH: u32 = 16_384;

/// The option to take, and why. Options stand best quality first.
pub fn recommend(options: &[PlanOption], preference: Preference) -> Option<(usize, String)> {
    let fitting: Vec<usize> = (0..options.len()).filter(|index| options[*index].fits).collect();
    let first = *fitting.first()?;
    if let [only] = fitting[..] {
        let others = options.len() > 1;
        let why = if others { "it is the only one that fits" } else { "it fits" };
        return Some((only, format!("{}: {why}.", label(&options[only]))));
    }
    let chosen = match preference {
        Preference::Quality => first,
        Preference::Context => best(&fitting, |index| total_context(&options[index]) as f64),
        Preference::Speed => best(&fitting, |index| slowest(&options[index])),
        Preference::Balanced => {
            let is_harmless = |index: &usize| types(&options[*index]).iter().all(|one| rank(*one) <= 1);
            let harmless: Vec<usize> = fitting.iter().copied().filter(is_harmless).collect();
            let roomy = |index: &usize| options[*index].servers.iter().all(|server| server.context >= ENOUGH);
            let enough = harmless.iter().copied().find(|index| is_enough(&options[*index]));
            // Else the coarsest of the harmless types, unless even that is cramped.
            enough
                .or_else(|| harmless.last().copied().filter(roomy))
                .unwrap_or_else(|| best(&fitting, |index| total_context(&options[index]) as f64))
        }
    };
    Some((chosen, reason(options, &fitting, chosen, preference)))
}

/// The first of the highest.
fn best(among: &[usize], score: impl Fn(usize) -> f64) -> usize {
    among.iter().copied().fold(among[0], |best, next| if score(next) > score(best) { next } else { best })
}

fn total_context(option: &PlanOption) -> u64 {
    option.servers.iter().map(|server| u64::from(server.context)).sum()
}

fn slowest(option: &PlanOption) -> f64 {
    option.servers.iter().map(|server| server.tokens_per_second).fold(f64::MAX, f64::min)
}

/// Nothing but what was asked, or what the model was trained on, limits it.
fn is_enough(option: &PlanOption) -> bool {
    option.servers.iter().all(|server| server.limited_by != LimitedBy::Vram)
}

fn types(option: &PlanOption) -> Vec<CacheType> {
    option.servers.iter().flat_map(|server| [server.cache_type_k, server.cache_type_v]).collect()
}

/// `q8_0`, or `q8_0/q4_0` of unequal types.
pub fn label(option: &PlanOption) -> String {
    let Some(server) = option.servers.first() else { return String::new() };
    if server.cache_type_k == server.cache_type_v {
        server.cache_type_k.to_string()
    } else {
        format!("{}/{}", server.cache_type_k, server.cache_type_v)
    }
}

/// What a coarser cache costs, in words.
pub fn harm(kind: CacheType) -> &'static str {
    match kind {
        CacheType::F32 | CacheType::F16 | CacheType::Bf16 => "nothing is lost",
        CacheType::Q8_0 => "its output is hard to tell from f16's",
        CacheType::Q5_1 | CacheType::Q5_0 => "small losses, more on long contexts",
        CacheType::Q4_1 | CacheType::Q4_0 | CacheType::Iq4Nl => {
            "it loses accuracy, above all on keys: check the answers on long contexts"
        }
    }
}

fn reason(options: &[PlanOption], fitting: &[usize], chosen: usize, preference: Preference) -> String {
    let option = &options[chosen];
    let kind = types(option).into_iter().max_by_key(|kind| rank(*kind)).unwrap_or(CacheType::F16);
    let name = label(option);
    let harm = harm(kind);
    let better = fitting.iter().copied().rfind(|index| *index < chosen);
    let gain = better.map(|index| total_context(option) as f64 / total_context(&options[index]).max(1) as f64);
    match (preference, gain) {
        (Preference::Quality, _) => format!("{name}: the best quality that fits; {harm}."),
        (Preference::Speed, _) => format!("{name}: estimated the fastest; {harm}."),
        (Preference::Context, _) => format!("{name}: the largest context; {harm}."),
        (Preference::Balanced, Some(gain)) if gain > 1.05 => {
            let finer = better.map_or(String::new(), |index| label(&options[index]));
            format!("{name}: {harm}, and it holds {gain:.1} times the context of {finer}.")
        }
        (Preference::Balanced, _) if option.servers.iter().all(|one| one.limited_by == LimitedBy::Requested) => {
            format!("{name}: the best quality that holds what you ask for; {harm}.")
        }
        (Preference::Balanced, _) if is_enough(option) => {
            format!("{name}: it holds all that the model was trained on; {harm}.")
        }
        (Preference::Balanced, _) => format!("{name}: {harm}."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_equal_and_have_kernels() {
        let names = |kernels| -> Vec<String> {
            pairs(None, None, FlashAttention::Auto, kernels).iter().map(|(k, v)| format!("{k}/{v}")).collect()
        };
        assert_eq!(names(DEFAULT_KERNELS), ["f16/f16", "q8_0/q8_0", "q4_0/q4_0"]);
        assert_eq!(names("f16-f16"), ["f16/f16"]);
        assert_eq!(names("all").len(), 6);
        assert!(!names("all").iter().any(|pair| pair.contains("iq4_nl") || pair.contains("bf16")));
    }

    #[test]
    fn asked_types_are_taken_as_asked() {
        let asked = |k, v| pairs(k, v, FlashAttention::Auto, DEFAULT_KERNELS);
        assert_eq!(asked(Some(CacheType::Bf16), Some(CacheType::Q4_0)), [(CacheType::Bf16, CacheType::Q4_0)]);
        assert_eq!(asked(None, Some(CacheType::Q5_1)), [(CacheType::Q5_1, CacheType::Q5_1)]);
        let off = pairs(None, None, FlashAttention::Off, DEFAULT_KERNELS);
        assert_eq!(off, [(CacheType::F16, CacheType::F16)]);
    }
}
