//! What a repository of models offers, as part of `inspect`.

use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::fit::plan::Plan;
use crate::fit::settings::CacheType;
use crate::net::digest::Sha256Digest;
use crate::report::text::{WIDTH, wrapped};
use crate::source::quantization::Sidecar;
use crate::units::{Bytes, grouped};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RepositoryView {
    /// As `pull` takes it, without a quantization.
    pub name: String,
    /// Absent when the cache was looked at instead of the hub.
    pub commit: Option<String>,
    /// The file whose header is shown.
    pub inspected: String,
    #[serde(rename = "models")]
    pub offers: Vec<Offer>,
    pub sidecars: Vec<SidecarFile>,
    /// The repository brings arguments for llama-server.
    pub has_preset: bool,
    /// Names that are not safe to create.
    pub refused: Vec<String>,
    pub notes: Vec<String>,
}

/// One model of a repository.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Offer {
    pub quantization: String,
    /// What `pull` and `fit` are told to get just this one.
    pub pull: String,
    pub files: Vec<String>,
    pub bytes: Bytes,
    /// Of each file, where the hub says it.
    pub sha256: Vec<Sha256Digest>,
    /// On the GPUs at hand; absent when there is none, or when no plan can be made.
    pub largest: Option<Largest>,
    pub is_here: bool,
    pub problem: Option<String>,
}

/// The largest context that fits, with the cache types that `fit` recommends for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Largest {
    /// 0: it does not fit.
    pub context: u32,
    pub cache_type_k: Option<CacheType>,
    pub cache_type_v: Option<CacheType>,
    /// Foreseen from another file of the repository, scaled to this one's size.
    pub is_estimate: bool,
}

impl Largest {
    /// What a plan for one model recommends.
    pub fn of(plan: &Plan, is_estimate: bool) -> Self {
        let server = plan.recommended.and_then(|index| plan.options.get(index)?.servers.first());
        Self {
            context: server.map_or(0, |server| server.context),
            cache_type_k: server.map(|server| server.cache_type_k),
            cache_type_v: server.map(|server| server.cache_type_v),
            is_estimate,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SidecarFile {
    pub kind: Sidecar,
    pub file: String,
    pub bytes: Bytes,
}

/// For people.
pub fn lines(out: &mut String, view: &RepositoryView) {
    let _ = writeln!(out, "\n{} offers", view.name);
    if view.offers.iter().any(|offer| offer.largest.is_some()) {
        let _ = writeln!(out, "(with the largest context in tokens and its cache type on the GPUs at hand)");
    }
    let width = view.offers.iter().map(|offer| offer.quantization.chars().count()).max().unwrap_or(0).max(12);
    for offer in &view.offers {
        let here = if offer.is_here { "here" } else { "" };
        let sha256 = offer.sha256.first().map(ToString::to_string).unwrap_or_default();
        let sha256 = sha256.get(..12).unwrap_or("-");
        let files = if offer.files.len() > 1 { format!("{} files", offer.files.len()) } else { String::new() };
        let size = offer.bytes.to_string();
        let largest = offer.largest.as_ref().map(context).unwrap_or_default();
        let row = format!("  {:width$}  {size:>10}  {largest:20}  {sha256:12}  {files} {here}", offer.quantization);
        let _ = writeln!(out, "{}", row.trim_end());
        if let Some(problem) = &offer.problem {
            let _ = writeln!(out, "    {}", wrapped(&format!("not whole: {problem}"), WIDTH - 6, 6));
        }
    }
    for sidecar in &view.sidecars {
        let _ = writeln!(out, "  {:width$}  {:>10}  {}", kind(sidecar.kind), sidecar.bytes.to_string(), sidecar.file);
    }
    if view.has_preset {
        let _ = writeln!(
            out,
            "\nIt holds a preset.ini: `llama-server -hf` would take its arguments from there.\nNothing here does: read it first."
        );
    }
    for refused in &view.refused {
        let _ = writeln!(out, "Left out, its name is not safe: {refused}");
    }
    for note in &view.notes {
        let _ = writeln!(out, "{}", wrapped(note, WIDTH, 0));
    }
    if let Some(offer) = view.offers.iter().find(|offer| offer.files.contains(&view.inspected)) {
        let _ = writeln!(out, "\nPlan for it  llama-doctor fit {0}\nBring it     llama-doctor pull {0}", offer.pull);
    }
}

/// `139,520 q8_0`; an estimate has `~` before it.
fn context(largest: &Largest) -> String {
    let Some(cache_type) = largest.cache_type_k else { return "does not fit".to_owned() };
    let about = if largest.is_estimate { "~" } else { "" };
    format!("{about}{} {cache_type}", grouped(u64::from(largest.context)))
}

const fn kind(sidecar: Sidecar) -> &'static str {
    match sidecar {
        Sidecar::Projector => "mmproj",
        Sidecar::Draft => "draft",
        Sidecar::ImportanceMatrix => "imatrix",
    }
}
