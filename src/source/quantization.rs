//! Which file of a repository a name means, by llama.cpp's own rules (b11434 `common/download.cpp:464-690`), so that
//! `-hf` and we choose alike. Where llama.cpp silently takes the first of several, the caller is told of all.

use regex_lite::Regex;

use crate::gguf::ShardName;

/// What the name of a `.gguf` says about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GgufName {
    /// The path without `-00001-of-00003` and `.gguf`.
    pub prefix: String,
    /// The last word of the prefix, in capitals: `Q4_K_M`.
    pub tag: Option<String>,
    /// Counted from 1.
    pub shard: u32,
    pub shards: u32,
}

impl GgufName {
    /// None when the path does not end in `.gguf`.
    pub fn parse(path: &str) -> Option<Self> {
        let stem = path.strip_suffix(".gguf")?;
        let split = ShardName::parse(path).filter(|split| !split.prefix.is_empty());
        let (prefix, shard, shards) =
            split.as_ref().map_or((stem, 1, 1), |split| (split.prefix.as_str(), split.number, split.count));
        let word = prefix.rfind(['-', '.']).map(|at| &prefix[at + 1..]);
        let is_tag = |word: &&str| !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        Some(Self { prefix: prefix.to_owned(), tag: word.filter(is_tag).map(str::to_ascii_uppercase), shard, shards })
    }

    /// The path of another shard of the same model.
    pub fn sibling(&self, shard: u32) -> String {
        if self.shards <= 1 {
            return format!("{}.gguf", self.prefix);
        }
        format!("{}-{shard:05}-of-{:05}.gguf", self.prefix, self.shards)
    }

    /// The first number in the tag: 4 for `Q4_K_M`, 16 for `BF16`.
    fn bits(&self) -> u32 {
        self.tag.as_deref().map_or(0, leading_number)
    }
}

fn leading_number(text: &str) -> u32 {
    let digits = text.trim_start_matches(|c: char| !c.is_ascii_digit());
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().unwrap_or(0)
}

/// What a `.gguf` that is no model of its own serves for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Sidecar {
    /// Vision or audio projector (`--mmproj`).
    Projector,
    /// Multi-token-prediction or other draft heads.
    Draft,
    /// Data for quantizing, not for running.
    ImportanceMatrix,
}

impl Sidecar {
    /// Read off the file name; none for a model.
    pub fn of(path: &str) -> Option<Self> {
        let name = path.rsplit('/').next().unwrap_or(path);
        if name.contains("mmproj") {
            return Some(Self::Projector);
        }
        if name.contains("imatrix") {
            return Some(Self::ImportanceMatrix);
        }
        ["mtp-", "eagle3-", "dflash-", "dspark-"].iter().any(|word| name.contains(word)).then_some(Self::Draft)
    }
}

/// Whether the path is the first (or only) file of a model.
pub fn is_model_start(path: &str) -> bool {
    GgufName::parse(path).is_some_and(|name| name.shard == 1) && Sidecar::of(path).is_none()
}

/// What the rules find among a repository's paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// Index of the model's first file.
    One(usize),
    /// No tag was given and neither default is there: the first model, which llama.cpp would take.
    First(usize),
    /// Several models match; llama.cpp would take the first.
    Several(Vec<usize>),
    /// No model matches.
    None,
}

/// Finds the model that `tag` means: `TAG` followed by `.` or `-` anywhere in the path, in any case. Without a tag:
/// `Q4_K_M`, then `Q8_0`, then the first model.
pub fn choose<P: AsRef<str>>(paths: &[P], tag: Option<&str>) -> Choice {
    let models: Vec<usize> = (0..paths.len()).filter(|index| is_model_start(paths[*index].as_ref())).collect();
    let tags: &[&str] = match &tag {
        Some(tag) => std::slice::from_ref(tag),
        None => &["Q4_K_M", "Q8_0"],
    };
    for tag in tags {
        let matching: Vec<usize> =
            models.iter().copied().filter(|index| matches_tag(paths[*index].as_ref(), tag)).collect();
        match matching[..] {
            [] => {}
            [one] => return Choice::One(one),
            _ => return Choice::Several(matching),
        }
    }
    match (tag, &models[..]) {
        (Some(_), _) | (None, []) => Choice::None,
        (None, [one]) => Choice::One(*one),
        (None, [first, ..]) => Choice::First(*first),
    }
}

/// llama.cpp searches with the regular expression `TAG[.-]`, ignoring case. A tag is taken literally here: a dot in it
/// means a dot.
pub fn matches_tag(path: &str, tag: &str) -> bool {
    let escaped = tag.chars().fold(String::new(), |mut text, c| {
        if !c.is_ascii_alphanumeric() && c != '_' {
            text.push('\\');
        }
        text.push(c);
        text
    });
    let plain = tag.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
    plain && !tag.is_empty() && Regex::new(&format!("(?i){escaped}[.-]")).is_ok_and(|pattern| pattern.is_match(path))
}

/// The paths of all shards that belong with `paths[first]`, in order; the error names those that are missing.
pub fn shards_of<P: AsRef<str>>(paths: &[P], first: usize) -> Result<Vec<usize>, Vec<String>> {
    let Some(name) = GgufName::parse(paths[first].as_ref()).filter(|name| name.shards > 1) else {
        return Ok(vec![first]);
    };
    let mut found = Vec::new();
    let mut missing = Vec::new();
    for shard in 1..=name.shards {
        let wanted = name.sibling(shard);
        match paths.iter().position(|path| path.as_ref() == wanted) {
            Some(index) => found.push(index),
            None => missing.push(wanted),
        }
    }
    if missing.is_empty() { Ok(found) } else { Err(missing) }
}

/// The projector that llama.cpp would load beside `model`.
pub fn projector_of<P: AsRef<str>>(paths: &[P], model: &str) -> Option<usize> {
    sibling_of(paths, model, "mmproj", None)
}

/// The draft heads that llama.cpp would load beside `model` for `--spec-type draft-mtp`; `tag` is the one of `:QUANT`.
pub fn mtp_of<P: AsRef<str>>(paths: &[P], model: &str, tag: Option<&str>) -> Option<usize> {
    sibling_of(paths, model, "mtp-", tag)
}

/// The best `.gguf` with the keyword in its path: one whose folder holds the model's, the deepest such folder, then one
/// that bears the very tag, then the nearest in bits to the tag, or to the model without one; of equals the first.
fn sibling_of<P: AsRef<str>>(paths: &[P], model: &str, keyword: &str, tag: Option<&str>) -> Option<usize> {
    let folder = |path: &str| path.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
    let model_folder = folder(model);
    let bits = |path: &str| GgufName::parse(path).map_or(0, |name| name.bits());
    let wanted_bits = tag.map_or_else(|| bits(model), leading_number);
    let exact = tag.map(|tag| format!("-{}.", tag.to_ascii_uppercase()));
    let is_exact = |path: &str| exact.as_ref().is_some_and(|exact| path.to_ascii_uppercase().contains(exact));
    (0..paths.len())
        .filter(|index| {
            let path = paths[*index].as_ref();
            GgufName::parse(path).is_some() && path.contains(keyword) && model_folder.starts_with(&folder(path))
        })
        .min_by_key(|index| {
            let path = paths[*index].as_ref();
            (std::cmp::Reverse(path.matches('/').count()), !is_exact(path), bits(path).abs_diff(wanted_bits))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_tag_and_shard() {
        let name = GgufName::parse("Q4_K_M/Qwen3-235B-Q4_K_M-00002-of-00003.gguf").unwrap();
        assert_eq!((name.tag.as_deref(), name.shard, name.shards), (Some("Q4_K_M"), 2, 3));
        assert_eq!(name.sibling(3), "Q4_K_M/Qwen3-235B-Q4_K_M-00003-of-00003.gguf");
        assert_eq!(GgufName::parse("gemma-3-270m-q4_k_m.gguf").unwrap().tag.as_deref(), Some("Q4_K_M"));
        assert_eq!(GgufName::parse("model.gguf").unwrap().tag, None);
        assert_eq!(GgufName::parse("-00001-of-00002.gguf").unwrap().shards, 1);
        assert_eq!(GgufName::parse("README.md"), None);
    }

    #[test]
    fn the_default_is_q4_k_m_then_q8_0_then_the_first() {
        let all = ["imatrix.gguf", "m-BF16.gguf", "m-Q4_K_M.gguf", "m-Q8_0.gguf", "mmproj-m-Q4_K_M.gguf"];
        assert_eq!(choose(&all, None), Choice::One(2));
        assert_eq!(choose(&["m-BF16.gguf", "m-Q8_0.gguf"], None), Choice::One(1));
        assert_eq!(choose(&["m-Q3_K_S.gguf", "m-BF16.gguf"], None), Choice::First(0));
        assert_eq!(choose(&["mtp-m-Q4_K_M.gguf", "mmproj-F16.gguf"], None), Choice::None);
    }

    #[test]
    fn a_tag_is_followed_by_a_dot_or_a_dash() {
        let paths = ["m-Q4_K_S.gguf", "m-q4_k_m.gguf", "m-Q5_K_M.gguf", "m-Q4_K_M-00001-of-00002.gguf"];
        assert_eq!(choose(&paths, Some("Q4_K")), Choice::None);
        assert_eq!(choose(&paths, Some("q4_k_s")), Choice::One(0));
        assert_eq!(choose(&paths, Some("K_M")), Choice::Several(vec![1, 2, 3]));
        assert_eq!(choose(&paths, Some(".*")), Choice::None);
    }

    #[test]
    fn split_models_need_every_shard() {
        let paths = ["m-00001-of-00003.gguf", "m-00003-of-00003.gguf"];
        assert_eq!(shards_of(&paths, 0), Err(vec!["m-00002-of-00003.gguf".to_owned()]));
        assert_eq!(shards_of(&["x.gguf", "y.gguf"], 1), Ok(vec![1]));
        assert_eq!(choose(&["m-Q8_0-00002-of-00002.gguf", "m-Q8_0-00001-of-00002.gguf"], None), Choice::One(1));
    }

    #[test]
    fn the_projector_of_the_deepest_shared_folder_and_nearest_bits() {
        let paths = ["mmproj-F16.gguf", "a/mmproj-BF16.gguf", "a/mmproj-Q8_0.gguf", "b/mmproj-Q4_0.gguf"];
        assert_eq!(projector_of(&paths, "a/m-Q4_K_M.gguf"), Some(2));
        assert_eq!(projector_of(&paths, "m-Q4_K_M.gguf"), Some(0));
        assert_eq!(projector_of(&paths, "a/m-F16.gguf"), Some(1));
        assert_eq!(projector_of(&["m.gguf"], "m.gguf"), None);
    }

    #[test]
    fn draft_heads_of_the_tag_then_of_the_nearest_bits() {
        let paths = ["m-Q4_K_M.gguf", "mtp-m-BF16.gguf", "mtp-m-Q8_0.gguf", "mtp-m-Q4_0.gguf", "sub/mtp-m-Q4_K_M.gguf"];
        assert_eq!(mtp_of(&paths, "m-Q4_K_M.gguf", None), Some(3));
        assert_eq!(mtp_of(&paths, "m-Q4_K_M.gguf", Some("q8_0")), Some(2));
        assert_eq!(mtp_of(&paths, "m-Q4_K_M.gguf", Some("Q6_K")), Some(2));
        assert_eq!(mtp_of(&paths, "sub/m-F16.gguf", None), Some(4));
        assert_eq!(mtp_of(&paths[..1], "m-Q4_K_M.gguf", None), None);
    }
}
