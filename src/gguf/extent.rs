//! How far a header reaches, told from its first bytes: a remote header is then fetched in few requests and little more
//! than its own length. Nothing is decoded and nothing judged here; [`super::Header`] does both.

/// What the bytes so far say about the end of the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The header ends at this offset, or is so broken that more bytes would not help.
    Ends(u64),
    /// It goes on; both offsets are estimates.
    GoesOn {
        /// End of the array or text that the bytes end in.
        item: u64,
        /// End of the whole header.
        header: u64,
    },
}

/// Walks a header as its bytes arrive.
#[derive(Debug)]
pub struct Extent {
    /// Everything before this offset has been walked.
    position: u64,
    stage: Stage,
    entries_left: u64,
    tensors_left: u64,
    tokenizer: Tokenizer,
}

#[derive(Debug)]
enum Stage {
    Start,
    Entries,
    Texts(TextArray),
    Tensors,
    Done,
}

/// What decides how long the arrays will be that follow the vocabulary.
#[derive(Debug, Default)]
struct Tokenizer {
    model: String,
    /// How it splits text into words before it merges.
    pre: String,
    tokens: Option<Profile>,
    /// Offset of the first token's length field.
    tokens_start: u64,
    types_seen: bool,
    scores_seen: bool,
    merges_seen: bool,
    charsmap_seen: bool,
}

/// An array of texts in the middle of being walked.
#[derive(Debug)]
struct TextArray {
    is_tokens: bool,
    is_merges: bool,
    start: u64,
    count: u64,
    walked: u64,
    /// Offsets of the length fields of the last elements that were walked, newest first.
    last: [u64; 8],
    profile: Profile,
}

/// Where elements of an array of texts end, sampled evenly: the shape of its growth.
#[derive(Debug, Clone, Default)]
struct Profile {
    count: u64,
    /// Bytes after each sampled element, from the array's first byte.
    samples: Vec<u64>,
}

const SAMPLES: u64 = 256;
/// Vocabularies have some 300,000 tokens at most; one that claims more than this is not looked through.
const MOST_TOKENS: u64 = 1 << 22;
/// Bytes of a metadata entry and of a tensor info, where nothing better is known.
const USUAL_ENTRY: u64 = 48;
const USUAL_TENSOR: u64 = 60;
/// Normalization rules of a unigram vocabulary: `nmt_nfkc` as `sentencepiece` compiles it, in llama.cpp b11434's
/// `models/ggml-vocab-nomic-bert-moe.gguf`.
const USUAL_CHARSMAP: u64 = 237_539;
/// Where several merges make one token, longer tokens have more of them: by so much the rest is longer than its tokens
/// say. Between what llama-bpe and gemma-4 (`models/ggml-vocab-*.gguf`, b11434) need.
const SHARED_TOKEN_FACTOR: f64 = 1.018;
/// No header needs more, and sums of it cannot overflow.
const LARGEST_GUESS: u64 = 1 << 30;

impl Default for Extent {
    fn default() -> Self {
        Self { position: 0, stage: Stage::Start, entries_left: 0, tensors_left: 0, tokenizer: Tokenizer::default() }
    }
}

impl Extent {
    /// Walks on through `bytes`, which always begin at the start of the file and only ever grow.
    pub fn walk(&mut self, bytes: &[u8]) -> Reach {
        if let Some(end) = self.end(bytes) {
            return Reach::Ends(end);
        }
        let item = self.item_end(bytes);
        Reach::GoesOn { item, header: item.saturating_add(self.rest()) }
    }

    /// As [`Self::walk`], without an estimate: none while the header goes on.
    pub fn end(&mut self, bytes: &[u8]) -> Option<u64> {
        loop {
            match self.step(bytes) {
                Some(Step::Walked) => {}
                Some(Step::Broken) => return Some(self.position.min(bytes.len() as u64)),
                None => break,
            }
        }
        (matches!(self.stage, Stage::Done) && self.position <= bytes.len() as u64).then_some(self.position)
    }

    /// One atom of the header. None: more bytes are needed.
    fn step(&mut self, bytes: &[u8]) -> Option<Step> {
        let mut cursor = Cursor { bytes, at: usize::try_from(self.position).ok()? };
        let step = match &mut self.stage {
            Stage::Start => {
                cursor.take(8)?;
                self.tensors_left = cursor.u64()?;
                self.entries_left = cursor.u64()?;
                self.stage = Stage::Entries;
                Step::Walked
            }
            Stage::Entries if self.entries_left == 0 => {
                self.stage = Stage::Tensors;
                Step::Walked
            }
            Stage::Entries => {
                let step = self.entry(&mut cursor)?;
                self.entries_left -= 1;
                step
            }
            Stage::Texts(array) if array.walked == array.count => {
                let profile = std::mem::take(&mut array.profile);
                if array.is_tokens {
                    self.tokenizer.tokens = Some(profile);
                }
                self.stage = Stage::Entries;
                Step::Walked
            }
            Stage::Texts(array) => {
                let length = cursor.u64()?;
                cursor.skip(length);
                array.last.rotate_right(1);
                array.last[0] = self.position;
                array.walked += 1;
                let end = cursor.at as u64 - array.start;
                // In 128 bits: the count is whatever the file says.
                let (count, walked) = (u128::from(array.count), u128::from(array.walked));
                while (array.profile.samples.len() as u128 + 1) * count <= walked * u128::from(SAMPLES) {
                    array.profile.samples.push(end);
                }
                Step::Walked
            }
            Stage::Tensors if self.tensors_left == 0 => {
                self.stage = Stage::Done;
                return None;
            }
            Stage::Tensors => {
                let length = cursor.u64()?;
                cursor.skip(length);
                let dims = cursor.u32()?;
                cursor.skip(u64::from(dims) * 8 + 4 + 8);
                self.tensors_left -= 1;
                if dims > 4 { Step::Broken } else { Step::Walked }
            }
            Stage::Done => return None,
        };
        self.position = cursor.at as u64;
        Some(step)
    }

    fn entry(&mut self, cursor: &mut Cursor<'_>) -> Option<Step> {
        let length = cursor.u64()?;
        if length > u64::from(u16::MAX) {
            return Some(Step::Broken);
        }
        let key = cursor.take(length as usize)?;
        match cursor.u32()? {
            8 => {
                let length = cursor.u64()?;
                let name = match key {
                    b"tokenizer.ggml.model" if length < 64 => Some(&mut self.tokenizer.model),
                    b"tokenizer.ggml.pre" if length < 64 => Some(&mut self.tokenizer.pre),
                    _ => None,
                };
                match name {
                    Some(name) => *name = String::from_utf8_lossy(cursor.take(length as usize)?).into_owned(),
                    None => cursor.skip(length),
                }
            }
            9 => {
                let kind = cursor.u32()?;
                let count = cursor.u64()?;
                match key {
                    b"tokenizer.ggml.token_type" => self.tokenizer.types_seen = true,
                    b"tokenizer.ggml.scores" => self.tokenizer.scores_seen = true,
                    b"tokenizer.ggml.merges" => self.tokenizer.merges_seen = true,
                    b"tokenizer.ggml.precompiled_charsmap" => self.tokenizer.charsmap_seen = true,
                    b"tokenizer.ggml.tokens" => self.tokenizer.tokens_start = cursor.at as u64,
                    _ => {}
                }
                if kind == 8 {
                    let start = cursor.at as u64;
                    self.stage = Stage::Texts(TextArray {
                        is_tokens: key == b"tokenizer.ggml.tokens",
                        is_merges: key == b"tokenizer.ggml.merges",
                        start,
                        count,
                        walked: 0,
                        last: [start; 8],
                        profile: Profile { count, samples: Vec::new() },
                    });
                } else {
                    let Some(size) = scalar_bytes(kind) else { return Some(Step::Broken) };
                    cursor.skip(count.saturating_mul(size));
                }
            }
            kind => match scalar_bytes(kind) {
                Some(size) => cursor.skip(size),
                None => return Some(Step::Broken),
            },
        }
        Some(Step::Walked)
    }

    /// Where the item that the bytes end in will end. A text or an array of numbers says so itself.
    fn item_end(&self, bytes: &[u8]) -> u64 {
        let present = bytes.len() as u64;
        let Stage::Texts(array) = &self.stage else { return self.position.max(present) };
        let left = array.count - array.walked;
        let by_growth = left as f64 * array.profile.mean_of_the_rest(array.walked);
        let rest = match &self.tokenizer.tokens {
            Some(tokens) if array.is_merges && array.walked > 0 => {
                merges_left(bytes, self.tokenizer.tokens_start, tokens.count, array).unwrap_or(by_growth)
            }
            // A merge is its token with one space in it.
            Some(tokens) if array.is_merges => left as f64 * (tokens.mean() + 1.0),
            _ => by_growth,
        };
        self.position.saturating_add(rest.min(LARGEST_GUESS as f64) as u64).max(present)
    }

    /// Bytes after the current item: the companions of the vocabulary, other entries, tensor infos.
    fn rest(&self) -> u64 {
        let tokenizer = &self.tokenizer;
        let vocabulary = match (&self.stage, &tokenizer.tokens) {
            (_, Some(tokens)) => Some((tokens.count, tokens.mean())),
            (Stage::Texts(array), None) if array.is_tokens => {
                let rest = array.profile.mean_of_the_rest(array.walked);
                let seen = (self.position - array.start) as f64;
                let left = (array.count - array.walked) as f64;
                Some((array.count, (seen + left * rest) / array.count.max(1) as f64))
            }
            _ => None,
        };
        let mut rest = 0_u64;
        let mut entries = self.entries_left;
        if let Some((count, mean)) = vocabulary.filter(|_| entries > 0) {
            // Each companion is one of the entries that are still to come.
            let mut companion = |is_seen: bool, bytes: u64| {
                if !is_seen && entries > 0 {
                    rest = rest.saturating_add(bytes);
                    entries -= 1;
                }
            };
            companion(tokenizer.types_seen, count.saturating_mul(4));
            if matches!(tokenizer.model.as_str(), "llama" | "t5" | "gemma4") {
                companion(tokenizer.scores_seen, count.saturating_mul(4));
            }
            if matches!(tokenizer.model.as_str(), "gpt2" | "gemma4") {
                // A merge is its token with one space in it.
                let bytes = count as f64 * tokenizer.merges_of_a_token() * (mean + 1.0);
                companion(tokenizer.merges_seen, bytes as u64);
            }
            if tokenizer.model == "t5" {
                companion(tokenizer.charsmap_seen, USUAL_CHARSMAP);
            }
        }
        let others = entries.saturating_mul(USUAL_ENTRY).saturating_add(self.tensors_left.saturating_mul(USUAL_TENSOR));
        rest.saturating_add(others).min(LARGEST_GUESS)
    }
}

enum Step {
    Walked,
    Broken,
}

impl Tokenizer {
    /// As llama.cpp's `models/ggml-vocab-llama-bpe.gguf` and `-gemma-4.gguf` (b11434) have them, 280,147 for 128,256 tokens
    /// and 514,906 for 262,144; others have one each.
    fn merges_of_a_token(&self) -> f64 {
        match (self.model.as_str(), self.pre.as_str()) {
            ("gemma4", _) => 1.96,
            (_, "llama-bpe") => 2.18,
            _ => 1.0,
        }
    }
}

impl Profile {
    fn mean(&self) -> f64 {
        self.samples.last().map_or(0.0, |bytes| *bytes as f64 / self.count.max(1) as f64)
    }

    /// Bytes that each element not yet walked takes, length field included: vocabularies grow as the logarithm of the rank.
    fn mean_of_the_rest(&self, walked: u64) -> f64 {
        let known = self.samples.len();
        let (Some(end), Some(half)) = (self.samples.last(), self.samples.get(known / 2)) else { return 16.0 };
        let element = self.count as f64 / SAMPLES as f64;
        let (first, second) = ((known / 2 + 1) as f64 * element, (known - known / 2 - 1) as f64 * element);
        if second == 0.0 {
            return *end as f64 / (known as f64 * element);
        }
        let early = *half as f64 / first;
        let late = (*end - *half) as f64 / second;
        // Where lengths grow as b · log2(rank), the means of two halves differ by 2 · b, and the mean of the second half is
        // the length at 0.74 of the whole.
        let growth = (late - early).max(0.0) / 2.0;
        let walked = walked as f64;
        let middle_of_the_rest = f64::midpoint(walked, self.count as f64);
        late.max(early) + growth * (middle_of_the_rest / (walked * 0.74)).max(1.0).log2()
    }
}

/// Bytes of the merges that are still to come. They are ordered as the tokens that they make, so the last one that is
/// known tells which tokens are left; none where the last ones make no token.
fn merges_left(bytes: &[u8], tokens_start: u64, tokens: u64, merges: &TextArray) -> Option<f64> {
    if tokens > MOST_TOKENS {
        return None;
    }
    let known = &merges.last[..merges.last.len().min(usize::try_from(merges.walked).ok()?)];
    let later =
        known.iter().find_map(|offset| ends_after_token_of(*offset, bytes, tokens_start, tokens, merges.walked))?;
    let bytes_of = |count: usize| (later[count] - later[0]) as f64;
    let left = merges.count - merges.walked;
    if let Some(count) = usize::try_from(left).ok().filter(|left| *left < later.len()) {
        // One merge a token; what comes after them are special tokens.
        return Some(bytes_of(count) + left as f64);
    }
    let count = later.len() - 1;
    let mean = bytes_of(count) / count.max(1) as f64 + 1.0;
    Some(left as f64 * mean * SHARED_TOKEN_FACTOR)
}

/// Where the token ends that the merge at `offset` makes, and each token after it.
fn ends_after_token_of(offset: u64, bytes: &[u8], start: u64, tokens: u64, walked: u64) -> Option<Vec<usize>> {
    let mut cursor = Cursor { bytes, at: usize::try_from(offset).ok()? };
    let length = usize::try_from(cursor.u64()?).ok()?;
    let merge = cursor.take(length)?;
    let space = merge.iter().position(|byte| *byte == b' ')?;
    let (first, second) = (&merge[..space], &merge[space + 1..]);
    let makes = |token: &[u8]| token.len() + 1 == merge.len() && token.starts_with(first) && token.ends_with(second);
    // Hardly a merge comes long before its token; without this a text that stands for many tokens would mislead.
    let latest = walked.saturating_add(4096);
    let mut cursor = Cursor { bytes, at: usize::try_from(start).ok()? };
    let mut ends = Vec::new();
    let mut is_found = false;
    for index in 0..tokens {
        let length = usize::try_from(cursor.u64()?).ok()?;
        if makes(cursor.take(length)?) && (!is_found || index <= latest) {
            is_found = true;
            ends.clear();
        }
        ends.push(cursor.at);
    }
    is_found.then_some(ends)
}

/// Bytes of a value by its type's number; none for texts, arrays and unknown types.
fn scalar_bytes(kind: u32) -> Option<u64> {
    match kind {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(taken)
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(*self.take(4)?.first_chunk()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(*self.take(8)?.first_chunk()?))
    }

    /// May lead past the bytes that are there: the next step then asks for more.
    fn skip(&mut self, count: u64) {
        self.at = self.at.saturating_add(usize::try_from(count).unwrap_or(usize::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Writer(Vec<u8>);

    impl Writer {
        fn new(tensors: u64, entries: u64) -> Self {
            let mut bytes = b"GGUF\x03\0\0\0".to_vec();
            bytes.extend(tensors.to_le_bytes());
            bytes.extend(entries.to_le_bytes());
            Self(bytes)
        }

        fn text(&mut self, text: &str) {
            self.0.extend((text.len() as u64).to_le_bytes());
            self.0.extend(text.as_bytes());
        }

        fn key(&mut self, key: &str, kind: u32) {
            self.text(key);
            self.0.extend(kind.to_le_bytes());
        }

        fn texts(&mut self, key: &str, texts: impl ExactSizeIterator<Item = String>) {
            self.key(key, 9);
            self.0.extend(8_u32.to_le_bytes());
            self.0.extend((texts.len() as u64).to_le_bytes());
            texts.for_each(|text| self.text(&text));
        }

        fn tensor(&mut self, name: &str) {
            self.text(name);
            self.0.extend(2_u32.to_le_bytes());
            self.0.extend([0; 16 + 4 + 8]);
        }
    }

    /// A vocabulary of `count` tokens with merges, types and a hundred tensors.
    fn header(count: u32) -> Vec<u8> {
        let word = |index: u32| "x".repeat(2 + (index + 2).ilog2() as usize / 2);
        let mut writer = Writer::new(100, 5);
        writer.key("general.architecture", 8);
        writer.text("llama");
        writer.key("tokenizer.ggml.model", 8);
        writer.text("gpt2");
        writer.texts("tokenizer.ggml.tokens", (0..count as usize).map(|index| word(index as u32)));
        writer.key("tokenizer.ggml.token_type", 9);
        writer.0.extend(5_u32.to_le_bytes());
        writer.0.extend(u64::from(count).to_le_bytes());
        writer.0.extend(vec![1; count as usize * 4]);
        writer.texts("tokenizer.ggml.merges", (0..count as usize).map(|index| word(index as u32) + " "));
        (0..100).for_each(|index| writer.tensor(&format!("blk.{index}.attn_q.weight")));
        writer.0
    }

    #[test]
    fn a_whole_header_ends_where_it_ends() {
        let mut bytes = header(1000);
        let end = bytes.len() as u64;
        bytes.extend([0; 500]);
        assert_eq!(Extent::default().walk(&bytes), Reach::Ends(end));
    }

    #[test]
    fn the_estimate_is_near_from_the_first_bytes_on() {
        let bytes = header(200_000);
        let mut extent = Extent::default();
        for percent in [5, 20, 60, 95] {
            let Reach::GoesOn { item, header } = extent.walk(&bytes[..bytes.len() * percent / 100]) else { panic!() };
            let error = (header as f64 / bytes.len() as f64 - 1.0).abs();
            let allowed = if percent == 5 { 0.2 } else { 0.12 };
            assert!(error < allowed && item <= header, "{percent} %: {error}");
        }
        assert_eq!(extent.walk(&bytes), Reach::Ends(bytes.len() as u64));
    }

    #[test]
    fn absurd_counts_cost_nothing() {
        let mut writer = Writer::new(u64::MAX, u64::MAX);
        writer.key("a", 9);
        writer.0.extend(8_u32.to_le_bytes());
        writer.0.extend(u64::MAX.to_le_bytes());
        writer.text("x");
        assert!(matches!(Extent::default().walk(&writer.0), Reach::GoesOn { .. }));
    }

    #[test]
    fn a_broken_header_asks_for_no_more() {
        let mut writer = Writer::new(0, 1);
        writer.key("a", 77);
        assert!(matches!(Extent::default().walk(&writer.0), Reach::Ends(_)));
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_are_walked(bytes in proptest::collection::vec(any::<u8>(), 0..400), cut in 0_usize..400) {
            let mut extent = Extent::default();
            extent.walk(&bytes[..cut.min(bytes.len())]);
            extent.walk(&bytes);
        }

        #[test]
        fn pieces_and_the_whole_agree(cuts in proptest::collection::vec(0_usize..60_000, 0..6)) {
            let bytes = header(1000);
            let mut extent = Extent::default();
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.sort_unstable();
            for cut in cuts {
                extent.walk(&bytes[..cut]);
            }
            prop_assert_eq!(extent.walk(&bytes), Reach::Ends(bytes.len() as u64));
        }
    }
}
