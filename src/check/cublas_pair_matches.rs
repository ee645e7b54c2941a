//! Asks whether this holds: cuBLAS and its other half come from one place.

use super::over_builds::over_builds;
use super::{Check, Context, Finding, Group, Needs, Remedy};
use std::path::Path;

pub(super) struct CublasPairMatches;

impl Check for CublasPairMatches {
    fn id(&self) -> &'static str {
        "cublas-pair-matches"
    }
    fn title(&self) -> &'static str {
        "cuBLAS and its other half come from one place"
    }
    fn explanation(&self) -> &'static str {
        "`libcublas` calls `libcublasLt` and must be of the same version. When the loader takes one from the \
         build's folder and the other from a toolkit, the first matrix product fails with \
         `CUBLAS_STATUS_NOT_INITIALIZED`."
    }
    fn group(&self) -> Group {
        Group::Builds
    }
    fn needs(&self) -> Needs {
        Needs::Card
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        over_builds(self, *context, |build| {
            let Some(backend) = build.backend("CUDA") else { return Vec::new() };
            let folder_of = |sign: &str| {
                let found = backend
                    .dependencies
                    .iter()
                    .find(|dependency| dependency.name.to_ascii_lowercase().starts_with(sign))?;
                found.path.as_ref()?.parent().map(Path::to_owned)
            };
            let pair = folder_of("libcublas.")
                .or_else(|| folder_of("cublas64"))
                .zip(folder_of("libcublaslt").or_else(|| folder_of("cublaslt64")));
            match pair {
                Some((one, other)) if one != other => vec![
                    self.warn("cuBLAS and cuBLASLt come from different folders, and must be of one version")
                        .seen("libcublas", one.display().to_string())
                        .seen("libcublasLt", other.display().to_string())
                        .remedy(Remedy::advice("Keep the three CUDA libraries together beside the build")),
                ],
                _ => Vec::new(),
            }
        })
    }
}
