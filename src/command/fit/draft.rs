//! How the first model's server drafts tokens: with a smaller model, with layers for multi-token prediction, or not at all
//! (llama.cpp b11434 `common/arg.cpp:566`, `common/speculative.cpp:2351`).

use super::shown;
use crate::cli::fit::{FitArguments, SpeculationArgument};
use crate::command::Program;
use crate::failure::Failure;
use crate::fit::Model;
use crate::fit::need::{Draft, DraftMeans};
use crate::fit::settings::{CacheType, GpuLayers};
use crate::manifest::server_flags;
use crate::model::ResolvedModel;
use crate::script::arguments::Location;
use crate::units::BuildTag;

/// What drafts, and the file that it is loaded from where that is another one than the model's.
pub(super) struct Drafting {
    pub(super) means: DraftMeans,
    file: Option<(ResolvedModel, Model)>,
}

impl Drafting {
    pub(super) fn of(
        program: &Program,
        arguments: &FitArguments,
        resolved: &[ResolvedModel],
        shapes: &[Model],
    ) -> Result<Option<Self>, Failure> {
        let asked = arguments.spec_type;
        if asked == Some(SpeculationArgument::None) && arguments.model_draft.is_some() {
            return Err(Failure::usage(
                "`--spec-type none` beside `-md`: llama-server would load the draft and not use it",
            )
            .hinted("leave out one of the two"));
        }
        let file = match file_name(arguments, resolved, shapes) {
            None => None,
            Some(name) => {
                let file = crate::model::resolve(program, name)?;
                let shape = Model::new(&file.model)?;
                Some((file, shape))
            }
        };
        let own_layers = shapes.first().map_or(0, |shape| shape.layers_mtp);
        let means = match (asked, &file) {
            (None | Some(SpeculationArgument::None), None) => return Ok(None),
            (Some(SpeculationArgument::DraftSimple), None) => {
                return Err(Failure::usage("`--spec-type draft-simple` needs a draft model")
                    .hinted("name a small model of the same family with `-md`"));
            }
            (Some(SpeculationArgument::DraftMtp), None) if own_layers > 0 => DraftMeans::HeadOfTheModel,
            (Some(SpeculationArgument::DraftMtp), file) if file.as_ref().is_none_or(|(_, one)| one.layers_mtp == 0) => {
                let which = if file.is_some() { "the draft" } else { "this model" };
                return Err(Failure::usage(format!(
                    "{which} has no multi-token-prediction layers for `--spec-type draft-mtp`"
                ))
                .hinted("name a file of such layers with `-md`"));
            }
            (Some(SpeculationArgument::DraftMtp), _) => DraftMeans::HeadOfItsOwn,
            (None, Some((_, shape))) if shape.layers_mtp > 0 => DraftMeans::HeadOfItsOwn,
            (_, Some(_)) => DraftMeans::Model,
        };
        Ok(Some(Self { means, file }))
    }

    pub(super) fn location(&self) -> Result<Option<Location>, Failure> {
        self.file.as_ref().map(|(file, _)| shown::location(file)).transpose()
    }

    /// As part of the server of `main`.
    pub(super) fn server<'a>(&'a self, arguments: &FitArguments, main: &'a Model) -> Draft<'a> {
        Draft {
            model: self.file.as_ref().map_or(main, |(_, shape)| shape),
            means: self.means,
            cache_type_k: arguments.cache_type_k_draft.unwrap_or(CacheType::F16),
            cache_type_v: arguments.cache_type_v_draft.unwrap_or(CacheType::F16),
            gpu_layers: arguments.gpu_layers_draft.unwrap_or(GpuLayers::All),
        }
    }

    /// What llama-server is told. Without a type it loads a draft model and does not use it.
    pub(super) fn words(&self, arguments: &FitArguments, build: Option<BuildTag>) -> Vec<String> {
        let kind = if self.means == DraftMeans::Model { "draft-simple" } else { "draft-mtp" };
        let mut words = Vec::new();
        if let Some(spelling) = server_flags::spelling("spec-type", build) {
            words.extend([spelling.text.clone(), kind.to_owned()]);
        }
        if let Some(count) = arguments.spec_draft_n_max {
            words.extend(["--spec-draft-n-max".to_owned(), count.to_string()]);
        }
        for (flag, kind) in [("-ctkd", arguments.cache_type_k_draft), ("-ctvd", arguments.cache_type_v_draft)] {
            words.extend(kind.into_iter().flat_map(|kind| [flag.to_owned(), kind.to_string()]));
        }
        if let Some(GpuLayers::Count(layers)) = arguments.gpu_layers_draft {
            words.extend(["-ngld".to_owned(), layers.to_string()]);
        }
        words
    }
}

/// The draft model that was asked for; with `--spec-type draft-mtp`, for a model without such layers, the heads that lie
/// beside it in its repository, as `llama-server -hf` takes them (b11434 `common/download.cpp:749`).
fn file_name<'a>(arguments: &'a FitArguments, resolved: &'a [ResolvedModel], shapes: &[Model]) -> Option<&'a String> {
    let beside = || {
        let wants = arguments.spec_type == Some(SpeculationArgument::DraftMtp);
        let lacks = shapes.first().is_some_and(|shape| shape.layers_mtp == 0);
        resolved.first().filter(|_| wants && lacks)?.mtp.as_ref()
    };
    arguments.model_draft.as_ref().or_else(beside)
}
