//! What a running server really does: its memory through a full batch and a long answer, and its speed at rising fill.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::budget::Budget;
use super::http::{Caller, HttpError};
use super::start::{Server, ServerError};
use super::supervise::stops_asked;
use crate::units::Bytes;

/// Constant, so that figures of different days and machines compare. Its words are our own.
pub const PROMPT: &str = "Describe how a sailing ship of the eighteenth century was built, from the choice of the timber to the \
     launch. Name the trades that worked on it, the tools that they used and the order of their work. ";

/// Same seed and no temperature: the same tokens on every run.
const SEED: u32 = 42;

/// No single request may take longer: a server that hangs ends the bench, not the evening.
const REQUEST_LIMIT: Duration = Duration::from_mins(15);

/// How much is measured.
#[derive(Debug, Clone)]
pub struct Protocol {
    /// Tokens that each timed run generates.
    pub tokens: u32,
    pub runs: usize,
    /// Shares of a slot's context that are filled before a timed run.
    pub fills: Vec<f64>,
}

/// Median of several runs, and how far they lie apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Spread {
    pub median: f64,
    pub lowest: f64,
    pub highest: f64,
}

impl Spread {
    pub fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (lowest, highest) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median =
            if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) };
        Some(Self { median, lowest, highest })
    }
}

/// Speed at one fill of the context.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Speed {
    /// Tokens in the context before the answer.
    pub filled_tokens: u32,
    pub share: f64,
    pub tokens_per_second: Spread,
    pub prompt_tokens_per_second: Option<f64>,
    /// From the request to the first token of the answer.
    pub first_token_milliseconds: Option<f64>,
    pub generated_tokens: u32,
}

/// Memory of the server's process, by device and in RAM, at one moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Snapshot {
    /// `before`, `loaded`, `full-batch`, `long-answer`
    pub moment: &'static str,
    pub resident_bytes: Bytes,
    pub vram: Vec<(String, Bytes)>,
    /// RAM that the GPUs share: pinned buffers, and on Windows what spilled; absent where the system does not count it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shared_bytes: Option<Bytes>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Measured {
    pub snapshots: Vec<Snapshot>,
    pub speeds: Vec<Speed>,
    /// What was left out, and why.
    pub skipped: Vec<String>,
}

impl Measured {
    pub fn peak_resident(&self) -> Bytes {
        self.snapshots.iter().map(|one| one.resident_bytes).max().unwrap_or_default()
    }

    pub fn peak_shared(&self) -> Option<Bytes> {
        self.snapshots.iter().filter_map(|one| one.shared_bytes).max()
    }

    pub fn peak_vram(&self, device: &str) -> Option<Bytes> {
        let here = self.snapshots.iter().flat_map(|one| &one.vram).filter(|(id, _)| id == device);
        here.map(|(_, bytes)| *bytes).max()
    }
}

/// A client of one server, whose requests end when the server dies, the user stops us or the time is up.
pub struct Client<'a> {
    pub server: &'a mut Server,
    pub budget: Budget,
}

impl Client<'_> {
    pub fn post(&mut self, path: &str, body: &Value) -> Result<Value, ServerError> {
        let answer = self.caller()?.post_json(path, body);
        self.judged(answer)
    }

    pub fn get(&mut self, path: &str) -> Result<Value, ServerError> {
        let answer = self.caller()?.get_json(path);
        self.judged(answer)
    }

    fn caller(&self) -> Result<Caller<'static>, ServerError> {
        if self.budget.is_up() {
            return Err(ServerError::TimeUp);
        }
        let limit = self.budget.left().min(REQUEST_LIMIT);
        Ok(Caller { address: self.server.address, limit, give_up: &|| stops_asked() > 0 })
    }

    /// A dead server explains a failed request better than the broken connection does.
    fn judged(&mut self, answer: Result<Value, HttpError>) -> Result<Value, ServerError> {
        answer.map_err(|error| {
            if stops_asked() > 0 {
                return ServerError::Stopped;
            }
            // Its end may come a moment after the connection's.
            std::thread::sleep(Duration::from_millis(300));
            match (self.server.still_runs(), &error) {
                (Err(ended), _) => ended,
                (Ok(()), HttpError::TooSlow { .. }) if self.budget.is_up() => ServerError::TimeUp,
                (Ok(()), _) => error.into(),
            }
        })
    }

    pub fn tokenize(&mut self, text: &str) -> Result<Vec<i64>, ServerError> {
        let answer = self.post("/tokenize", &json!({"content": text, "add_special": true}))?;
        let tokens = answer["tokens"].as_array().map(|tokens| tokens.iter().filter_map(Value::as_i64).collect());
        tokens.filter(|tokens: &Vec<i64>| !tokens.is_empty()).ok_or_else(|| unexpected("/tokenize"))
    }

    /// Tokens that one request may use, prompt and answer together.
    pub fn slot_context(&mut self) -> Result<u32, ServerError> {
        let props = self.get("/props")?;
        let context = props["default_generation_settings"]["n_ctx"].as_u64();
        context.map(|context| context as u32).ok_or_else(|| unexpected("/props"))
    }

    pub fn complete(&mut self, prompt: &[i64], tokens: u32, cached: bool) -> Result<Value, ServerError> {
        self.post(
            "/completion",
            &json!({
                "prompt": prompt, "n_predict": tokens, "temperature": 0, "seed": SEED, "ignore_eos": true,
                "cache_prompt": cached, "id_slot": 0,
            }),
        )
    }
}

fn unexpected(path: &str) -> ServerError {
    HttpError::Garbage { path: path.to_owned() }.into()
}

/// Runs the protocol as far as the client's time goes; what is left out is said. `look` takes a snapshot of the process;
/// `tell` hears which step begins.
pub fn measure(
    client: &mut Client<'_>,
    protocol: &Protocol,
    ubatch: u32,
    look: &dyn Fn(&'static str) -> Snapshot,
    tell: &mut dyn FnMut(&str),
) -> Result<Measured, ServerError> {
    let mut measured = Measured::default();
    measured.snapshots.push(look("loaded"));
    tell("warming up with a full micro-batch");
    let (sentence, slot) = match warm_up(client, ubatch) {
        Ok(known) => known,
        Err(ServerError::TimeUp) => {
            measured.skipped.push(format!("speed, and memory at work: {}", ServerError::TimeUp));
            return Ok(measured);
        }
        Err(error) => return Err(error),
    };
    measured.snapshots.push(look("full-batch"));
    let fills = std::iter::once(0.0).chain(protocol.fills.iter().copied());
    let mut fuller_than = 0;
    for share in fills {
        let room = slot.saturating_sub(protocol.tokens + 8);
        let filled = ((f64::from(slot) * share) as u32).min(room).max((sentence.len() as u32).min(room.max(1)));
        // A prompt that is longer than a fill of a small slot stands for both.
        if filled == fuller_than {
            continue;
        }
        fuller_than = filled;
        if !client.budget.is_up() {
            tell(&format!("timing {} tokens after {filled} in the context", protocol.tokens.min(slot)));
        }
        match speed(client, protocol, &repeated(&sentence, filled as usize), share) {
            Ok(speed) => measured.speeds.push(speed),
            Err(error @ (ServerError::TimeUp | ServerError::Http(HttpError::TooSlow { .. }))) => {
                measured.skipped.push(format!("speed at {:.0} % fill: {error}", share * 100.0));
            }
            Err(error) => return Err(error),
        }
    }
    if !measured.speeds.is_empty() {
        measured.snapshots.push(look("long-answer"));
    }
    Ok(measured)
}

/// The prompt's tokens and the size of a slot, after a full micro-batch: kernels, workspaces and pools appear with the first,
/// not with the load.
fn warm_up(client: &mut Client<'_>, ubatch: u32) -> Result<(Vec<i64>, u32), ServerError> {
    let sentence = client.tokenize(PROMPT)?;
    let slot = client.slot_context()?;
    client.complete(&repeated(&sentence, ubatch.min(slot.saturating_sub(8)) as usize), 4, false)?;
    Ok((sentence, slot))
}

fn speed(client: &mut Client<'_>, protocol: &Protocol, prompt: &[i64], share: f64) -> Result<Speed, ServerError> {
    let mut rates = Vec::new();
    let mut first: Option<Value> = None;
    let mut generated = 0;
    for run in 0..protocol.runs.max(1) {
        // The first run computes the prompt, the others find it cached.
        let answer = match client.complete(prompt, protocol.tokens, run > 0) {
            Ok(answer) => answer,
            // Fewer runs than wanted are runs, too.
            Err(ServerError::TimeUp) if run > 0 => break,
            Err(error) => return Err(error),
        };
        let timings = answer["timings"].clone();
        rates.push(timings["predicted_per_second"].as_f64().ok_or_else(|| unexpected("/completion"))?);
        generated = timings["predicted_n"].as_u64().unwrap_or_default() as u32;
        first.get_or_insert(timings);
    }
    let first = first.unwrap_or_default();
    Ok(Speed {
        filled_tokens: prompt.len() as u32,
        share,
        tokens_per_second: Spread::of(&rates).unwrap_or_default(),
        prompt_tokens_per_second: first["prompt_per_second"].as_f64(),
        first_token_milliseconds: first["prompt_ms"].as_f64(),
        generated_tokens: generated,
    })
}

/// The tokens over and over, `count` of them.
fn repeated(tokens: &[i64], count: usize) -> Vec<i64> {
    tokens.iter().copied().cycle().take(count.max(1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_and_its_spread() {
        assert_eq!(Spread::of(&[3.0, 1.0, 2.0]), Some(Spread { median: 2.0, lowest: 1.0, highest: 3.0 }));
        assert_eq!(Spread::of(&[1.0, 2.0]).map(|spread| spread.median), Some(1.5));
        assert_eq!(Spread::of(&[]), None);
        assert_eq!(repeated(&[1, 2], 5), [1, 2, 1, 2, 1]);
    }
}
