//! The build that a plan is for, as far as a plan depends on it: its version, and what its CUDA code can do.

use std::path::{Path, PathBuf};

use super::backend::runtime_major;
use super::examine::Member;
use super::member::{Module, file_name, module_name};
use super::version;
use crate::binary::fatbin::CudaCode;
use crate::binary::{self, Depth};
use crate::units::BuildTag;

#[derive(Debug, Clone, Default)]
pub struct AtHand {
    pub tag: Option<BuildTag>,
    /// None where no CUDA backend lies beside the program.
    pub cuda: Option<CudaBackend>,
}

#[derive(Debug, Clone)]
pub struct CudaBackend {
    pub code: CudaCode,
    /// The CUDA major version that it is linked with.
    pub runtime_major: Option<u32>,
    /// Pairs of cache types with fast kernels: `f16-f16;q8_0-q8_0`; none where the file does not say.
    pub fa_quants: Option<String>,
}

/// Read from `program` and the libraries beside it, without running them. What cannot be read stays unknown here: to say
/// why is `check`'s part.
pub fn beside(program: &Path) -> AtHand {
    // A link in PATH leads to the folder.
    let program = fs_err::canonicalize(program).unwrap_or_else(|_| program.to_owned());
    let Some(folder) = program.parent() else { return AtHand::default() };
    let Ok(entries) = fs_err::read_dir(folder) else { return AtHand::default() };
    let files: Vec<PathBuf> =
        entries.filter_map(Result::ok).map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    let read = |wanted: &dyn Fn(&str) -> bool| -> Vec<Member> {
        let wanted = files.iter().filter(|path| wanted(&file_name(path)));
        let image = |path: &PathBuf| binary::read_file(path, Depth::Everything).ok();
        wanted.filter_map(|path| Some(Member { path: path.clone(), image: image(path)? })).collect()
    };
    let tells_version = |name: &str| {
        ["llama-server", "libllama", "llama", "libggml-base", "ggml-base"].iter().any(|start| name.starts_with(start))
    };
    let is_cuda = |name: &str| matches!(module_name(name), Some(Module::Backend(backend)) if backend == "CUDA");
    let cuda = read(&is_cuda).into_iter().find_map(|member| {
        let image = member.image;
        let code = image.cuda.clone()?;
        Some(CudaBackend {
            runtime_major: runtime_major(&image, code.ptx_version),
            fa_quants: image.texts.fa_quants.clone(),
            code,
        })
    });
    AtHand { tag: version::read(folder, &read(&tells_version)).tag, cuda }
}
