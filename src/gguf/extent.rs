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
    tokens: Option<Profile>,
    types_seen: bool,
    scores_seen: bool,
    merges_seen: bool,
}

/// An array of texts in the middle of being walked.
#[derive(Debug)]
struct TextArray {
    is_tokens: bool,
    start: u64,
    count: u64,
    walked: u64,
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
/// An array's own shape says little before this share of it is known.
const TELLING_SHARE: f64 = 0.02;
/// Bytes of a metadata entry and of a tensor info, where nothing better is known.
const USUAL_ENTRY: u64 = 48;
const USUAL_TENSOR: u64 = 60;
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
        loop {
            match self.step(bytes) {
                Some(Step::Walked) => {}
                Some(Step::Broken) => return Reach::Ends(self.position.min(bytes.len() as u64)),
                None => break,
            }
        }
        if matches!(self.stage, Stage::Done) && self.position <= bytes.len() as u64 {
            return Reach::Ends(self.position);
        }
        let item = self.item_end(bytes.len() as u64);
        Reach::GoesOn { item, header: item.saturating_add(self.rest()) }
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
                if key == b"tokenizer.ggml.model" && length < 64 {
                    self.tokenizer.model = String::from_utf8_lossy(cursor.take(length as usize)?).into_owned();
                } else {
                    cursor.skip(length);
                }
            }
            9 => {
                let kind = cursor.u32()?;
                let count = cursor.u64()?;
                match key {
                    b"tokenizer.ggml.token_type" => self.tokenizer.types_seen = true,
                    b"tokenizer.ggml.scores" => self.tokenizer.scores_seen = true,
                    b"tokenizer.ggml.merges" => self.tokenizer.merges_seen = true,
                    _ => {}
                }
                if kind == 8 {
                    let profile = Profile { count, samples: Vec::new() };
                    let is_tokens = key == b"tokenizer.ggml.tokens";
                    self.stage =
                        Stage::Texts(TextArray { is_tokens, start: cursor.at as u64, count, walked: 0, profile });
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
    fn item_end(&self, present: u64) -> u64 {
        let Stage::Texts(array) = &self.stage else { return self.position.max(present) };
        let left = (array.count - array.walked) as f64;
        let seen = (self.position - array.start) as f64;
        let by_growth = left * array.profile.mean_of_the_rest(array.walked);
        let tokens = self.tokenizer.tokens.as_ref().filter(|_| self.tokenizer.merges_seen);
        let rest = match tokens {
            // Merges are ordered as the tokens that they make: their lengths grow alike. Where there are more of them than
            // tokens this shape says a little too much.
            Some(tokens) => {
                let by_shape = tokens.rest_by_shape(array.walked as f64 / array.count as f64, seen, left);
                f64::midpoint(by_shape, by_shape.min(by_growth))
            }
            None => by_growth,
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
                companion(tokenizer.merges_seen, (count as f64 * (mean + 1.0)) as u64);
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

    /// Bytes of the rest of another array that grows as this one: `share` of its elements took `seen` bytes.
    fn rest_by_shape(&self, share: f64, seen: f64, left: f64) -> f64 {
        let whole = self.samples.last().copied().unwrap_or(0) as f64;
        let index = (share * self.samples.len() as f64) as usize;
        match index.checked_sub(1).and_then(|index| self.samples.get(index)).filter(|_| share >= TELLING_SHARE) {
            Some(part) if *part > 0 => seen * (whole - *part as f64) / *part as f64,
            _ => left * (self.mean() + 1.0),
        }
    }
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
