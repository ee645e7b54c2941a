//! `manifests/architectures.toml`: which formula and which keys an architecture uses.

use std::sync::LazyLock;

use serde::Deserialize;

use super::graph::altup::SPARSE_LAYERS;
use super::graph::builder::Activation;
use super::graph::experts::Experts;
use super::graph::tensor::Op;
use super::model::Model;

/// One architecture that is modelled.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Architecture {
    /// `general.architecture`
    pub name: String,
    pub graph: GraphKind,
    #[serde(default)]
    pub memory: Memory,
    #[serde(default)]
    pub window: Window,
    #[serde(default)]
    pub recurrence: Recurrence,
    #[serde(default)]
    pub style: Style,
    #[serde(default)]
    pub experts: Experts,
    /// Layers from this one on read the caches of earlier ones, whatever the file says.
    #[serde(default)]
    pub cached_layers: Option<u32>,
    #[serde(default)]
    pub positions: Positions,
    /// How the names within a layer begin of the tensors that are loaded of multi-token-prediction layers even where none is
    /// predicted: llama.cpp skips the others.
    #[serde(default)]
    pub loads_of_mtp: Vec<String>,
    /// What its users should know about how llama.cpp runs it.
    #[serde(default)]
    pub remark: Option<String>,
    /// Rows of such a model stand in `tests/truth/`; without, its figures are derived from the source alone.
    #[serde(default = "yes")]
    pub measured: bool,
    /// llama.cpp's file that the row was read from.
    pub source: String,
    /// The date.
    pub checked: String,
}

/// Which file of `fit/graph/` describes the graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GraphKind {
    Transformer,
    /// As [`Self::Transformer`], without a cache and with embeddings in place of logits.
    Encoder,
    Bert,
    Deepseek2,
    SparseLatent,
    Mamba,
    Qwen3next,
    /// State-space or convolution layers and attention in turn.
    Hybrid,
    FalconH1,
    NemotronH,
    KimiLinear,
    Rwkv,
    MinimaxM3,
    KimiK3,
    Bailingmoe3,
    HyV4,
    Glm5Next,
    Deepseek4,
    Gemma3n,
    Gemma4,
}

/// What a layer remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Memory {
    /// K and V of each layer.
    #[default]
    Kv,
    /// One compressed row of each layer, shared by all heads.
    Latent,
    /// State of fixed size.
    Recurrent,
    /// Layers of both kinds.
    Hybrid,
    /// Every layer is of both kinds.
    Both,
    /// Nothing.
    None,
}

/// Which layers see a window only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// All but every n-th layer; 0 = none. The file's `attention.sliding_window_pattern` goes first.
    #[serde(default)]
    pub every: u32,
    /// The whole-context layer is the first of each n, not the last.
    #[serde(default)]
    pub dense_first: bool,
    /// Cells where the file does not say.
    #[serde(default)]
    pub cells: u64,
    /// Only where the file has `attention.sliding_window`.
    #[serde(default)]
    pub optional: bool,
    /// `cells` count whatever the file says, as long as it does not say 0.
    #[serde(default)]
    pub fixed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recurrence {
    #[default]
    None,
    All,
    /// Layers without KV heads.
    WithoutKvHeads,
    /// Layers with neither KV heads nor feed-forward.
    WithoutKvHeadsOrFeedForward,
    /// All but every `full_attention_interval`-th.
    Interval,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Norm {
    #[default]
    Rms,
    Layer,
    /// By root mean square where the file has `attention.layer_norm_rms_epsilon`.
    RmsIfSaid,
}

impl Norm {
    pub(crate) fn op(self, model: &Model) -> Op {
        match self {
            Self::Rms => Op::RmsNorm,
            Self::RmsIfSaid if model.number("attention.layer_norm_rms_epsilon").is_some_and(|one| one != 0.0) => {
                Op::RmsNorm
            }
            Self::RmsIfSaid | Self::Layer => Op::Norm,
        }
    }
}

/// How transformers of one drawing differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Style {
    pub norm: Norm,
    pub activation: Activation,
    /// A batch holds tokens or vectors, never both (`src/llama-arch.cpp:1182`).
    pub separates_inputs: bool,
    /// Embeddings are multiplied by the root of their width.
    pub scales_embedding: bool,
    /// The same, always with one factor for all rows.
    pub scales_embedding_plainly: bool,
    /// Embeddings, what layers add, and logits are scaled even where the file gives no factor.
    pub scales_embedding_always: bool,
    pub scales_residual_always: bool,
    pub scales_logits_always: bool,
    /// The last norm's result is scaled before the logits.
    pub scales_last_norm: bool,
    /// Embeddings of the positions are added to those of the tokens, where the file has them.
    pub adds_positions: bool,
    /// Embeddings are normed, with `token_embd_norm` where the file has it.
    pub norms_embedding: bool,
    /// Queries are scaled before attention.
    pub scales_query: bool,
    /// Scores are squashed (`attn_logit_softcapping`).
    pub caps_attention: bool,
    /// The same, even where the file says nothing.
    pub caps_attention_always: bool,
    /// llama.cpp turns flash attention off for it (`src/llama-context.cpp:3819`).
    pub refuses_flash_attention: bool,
    /// Later models of the family let layers use the choice of an earlier layer's indexer.
    pub shares_indexers: bool,
    /// Attention and feed-forward start from one norm.
    pub parallel: bool,
    /// The same, unless `use_parallel_residual` says no.
    pub parallel_unless_said: bool,
    /// Layers without a norm before feed-forward feed from the one before attention.
    pub feeds_from_attention_norm: bool,
    /// The residual stands first in the sum after attention.
    pub residual_first_in_attention: bool,
    /// The residual stands first in the sum after feed-forward; in a hybrid, in both sums.
    pub residual_first: bool,
    /// In a parallel layer, the residual is added before attention.
    pub residual_before_attention: bool,
    /// Gate and up of shared experts are one tensor.
    pub joined_shared_experts: bool,
    /// In a parallel layer, attention stands first in the sum.
    pub attention_first: bool,
    /// The rows to put out are chosen after the last layer, not within it.
    pub rows_late: bool,
    /// The rows to put out are chosen after the last norm.
    pub rows_after_norm: bool,
    /// The rows to put out are chosen after the norm after attention, not before it.
    pub rows_after_post_norm: bool,
    /// The norms after attention and feed-forward are free to wander between devices.
    pub unpinned_post_norms: bool,
    /// `attn_output_norm` is the norm after attention, not the one before feed-forward.
    pub attn_output_norm_is_post_norm: bool,
    /// `post_attention_norm` is the norm before feed-forward.
    pub post_norm_is_ffn_norm: bool,
    /// The norm after feed-forward belongs to the layer's device.
    pub pins_last_norm: bool,
    /// The output is the input table itself, in host memory: no second copy of it is made.
    pub output_is_input: bool,
    /// Heads are normed even where the file has no weights for it.
    pub norms_heads_always: bool,
    /// Each layer's end gets the embeddings once more, scaled by `layer_output_scale`.
    pub adds_scaled_embedding: bool,
    /// Q and K are normed by the mean, whatever other norms are.
    pub norms_heads_by_mean: bool,
    /// Norms come after attention and feed-forward where the file has `swin_norm`.
    pub norms_after_if_swin: bool,
    /// Logits of image tokens are overwritten (Chameleon).
    pub masks_image_logits: bool,
    /// Logits are computed of every row.
    pub keeps_all_rows: bool,
    /// Layers are passed several times, each time with a cache of its own (`num_loops`).
    pub loops: bool,
    /// The first layer may have no norm before attention.
    pub first_norm_optional: bool,
    /// Files without `output.weight` have no output at all, where others use the token embeddings a second time.
    pub needs_no_output: bool,
    /// Attention goes both ways whatever the file says.
    pub never_causal: bool,
    /// No norms before attention and feed-forward, only after them.
    pub norms_after: bool,
    /// Q and K are normed before they become heads.
    pub norms_whole_rows: bool,
    /// Q and K are normed after rope.
    pub norm_after_rope: bool,
    /// V is normed, without weights.
    pub norms_values: bool,
    /// Queries are multiplied by a factor that grows with the position.
    pub temperature: bool,
    /// The same, in layers without positions only, and always.
    pub temperature_without_rope: bool,
    /// Q and K are normed after rope, without weights; not with 128 experts (llama4).
    pub norms_roped_heads: bool,
    pub rope: Rope,
    pub attention_gate: AttentionGate,
    /// The router reads the layer's input, before any norm.
    pub routes_early: bool,
    /// A dense block stands beside the experts.
    pub dense_beside_experts: bool,
    /// The sum of routed and shared experts is scaled.
    pub scales_shared_sum: bool,
    /// Queries and their gate become heads before they are parted.
    pub reshapes_gate_first: bool,
    /// Gate and up are clamped, where the file says so, by nodes of their own.
    pub clamps_apart: bool,
    /// Keys of a delta net are repeated up to the heads of its values.
    pub repeats_delta_heads: bool,
    /// The file calls the last norm `token_embd_norm`.
    pub misnames_output_norm: bool,
    /// The shared expert's gate is computed before the expert.
    pub shared_gate_first: bool,
    /// The shared expert's gate is computed as x / silu(x).
    pub shared_gate_silu: bool,
}

/// Which layers are given positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rope {
    #[default]
    Always,
    /// The file's frequency factors, if any, are not used.
    WithoutFactors,
    Never,
    WindowedOnly,
    /// Windowed layers, and those before the first with experts.
    WindowedOrDense,
    /// Models of 32 layers only: larger ones of the family have none.
    With32Layers,
    AllButEveryFourth,
    /// As `rope.scaling.finetuned` says; always without it.
    Finetuned,
}

/// What attention's result is multiplied by before its projection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttentionGate {
    #[default]
    None,
    Sigmoid,
    Softplus,
}

/// How many positions a token has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Positions {
    #[default]
    One,
    /// Multimodal rope.
    Four,
    /// Multimodal rope where the file has `rope.dimension_sections`.
    FourWithSections,
}

impl Style {
    /// What shared experts do between their projections.
    pub(crate) const fn shared_activation(&self) -> Activation {
        if self.joined_shared_experts { Activation::GatedJoined } else { self.activation }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    architecture: Vec<Architecture>,
}

const fn yes() -> bool {
    true
}

/// Parsed once; a test proves that the embedded file parses.
#[expect(clippy::expect_used, reason = "the file is embedded and a test parses it")]
static ALL: LazyLock<Vec<Architecture>> = LazyLock::new(|| {
    toml::from_str::<File>(include_str!("../../manifests/architectures.toml"))
        .expect("manifests/architectures.toml parses")
        .architecture
});

pub fn all() -> &'static [Architecture] {
    &ALL
}

pub fn find(name: &str) -> Option<&'static Architecture> {
    ALL.iter().find(|one| one.name == name)
}

impl Architecture {
    pub(crate) fn positions_per_token(&self, model: &Model) -> u64 {
        let has_sections = || {
            model
                .each("rope.dimension_sections")
                .is_some_and(|all| all.len() > 1 && all[..2].iter().all(|one| *one > 0.0))
        };
        match self.positions {
            Positions::Four => 4,
            Positions::FourWithSections if has_sections() => 4,
            Positions::One | Positions::FourWithSections => 1,
        }
    }

    /// Files of this shape carry no `expert_gating_func` and mean a sigmoid (`src/models/deepseek2.cpp`: GLM 4.7 Flash).
    pub(crate) fn sigmoid_by_shape(&self, model: &Model) -> bool {
        self.graph == GraphKind::Deepseek2 && matches!(model.layers(), 47 | 48) && model.vocabulary == 154_880
    }

    /// What tells a layer from another beyond its weights: where its number decides.
    pub(crate) fn layer_kind(&self, model: &Model, layer: u32) -> (bool, u64) {
        let ropes = match self.style.rope {
            Rope::AllButEveryFourth => u64::from(!model.ropes_by_number(layer)),
            _ => 0,
        };
        let sparse = self.graph == GraphKind::Gemma3n && layer < SPARSE_LAYERS;
        // The first layer of RWKV 7 has no earlier values to mix with.
        let first = self.graph == GraphKind::Rwkv && layer == 0;
        // Each layer of Kimi K3 mixes what all before it have banked.
        let ropes = if self.graph == GraphKind::KimiK3 { u64::from(layer) } else { ropes };
        let special = u64::from(layer) < model.deepstack_layers() || sparse || first;
        (special, ropes + 2 * u64::from(model.rescales_after(layer)))
    }

    /// Whether a tensor of a multi-token-prediction layer is loaded though nothing is predicted with it.
    pub(crate) fn loads_of_mtp(&self, name: &str) -> bool {
        let within = name.splitn(3, '.').nth(2).unwrap_or(name);
        self.loads_of_mtp.iter().any(|start| within.starts_with(start.as_str()))
    }

    /// An indexer with a cache of its own chooses what attention sees.
    pub(crate) fn has_indexer(&self) -> bool {
        matches!(self.graph, GraphKind::SparseLatent | GraphKind::HyV4 | GraphKind::Glm5Next)
    }

    /// Layers use the choice of an earlier one: GLM from 5.2 on, told by its context (`src/models/glm-dsa.cpp:60`).
    pub(crate) fn shares_indexers(&self, model: &Model) -> bool {
        self.style.shares_indexers && model.train_context >= 1_048_576
    }

    /// Makes embeddings and no text.
    pub fn encodes(&self) -> bool {
        matches!(self.graph, GraphKind::Encoder | GraphKind::Bert)
    }

    /// What the user should know about the figures, and about how the architecture runs.
    pub(crate) fn notes(&self) -> impl Iterator<Item = String> {
        let unmeasured = (!self.measured).then(|| {
            format!(
                "figures for `{}` are derived from llama.cpp's source, not measured: leave some memory free",
                self.name
            )
        });
        unmeasured.into_iter().chain(self.remark.clone())
    }

    /// Every layer has a state and a cache (falcon-h1).
    pub(crate) const fn attends_and_recurs(&self) -> bool {
        matches!(self.memory, Memory::Both)
    }

    pub(crate) fn has_window_cache(&self) -> bool {
        self.window != Window::default()
    }

    /// Finds the model's windowed layers.
    pub(crate) fn windows(&self, model: &mut Model) {
        let rule = self.window;
        if rule == Window::default() {
            return;
        }
        let given = model.whole("attention.sliding_window");
        let cells = match given {
            Some(given) if given == 0 || !rule.fixed => given,
            None if rule.optional => 0,
            _ => rule.cells,
        };
        if cells == 0 {
            return;
        }
        model.window = cells;
        let layers = model.layers() as usize;
        let pattern: Option<Vec<bool>> = model
            .each("attention.sliding_window_pattern")
            .map(|values| values.iter().map(|value| *value != 0.0).collect());
        if let Some(pattern) = pattern {
            for (layer, windowed) in pattern.into_iter().enumerate().take(layers) {
                model.windowed[layer] = windowed;
            }
            return;
        }
        let every = model.whole("attention.sliding_window_pattern").unwrap_or(u64::from(rule.every)) as usize;
        for layer in 0..layers {
            model.windowed[layer] = match (every, rule.dense_first) {
                (0, _) => true,
                (every, true) => layer % every != 0,
                (every, false) => layer % every < every - 1,
            };
        }
    }

    /// Finds the model's recurrent layers.
    pub(crate) fn recurrence(&self, model: &mut Model) {
        let layers = model.layers();
        for layer in 0..layers {
            model.recurrent[layer as usize] = match self.recurrence {
                Recurrence::None => false,
                Recurrence::All => true,
                Recurrence::WithoutKvHeads => model.kv_heads[layer as usize] == 0,
                Recurrence::WithoutKvHeadsOrFeedForward => {
                    model.kv_heads[layer as usize] == 0
                        && model.whole_at("feed_forward_length", layer).unwrap_or(0) == 0
                }
                Recurrence::Interval => {
                    let interval = model.whole("full_attention_interval").filter(|every| *every > 0).unwrap_or(4);
                    match model.whole_at("attention.recurrent_layers", layer) {
                        Some(flag) => flag != 0,
                        None => u64::from(layer + 1) % interval != 0,
                    }
                }
            };
        }
    }
}
