//! What a repository of models offers, as part of `inspect`.

use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::net::digest::Sha256Digest;
use crate::source::quantization::Sidecar;
use crate::units::Bytes;

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
    pub is_here: bool,
    pub problem: Option<String>,
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
    let width = view.offers.iter().map(|offer| offer.quantization.chars().count()).max().unwrap_or(0).max(12);
    for offer in &view.offers {
        let here = if offer.is_here { "here" } else { "" };
        let sha256 = offer.sha256.first().map(ToString::to_string).unwrap_or_default();
        let sha256 = sha256.get(..12).unwrap_or("-");
        let files = if offer.files.len() > 1 { format!("{} files", offer.files.len()) } else { String::new() };
        let size = offer.bytes.to_string();
        let row = format!("  {:width$}  {size:>10}  {sha256:12}  {files:9} {here}", offer.quantization);
        let _ = writeln!(out, "{}", row.trim_end());
        if let Some(problem) = &offer.problem {
            let _ = writeln!(out, "    not whole: {problem}");
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
        let _ = writeln!(out, "{note}");
    }
    if let Some(offer) = view.offers.iter().find(|offer| offer.files.contains(&view.inspected)) {
        let _ = writeln!(out, "\nPlan for it  llama-doctor fit {0}\nBring it     llama-doctor pull {0}", offer.pull);
    }
}

const fn kind(sidecar: Sidecar) -> &'static str {
    match sidecar {
        Sidecar::Projector => "mmproj",
        Sidecar::Draft => "draft",
        Sidecar::ImportanceMatrix => "imatrix",
    }
}
