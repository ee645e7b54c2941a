//! The build that a plan is for, as far as a plan depends on it: its version, and what its CUDA code can do.

use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CudaBackend {
    pub code: CudaCode,
    /// The CUDA major version that it is linked with.
    pub runtime_major: Option<u32>,
    /// Pairs of cache types with fast kernels: `f16-f16;q8_0-q8_0`; none where the file does not say.
    pub fa_quants: Option<String>,
}

/// What was read of a CUDA backend of hundreds of megabytes, and of which file: it holds while that file stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KnownCuda {
    /// Beside the program.
    pub file: String,
    pub size: u64,
    /// Since 1970.
    pub modified_nanoseconds: u64,
    pub backend: CudaBackend,
}

impl KnownCuda {
    /// Read now; none where no CUDA backend lies beside the program.
    pub fn beside(program: &Path) -> Option<Self> {
        let (path, backend) = cuda(&files_beside(program))?;
        let (size, modified_nanoseconds) = state(&path)?;
        Some(Self { file: file_name(&path), size, modified_nanoseconds, backend })
    }

    fn holds_beside(&self, program: &Path) -> bool {
        // Only a file of the same folder: the name comes from a file that people may edit.
        let is_name = Path::new(&self.file).file_name().is_some_and(|name| *name == *self.file);
        is_name && state(&program.with_file_name(&self.file)) == Some((self.size, self.modified_nanoseconds))
    }
}

/// The CUDA backend beside `program`: as it is known, while its file is the same, or read now.
pub fn cuda_beside(program: &Path, known: Option<&KnownCuda>) -> Option<CudaBackend> {
    match known.filter(|known| known.holds_beside(program)) {
        Some(known) => Some(known.backend.clone()),
        None => cuda(&files_beside(program)).map(|(_, backend)| backend),
    }
}

/// Read from `program` and the libraries beside it, without running them. What cannot be read stays unknown here: to say
/// why is `check`'s part.
pub fn beside(program: &Path) -> AtHand {
    // A link in PATH leads to the folder.
    let program = fs_err::canonicalize(program).unwrap_or_else(|_| program.to_owned());
    let Some(folder) = program.parent() else { return AtHand::default() };
    let files = files_beside(&program);
    let tells_version = |name: &str| {
        ["llama-server", "libllama", "llama", "libggml-base", "ggml-base"].iter().any(|start| name.starts_with(start))
    };
    let members: Vec<Member> = read(&files, &tells_version).collect();
    AtHand { tag: version::read(folder, &members).tag, cuda: cuda(&files).map(|(_, backend)| backend) }
}

fn files_beside(program: &Path) -> Vec<PathBuf> {
    let entries = program.parent().and_then(|folder| fs_err::read_dir(folder).ok());
    let paths = entries.into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
    paths.filter(|path| path.is_file()).collect()
}

fn read<'a>(files: &'a [PathBuf], wanted: &'a dyn Fn(&str) -> bool) -> impl Iterator<Item = Member> + 'a {
    let image = |path: &PathBuf| binary::read_file(path, Depth::Everything).ok();
    let wanted = files.iter().filter(|path| wanted(&file_name(path)));
    wanted.filter_map(move |path| Some(Member { path: path.clone(), image: image(path)? }))
}

fn cuda(files: &[PathBuf]) -> Option<(PathBuf, CudaBackend)> {
    let is_cuda = |name: &str| matches!(module_name(name), Some(Module::Backend(backend)) if backend == "CUDA");
    read(files, &is_cuda).find_map(|member| {
        let image = member.image;
        let code = image.cuda.clone()?;
        let backend = CudaBackend {
            runtime_major: runtime_major(&image, code.ptx_version),
            fa_quants: image.texts.fa_quants.clone(),
            code,
        };
        Some((member.path, backend))
    })
}

/// Size, and nanoseconds since 1970 of the last change.
fn state(path: &Path) -> Option<(u64, u64)> {
    let metadata = fs_err::metadata(path).ok()?;
    let modified = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some((metadata.len(), u64::try_from(modified.as_nanos()).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_holds_until_the_file_changes() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("llama-server");
        let library = folder.path().join("libggml-cuda.so");
        fs_err::write(&library, "no library at all").unwrap();
        let backend = CudaBackend { code: CudaCode::default(), runtime_major: Some(12), fa_quants: None };
        let (size, modified_nanoseconds) = state(&library).unwrap();
        let known = KnownCuda { file: "libggml-cuda.so".to_owned(), size, modified_nanoseconds, backend };
        assert_eq!(cuda_beside(&program, Some(&known)), Some(known.backend.clone()));
        let elsewhere = KnownCuda { file: "../libggml-cuda.so".to_owned(), ..known.clone() };
        assert_eq!(cuda_beside(&program, Some(&elsewhere)), None);
        fs_err::write(&library, "another").unwrap();
        assert_eq!(cuda_beside(&program, Some(&known)), None);
        assert_eq!(KnownCuda::beside(&program), None);
    }
}
