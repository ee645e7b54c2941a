//! What a cache type costs in quality, against f16: the same tokens forced through both, and the distributions compared.
//!
//! The reference server writes greedy answers; at each of their positions the other server is asked what it would have said.
//! So one early difference does not make all later positions differ, as it would between two free answers.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Value, json};

use super::bench::Client;
use super::start::ServerError;

/// Several turns, several kinds of text: prose, reasoning, code, recall, another language. Our own words.
const CONVERSATIONS: &[&[&str]] = &[
    &["Name three rivers of Europe.", "Which of them is the longest?"],
    &["A train leaves at 9:40 and arrives at 13:05. How long does it travel?", "And if it is 25 minutes late?"],
    &["Write a function in Python that returns the n-th Fibonacci number.", "Now without recursion."],
    &["Why is the sky blue? Explain it to a child.", "And why is it red in the evening?"],
    &["Translate into French: The library opens at eight.", "And into German?"],
    &["List the planets by their distance from the sun.", "Which of them have rings?"],
];

const NEEDLE: &str = "The blue door opens with the number 7341.";
const ANSWER: &str = "7341";
const HAY: &str = "The harbour lay quiet in the early light, and the boats moved a little with the tide. ";

/// Enough of a distribution: the rest is counted as one.
const TOP: usize = 20;

/// Agreement from which on, and divergence below which, two caches are hard to tell apart.
const HARD_TO_TELL: (f64, f64) = (0.96, 0.03);

/// How much is asked.
#[derive(Debug, Clone, Copy)]
pub struct Extent {
    pub conversations: usize,
    /// Positions of each answer.
    pub tokens: u32,
    /// Sentences of hay around the needle.
    pub hay: usize,
}

/// Tokens by probability.
type Distribution = Vec<(i64, f64)>;

#[derive(Debug, Clone)]
struct Answer {
    prompt: Vec<i64>,
    tokens: Vec<i64>,
    distributions: Vec<Distribution>,
}

/// What the f16 cache says.
#[derive(Debug, Clone)]
pub struct Reference {
    answers: Vec<Answer>,
    needle: bool,
    extent: Extent,
    /// False where the time was up before all was asked.
    complete: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Quality {
    pub positions: u32,
    /// Share of positions with the same most likely token.
    pub agreement: f64,
    /// 95 % interval of the agreement (Wilson).
    pub agreement_low: f64,
    pub agreement_high: f64,
    /// Mean Kullback-Leibler divergence from f16 in nats, over the most likely tokens.
    pub divergence: f64,
    /// Whether a fact from the middle of a long text was found again; absent if f16 did not find it either, or was not asked.
    pub needle_found: Option<bool>,
    pub verdict: String,
    /// How far the verdict can be trusted, in words.
    pub confidence: String,
    /// False where the time was up before all was asked.
    pub complete: bool,
}

impl Quality {
    /// Whether its answers may stand for f16's: the two better verdicts.
    pub fn holds(&self) -> bool {
        self.agreement >= HARD_TO_TELL.0 && self.divergence < HARD_TO_TELL.1 && self.needle_found != Some(false)
    }
}

/// Asks the f16 server as far as the client's time goes. Without a single answer there is no reference.
pub fn reference(
    client: &mut Client<'_>,
    extent: Extent,
    tell: &mut dyn FnMut(&str),
) -> Result<Reference, ServerError> {
    let mut answers = Vec::new();
    let asked = (|| {
        for (index, turns) in CONVERSATIONS.iter().take(extent.conversations).enumerate() {
            tell(&format!("f16 answers {} of {}", index + 1, extent.conversations.min(CONVERSATIONS.len())));
            // The second turn's prompt holds the first turn and its answer.
            let mut text = String::new();
            for turn in *turns {
                let _ = write!(text, "Question: {turn}\nAnswer:");
                let prompt = client.tokenize(&text)?;
                let (tokens, distributions, said) = next_tokens(client, &prompt, extent.tokens)?;
                answers.push(Answer { prompt, tokens, distributions });
                text.push_str(&said);
                text.push('\n');
            }
        }
        tell("f16 looks for the needle");
        finds_needle(client, extent.hay)
    })();
    let (needle, complete) = match asked {
        Ok(needle) => (needle, true),
        Err(ServerError::TimeUp) if !answers.is_empty() => (false, false),
        Err(error) => return Err(error),
    };
    Ok(Reference { answers, needle, extent, complete })
}

/// Asks the server with the other cache types, at the same positions, as far as the client's time goes. Without a single
/// position there is nothing to compare.
pub fn compare(
    client: &mut Client<'_>,
    reference: &Reference,
    tell: &mut dyn FnMut(&str),
) -> Result<Quality, ServerError> {
    let (mut positions, mut same, mut divergence) = (0_u32, 0_u32, 0.0);
    let asked = (|| {
        for (index, answer) in reference.answers.iter().enumerate() {
            tell(&format!("comparing answer {} of {}", index + 1, reference.answers.len()));
            let mut prompt = answer.prompt.clone();
            for (token, expected) in answer.tokens.iter().zip(&answer.distributions) {
                let (_, distributions, _) = next_tokens(client, &prompt, 1)?;
                if let Some(found) = distributions.first() {
                    positions += 1;
                    same += u32::from(found.first().map(|top| top.0) == expected.first().map(|top| top.0));
                    divergence += kullback_leibler(expected, found);
                }
                prompt.push(*token);
            }
        }
        if !reference.needle {
            return Ok(None);
        }
        tell("looking for the needle");
        finds_needle(client, reference.extent.hay).map(Some)
    })();
    let (needle_found, complete) = match asked {
        Ok(needle_found) => (needle_found, reference.complete),
        Err(ServerError::TimeUp) if positions > 0 => (None, false),
        Err(error) => return Err(error),
    };
    let agreement = if positions == 0 { 0.0 } else { f64::from(same) / f64::from(positions) };
    let divergence = if positions == 0 { 0.0 } else { divergence / f64::from(positions) };
    let (agreement_low, agreement_high) = wilson(same, positions);
    let verdict = verdict(agreement, divergence, needle_found).to_owned();
    let confidence = confidence(agreement_high - agreement_low).to_owned();
    Ok(Quality {
        positions,
        agreement,
        agreement_low,
        agreement_high,
        divergence,
        needle_found,
        verdict,
        confidence,
        complete,
    })
}

fn next_tokens(
    client: &mut Client<'_>,
    prompt: &[i64],
    count: u32,
) -> Result<(Vec<i64>, Vec<Distribution>, String), ServerError> {
    let body = json!({
        "prompt": prompt, "n_predict": count, "temperature": 0, "seed": 42, "cache_prompt": true, "id_slot": 0, "n_probs": TOP,
    });
    let answer = client.post("/completion", &body)?;
    let rows = answer["completion_probabilities"].as_array().cloned().unwrap_or_default();
    let tokens = rows.iter().filter_map(|row| row["id"].as_i64()).collect();
    let distributions = rows.iter().map(distribution).collect();
    Ok((tokens, distributions, answer["content"].as_str().unwrap_or_default().to_owned()))
}

fn distribution(row: &Value) -> Distribution {
    let top = row["top_logprobs"].as_array().cloned().unwrap_or_default();
    top.iter().filter_map(|one| Some((one["id"].as_i64()?, one["logprob"].as_f64()?.exp()))).collect()
}

/// Over the reference's most likely tokens, and one more for all the rest. A token that the other did not list has at most
/// the probability of its least likely listed one.
fn kullback_leibler(expected: &Distribution, found: &Distribution) -> f64 {
    let least = found.iter().map(|one| one.1).fold(f64::INFINITY, f64::min).min(1.0);
    let found: BTreeMap<i64, f64> = found.iter().copied().collect();
    let tiny = 1e-9;
    let (mut sum, mut p_listed, mut q_listed) = (0.0, 0.0, 0.0);
    for (token, p) in expected {
        let q = found.get(token).copied().unwrap_or(least).max(tiny);
        if *p > 0.0 {
            sum += p * (p / q).ln();
        }
        p_listed += p;
        q_listed += q;
    }
    let (p_rest, q_rest) = ((1.0 - p_listed).max(0.0), (1.0 - q_listed).max(tiny));
    if p_rest > tiny {
        sum += p_rest * (p_rest / q_rest).ln();
    }
    sum.max(0.0)
}

fn finds_needle(client: &mut Client<'_>, hay: usize) -> Result<bool, ServerError> {
    let half = HAY.repeat(hay / 2);
    let text = format!(
        "{half}{NEEDLE} {half}\nQuestion: With which number does the blue door open?\nAnswer: The blue door opens with the number"
    );
    let prompt = client.tokenize(&text)?;
    let (_, _, said) = next_tokens(client, &prompt, 8)?;
    Ok(said.replace([' ', ','], "").contains(ANSWER))
}

/// The 95 % interval of a share.
fn wilson(hits: u32, of: u32) -> (f64, f64) {
    if of == 0 {
        return (0.0, 1.0);
    }
    let (n, p, z) = (f64::from(of), f64::from(hits) / f64::from(of), 1.96);
    let middle = (p + z * z / (2.0 * n)) / (1.0 + z * z / n);
    let half = z / (1.0 + z * z / n) * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    ((middle - half).max(0.0), (middle + half).min(1.0))
}

fn verdict(agreement: f64, divergence: f64, needle: Option<bool>) -> &'static str {
    if needle == Some(false) {
        return "loses facts that f16 finds: do not use it for long texts";
    }
    if agreement >= 0.99 && divergence < 0.005 {
        "cannot be told from f16"
    } else if agreement >= HARD_TO_TELL.0 && divergence < HARD_TO_TELL.1 {
        "hard to tell from f16"
    } else if agreement >= 0.9 && divergence < 0.1 {
        "differs from f16 now and then"
    } else {
        "clearly worse than f16"
    }
}

/// What the width of the agreement's interval means for the verdict.
fn confidence(width: f64) -> &'static str {
    if width <= 0.03 {
        "well founded"
    } else if width <= 0.08 {
        "fairly sure"
    } else {
        "a first impression: more places would tell"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn divergence_is_zero_for_equals_and_grows() {
        let p = vec![(1, 0.7), (2, 0.2), (3, 0.05)];
        assert!(kullback_leibler(&p, &p).abs() < 1e-12);
        let near = vec![(1, 0.65), (2, 0.25), (3, 0.05)];
        let far = vec![(2, 0.9), (4, 0.05)];
        assert!(kullback_leibler(&p, &near) < kullback_leibler(&p, &far));
        assert!(kullback_leibler(&p, &Vec::new()).is_finite());
    }

    #[test]
    fn few_positions_mean_a_wide_interval() {
        let (low, high) = wilson(10, 10);
        assert!(low < 0.75 && high > 0.999);
        let (low, _) = wilson(1000, 1000);
        assert!(low > 0.995);
        assert_eq!(wilson(0, 0), (0.0, 1.0));
        let said = |hits, of| {
            let (low, high) = wilson(hits, of);
            confidence(high - low)
        };
        assert!(said(10, 10).starts_with("a first impression"));
        assert_eq!((said(570, 576), said(1590, 1600)), ("well founded", "well founded"));
        assert_eq!(said(92, 96), "a first impression: more places would tell");
        assert_eq!(said(550, 576), "fairly sure");
    }

    #[test]
    fn verdicts_in_words() {
        assert_eq!(verdict(0.995, 0.001, Some(true)), "cannot be told from f16");
        assert_eq!(verdict(0.95, 0.01, None), "differs from f16 now and then");
        assert!(verdict(1.0, 0.0, Some(false)).contains("loses facts"));
    }
}
