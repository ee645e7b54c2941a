//! `inspect PATH|MODEL`: what one thing is, without running it.

use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;

use crate::binary::{self, BinaryError, Depth};
use crate::build::archive;
use crate::build::examine::{self, BuildError, Machinery};
use crate::build::survey::{PROBE_DEADLINE, small_model};
use crate::build::verdict::Driver;
use crate::cli::inspect::Inspect;
use crate::command::Program;
use crate::failure::Failure;
use crate::host::facts::Facts;
use crate::host::real_path::real_path;
use crate::manifest::libraries::libraries;
use crate::probe::Wanted;
use crate::report::inspect::{CudaLibraryFile, Gguf, Inspection, Kind, human};

pub(super) fn run(program: &Program, arguments: &Inspect) -> Result<ExitCode, Failure> {
    let path = Path::new(&arguments.what);
    if fs_err::symlink_metadata(path).is_err() {
        let inspection = super::inspect_model::inspect(program, &arguments.what)?;
        return print(program, &inspection);
    }
    let facts = program.facts()?;
    let gpus = if program.global.gpu.is_empty() { facts.gpus.clone() } else { program.gpus()? };
    let machinery = Machinery { gpus: &gpus, driver: driver(program, &facts), ..Machinery::of(&facts, &program.host) };
    let mut inspection = inspect(path, &machinery)?;
    if let Some(build) = inspection.build.as_mut().filter(|_| arguments.run && inspection.archive.is_none()) {
        // The child works in another folder.
        let named = arguments.model.as_deref().map(real_path).transpose().map_err(BuildError::Unreadable)?;
        let model = named.or_else(|| small_model(&facts));
        let report = crate::probe::run(build, &Wanted { deadline: PROBE_DEADLINE, model });
        crate::build::prove::prove(build, &report, &machinery);
    }
    print(program, &inspection)
}

fn print(program: &Program, inspection: &Inspection) -> Result<ExitCode, Failure> {
    if program.printer.json {
        program.printer.json(inspection)?;
    } else {
        program.printer.answer(&human(inspection, program.printer.verbosity));
    }
    Ok(ExitCode::SUCCESS)
}

/// The driver that the verdicts count with: none for GPUs that were only named, because they are in no machine.
fn driver(program: &Program, facts: &Facts) -> Driver {
    if !program.global.gpu.is_empty() && program.global.facts.is_none() && facts.gpus.is_empty() {
        return Driver { system: facts.host.operating_system, ..Driver::default() };
    }
    Driver::of_machine(facts)
}

fn inspect(path: &Path, machinery: &Machinery<'_>) -> Result<Inspection, Failure> {
    let metadata = fs_err::metadata(path).map_err(BuildError::Unreadable)?;
    if metadata.is_dir() {
        return Ok(Inspection::of_build(path, examine::examine(path, machinery)?));
    }
    if let Some(format) = archive::format_of(path) {
        let contents = archive::read(path, format)?;
        let build = (!contents.members.is_empty()).then(|| {
            let home = examine::main_folder(&contents.members).unwrap_or_default();
            examine::assemble(path, &path.join(home), &contents.members, contents.problems, machinery)
        });
        return Ok(Inspection { archive: Some(contents.archive), build, ..Inspection::new(path, Kind::Archive) });
    }
    if begins_with(path, b"GGUF")? || path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf")) {
        let model = crate::gguf::Model::open(path)?;
        return Ok(Inspection { gguf: Some(Gguf::of(&model)), ..Inspection::new(path, Kind::Gguf) });
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let real = real_path(path).map_err(BuildError::Unreadable)?;
    if let Some((role, major)) = libraries().role_of(&name) {
        let image = read_image(&real)?;
        let cuda_library = CudaLibraryFile::of(role, major, &real, &image);
        return Ok(Inspection {
            cuda_library: Some(cuda_library),
            library: Some(image),
            ..Inspection::new(path, Kind::CudaLibrary)
        });
    }
    match examine::examine(path, machinery) {
        Ok(build) => {
            let single = build.kind == crate::build::BuildKind::Library;
            let library = if single { Some(read_image(&real)?) } else { None };
            let kind = if single { Kind::Library } else { Kind::Build };
            Ok(Inspection { build: Some(build), library, ..Inspection::new(path, kind) })
        }
        Err(BuildError::NotABuild { .. }) => {
            Ok(Inspection { library: Some(read_image(&real)?), ..Inspection::new(path, Kind::Library) })
        }
        Err(BuildError::Binary { error: BinaryError::NotABinary, .. }) => Ok(Inspection::new(path, Kind::Other)),
        Err(error) => Err(error.into()),
    }
}

fn read_image(path: &Path) -> Result<binary::Image, BuildError> {
    binary::read_file(path, Depth::Everything).map_err(|error| BuildError::Binary { path: path.to_owned(), error })
}

fn begins_with(path: &Path, magic: &[u8]) -> Result<bool, BuildError> {
    let file = fs_err::File::open(path).map_err(BuildError::Unreadable)?;
    let mut start = Vec::new();
    file.take(magic.len() as u64).read_to_end(&mut start).map_err(BuildError::Unreadable)?;
    Ok(start == magic)
}
