//! Layers that repeat: a graph of a few of them grows a buffer as high as a graph of all, and the allocator proves it.
//!
//! A layer's nodes follow from its weights' shapes and places alone. When a layer (or a group of layers that repeats) leaves the
//! allocator in the state in which it found it, every further one does so too: leaving them out changes nothing. Many models hand a
//! layer's result on in one of two places, in turn: then two groups together do.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use super::tensor::Place;
use crate::fit::model::Model;
use crate::fit::placement::Placement;

/// The longest group of layers that is looked for: windows come every sixth layer, some models mix eight.
const LONGEST_GROUP: usize = 8;
/// After how many groups the allocator may be in the same state again.
const PERIODS: [usize; 2] = [1, 2];

/// Layers to build, and the proof that the others may be left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Layers {
    pub(crate) built: Vec<u32>,
    /// Pairs of positions in `built` after which the allocator must be in the same state.
    pub(crate) equal_after: Vec<(usize, usize)>,
}

impl Layers {
    pub(crate) fn all(model: &Model) -> Self {
        Self { built: (0..model.layers()).collect(), equal_after: Vec::new() }
    }

    /// What may be enough, fewest layers first; all of them at the end.
    pub(crate) fn candidates(model: &Model, placement: &Placement) -> Vec<Self> {
        // Each layer's own input is copied to its device before the first of them: no layer leaves what it found.
        let everywhere = placement.layers.iter().all(|place| Some(place) == placement.layers.first());
        let mut candidates = Vec::new();
        // A weight that was copied for one pass is there for the next.
        let passes_once = model.loops() == 1;
        if passes_once && (everywhere || model.weight("per_layer_token_embd.weight").is_none()) {
            let kinds: Vec<u64> = (0..model.layers()).map(|layer| kind(model, placement, layer)).collect();
            candidates.extend(PERIODS.map(|period| Self::without_repeats(&kinds, period)));
        }
        candidates.push(Self::all(model));
        candidates.dedup_by(|next, before| next.built.len() == before.built.len());
        candidates
    }

    /// Leaves out what repeats. The last layer always stays: it ends differently.
    fn without_repeats(kinds: &[u64], period: usize) -> Self {
        let end = kinds.len().saturating_sub(1);
        let mut layers = Self::default();
        let mut at = 0;
        while at < end {
            let Some((length, times)) = longest_repeat(&kinds[at..end], period) else {
                layers.built.push(at as u32);
                at += 1;
                continue;
            };
            let kept = kept(times, period);
            layers.built.extend((at..at + length * kept).map(|layer| layer as u32));
            // The last group that is built ends what lives as long as its kind: the state before it counts.
            let last = layers.built.len() - 1 - length;
            layers.equal_after.push((last - length * period, last));
            at += length * times;
        }
        layers.built.extend((end..kinds.len()).map(|layer| layer as u32));
        layers
    }
}

/// How many of a group's `times` are built: a first, a period, a last, and what makes the rest whole periods.
fn kept(times: usize, period: usize) -> usize {
    let least = 2 + period;
    least + times.saturating_sub(least) % period
}

/// The group that leaves out most of what `kinds` start with: its length, and how often it comes.
fn longest_repeat(kinds: &[u64], period: usize) -> Option<(usize, usize)> {
    let groups = (1..=LONGEST_GROUP).map(|length| (length, repeats(kinds, length)));
    let left_out = |(length, times): (usize, usize)| length * times.saturating_sub(kept(times, period));
    let most = groups.rev().max_by_key(|group| left_out(*group))?;
    (left_out(most) > 0).then_some(most)
}

/// How often the first `length` kinds follow each other.
fn repeats(kinds: &[u64], length: usize) -> usize {
    if length > kinds.len() {
        return 0;
    }
    kinds.chunks_exact(length).take_while(|group| *group == &kinds[..length]).count()
}

/// Everything about a layer that its nodes depend on.
fn kind(model: &Model, placement: &Placement, layer: u32) -> u64 {
    let index = layer as usize;
    let mut hasher = DefaultHasher::new();
    placement.layers[index].hash(&mut hasher);
    (model.heads[index], model.kv_heads[index], model.windowed[index], model.recurrent[index]).hash(&mut hasher);
    (layer < model.cached_layers(), model.whole_at("expert_used_count", layer)).hash(&mut hasher);
    for key in ["swiglu_clamp_exp", "swiglu_clamp_shexp"] {
        model.number_at(key, layer).is_some_and(|limit| limit > 0.0).hash(&mut hasher);
    }
    model.architecture.layer_kind(model, layer).hash(&mut hasher);
    let mut weights: Vec<(&str, u32)> =
        model.layer_weights[index].iter().map(|(name, weight)| (&**name, *weight)).collect();
    weights.sort_unstable();
    for (name, weight) in weights {
        let place = placement.weights[weight as usize];
        let weight = &model.weights[weight as usize];
        (name, weight.dims, place).hash(&mut hasher);
        // Types count where weights are copied to a GPU, and where kernels are fused by type: experts' gates and ups.
        if place == Place::Host || (name.contains("exp") && !name.contains("down")) {
            weight.kind.hash(&mut hasher);
        }
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::repeats;

    #[test]
    fn groups_are_counted_from_the_start() {
        assert_eq!(repeats(&[1, 1, 1, 2], 1), 3);
        assert_eq!(repeats(&[1, 2, 1, 2, 1], 2), 2);
        assert_eq!(repeats(&[1], 2), 0);
    }
}
