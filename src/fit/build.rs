//! Which llama.cpp's allocations are predicted: what differs between builds is data here, and nowhere else.

use super::graph::fusion;
use crate::units::BuildTag;

/// A build whose allocations are modelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    V0_5_0,
    B11434,
}

/// The build that a prediction is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Build {
    Known(Variant),
    /// A build that is not modelled: planned with the largest of the known ones.
    Unknown(BuildTag),
}

/// The nightlies between v0.5.0 and b11434 are unknown; releases from this one on are nightlies from b11434 on.
const MODELLED_NIGHTLY: u32 = 11434;

impl Build {
    /// The newest that is modelled.
    pub const NEWEST: Self = Self::Known(Variant::B11434);

    pub fn of(tag: BuildTag) -> Self {
        match tag {
            BuildTag::Nightly(MODELLED_NIGHTLY) => Self::Known(Variant::B11434),
            BuildTag::Release { major: 0, minor: 5, patch: 0 } => Self::Known(Variant::V0_5_0),
            other => Self::Unknown(other),
        }
    }

    /// The variants that a prediction takes the largest of.
    pub(crate) fn variants(self) -> &'static [Variant] {
        match self {
            Self::Known(Variant::V0_5_0) => &[Variant::V0_5_0],
            Self::Known(Variant::B11434) => &[Variant::B11434],
            Self::Unknown(_) => &[Variant::B11434, Variant::V0_5_0],
        }
    }

    /// What to tell the user about a build that is not modelled.
    pub fn note(self) -> Option<String> {
        match self {
            Self::Known(_) => None,
            Self::Unknown(tag) => {
                Some(format!("allocations of {tag} are not modelled: planned with the larger of v0.5.0 and b11434"))
            }
        }
    }
}

/// How a variant builds and places its graphs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rules {
    /// A third input branch, for batches that mix tokens and embeddings.
    pub(crate) mixed_input: bool,
    /// Scaled embeddings are multiplied by a factor for each row instead of one for all.
    pub(crate) scales_rows: bool,
    /// Norms stay on their layer's device. llama.cpp's own dry run, on which its `--fit` relies, forgets that in b11434:
    /// then a second GPU needs one more tensor from the first. Planned is the larger figure.
    pub(crate) pins_norms: bool,
    /// Recurrent states of all sequences are gathered at once.
    pub(crate) gathers_all_states: bool,
    /// Delta nets norm by RMS and a scale instead of one op.
    pub(crate) norms_by_scaling: bool,
    /// For a pipeline, inputs that no node reads are copied too.
    pub(crate) copies_unread_inputs: bool,
    pub(crate) fusions: fusion::Rules,
}

impl Variant {
    pub(crate) const fn rules(self) -> Rules {
        match self {
            Self::B11434 => Rules {
                mixed_input: true,
                scales_rows: true,
                pins_norms: false,
                gathers_all_states: true,
                norms_by_scaling: true,
                copies_unread_inputs: true,
                fusions: fusion::Rules {
                    weighted_reduction: true,
                    shared_expert: true,
                    router: true,
                    reduction_experts: 15,
                },
            },
            Self::V0_5_0 => Rules {
                mixed_input: false,
                scales_rows: false,
                pins_norms: true,
                gathers_all_states: false,
                norms_by_scaling: false,
                copies_unread_inputs: false,
                fusions: fusion::Rules {
                    weighted_reduction: true,
                    shared_expert: false,
                    router: true,
                    reduction_experts: 15,
                },
            },
        }
    }
}
