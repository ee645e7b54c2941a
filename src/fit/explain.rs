//! The arithmetic behind one server's figures, line by line, each with the name of its formula.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::context::Context;
use super::graph::tensor::Place;
use super::memory;
use super::need::Need;
use super::placement::Placement;
use super::settings::Device;
use super::{FitError, Model};
use crate::units::Bytes;
use crate::units::grouped;

/// One step of the arithmetic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Step {
    /// `KV cache, 48 layers`
    pub what: String,
    /// The formula's name and its numbers.
    pub how: String,
    pub bytes: Bytes,
}

pub(crate) fn steps(model: &Model, need: &Need, devices: &[Device]) -> Result<Vec<Step>, FitError> {
    let settings = &need.settings;
    let placement = Placement::new(model, settings, devices)?;
    let mut context = Context::new(model, settings)?;
    context.flash_attention = need.prediction.flash_attention;
    let mut steps = weights(model, &placement, need, devices);
    steps.extend(cache(model, &context, &placement));
    if need.prediction.recurrent_bytes > 0 {
        let layers = model.recurrent.iter().filter(|recurs| **recurs).count();
        steps.push(step(
            format!("recurrent state, {layers} layers"),
            format!(
                "state-rows: 4 bytes * (convolution + state) * {} slots * {}",
                context.sequences,
                1 + context.state_snapshots
            ),
            need.prediction.recurrent_bytes,
        ));
    }
    let projects = need.projector.compute > 0;
    let also = match (need.draft.is_some(), projects) {
        (true, true) => "; the draft's and the projector's included",
        (true, false) => "; the draft's included",
        (false, true) => "; the projector's included",
        (false, false) => "",
    };
    for (index, device) in devices.iter().enumerate().filter(|(index, _)| need.devices[*index].memory.total() > 0) {
        let memory = need.devices[index].memory;
        steps.extend(beside(need, index, &device.id));
        steps.push(step(
            format!("compute on {}", device.id),
            format!("graph-replay: the larger peak of a prompt step of {} tokens and a token's{also}", context.ubatch),
            memory.compute,
        ));
        for part in need.overhead.iter().filter(|part| part.device == device.id) {
            let what = format!("{} on {}", part.what, device.id);
            let less = if part.less_bytes.0 > 0 { format!(" (up to {} less)", part.less_bytes) } else { String::new() };
            steps.push(step(what, format!("{}{less}", part.origin), part.bytes.0));
        }
        let sum = need.devices[index].total();
        steps.push(step(format!("total on {}", device.id), "weights + cache + compute + other".to_owned(), sum));
    }
    steps.push(step(
        "compute in host memory".to_owned(),
        "graph-replay: inputs and CPU parts".to_owned(),
        need.host.compute,
    ));
    steps.push(step(
        "logits in host memory".to_owned(),
        if context.embeddings {
            let each = grouped(need.prediction.output_buffer / 4 / context.batch);
            format!("output-rows: {each} words and elements * {} tokens of a full batch * 4 bytes", context.batch)
        } else {
            format!("output-rows: {} words * {} slots * 4 bytes", grouped(model.vocabulary), context.sequences)
        },
        need.prediction.output_buffer,
    ));
    let growth = need.host_growth;
    if growth.checkpoint_bytes.0 > 0 {
        steps.push(step(
            "a checkpoint in host memory".to_owned(),
            format!("window-and-state: of one slot; at most {} are kept", growth.checkpoints),
            growth.checkpoint_bytes.0,
        ));
    }
    Ok(steps)
}

/// What a draft and a projector put on one device beside the model.
fn beside(need: &Need, index: usize, id: &str) -> Vec<Step> {
    let draft = need.draft.as_ref().map(|draft| draft.devices[index].memory).unwrap_or_default();
    let projector = if index == 0 { need.projector.model } else { 0 };
    [
        (format!("weights of the draft on {id}"), "padded-tensors: as the model's", draft.model),
        (format!("KV cache of the draft on {id}"), "kv-rows: a context as long as the model's", draft.context),
        (format!("weights of the projector on {id}"), "padded-tensors: always on the first GPU", projector),
    ]
    .into_iter()
    .filter(|(_, _, bytes)| *bytes > 0)
    .map(|(what, how, bytes)| step(what, how.to_owned(), bytes))
    .collect()
}

fn weights(model: &Model, placement: &Placement, need: &Need, devices: &[Device]) -> Vec<Step> {
    let mut counts: BTreeMap<Place, usize> = BTreeMap::new();
    for place in &placement.weights {
        *counts.entry(*place).or_default() += 1;
    }
    let (bytes, _) = memory::weights(model, placement, need.settings.load_mode, need.settings.mtp);
    bytes
        .into_iter()
        .filter(|(_, bytes)| *bytes > 0)
        .map(|(place, bytes)| {
            let count = counts.get(&place).copied().unwrap_or(0);
            match place {
                Place::Device(slot) => {
                    let id = placement.used.get(usize::from(slot)).and_then(|index| devices.get(usize::from(*index)));
                    let tied = if model.output_is_tied() && placement.output == place {
                        ", and the embeddings once more as the output"
                    } else {
                        ""
                    };
                    step(
                        format!("weights on {}", id.map_or("a GPU", |device| &device.id)),
                        format!("padded-tensors: {count} tensors, each rounded to 128 bytes{tied}"),
                        bytes,
                    )
                }
                Place::Host => step(
                    "weights in host memory".to_owned(),
                    format!("host-tensors: {count} tensors; of a mapped file, the span that holds them"),
                    bytes,
                ),
            }
        })
        .collect()
}

/// Layers with equal rows are one line.
fn cache(model: &Model, context: &Context, placement: &Placement) -> Vec<Step> {
    type Rows = Vec<(&'static str, u64, u64, u64)>;
    let mut groups: BTreeMap<(Place, Rows), u64> = BTreeMap::new();
    for layer in 0..model.layers() {
        let rows: Rows = model
            .cache_rows(layer, context)
            .into_iter()
            .map(|(kind, width, cells)| (kind.name(), width, kind.row_bytes(width), cells))
            .collect();
        if !rows.is_empty() {
            *groups.entry((placement.cache_place(layer), rows)).or_default() += 1;
        }
    }
    groups
        .into_iter()
        .map(|((place, rows), layers)| {
            let row: u64 = rows.iter().map(|(_, _, bytes, _)| bytes).sum();
            let cells = rows.iter().map(|(_, _, _, cells)| *cells).max().unwrap_or(0);
            let widths: Vec<String> =
                rows.iter().map(|(kind, width, bytes, _)| format!("{width} {kind} = {bytes}")).collect();
            let streams = if context.streams > 1 { format!(" * {} slots", context.streams) } else { String::new() };
            let where_it_is = if place == Place::Host { " in host memory" } else { "" };
            step(
                format!("KV cache, {layers} layers{where_it_is}"),
                format!("kv-rows: {layers} * ({}) bytes * {} cells{streams}", widths.join(" + "), grouped(cells)),
                layers * row * cells * context.streams,
            )
        })
        .collect()
}

fn step(what: String, how: String, bytes: u64) -> Step {
    Step { what, how, bytes: Bytes(bytes) }
}
