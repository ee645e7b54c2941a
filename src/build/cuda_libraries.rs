//! Every copy of CUDA's own libraries on the machine.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use crate::manifest::libraries::Role;

use super::Build;
use super::places::{matching, site_packages};
use crate::binary::{self, Depth, Image};
use crate::host::Host;
use crate::host::environment::LD_LIBRARY_PATH;
use crate::host::real_path::real_path;
use crate::loader::ld_cache;
use crate::manifest::libraries::libraries;
use crate::units::CudaVersion;

/// Who put a library where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    Driver,
    Wsl,
    Toolkit,
    PythonWheel,
    Conda,
    /// Next to a llama.cpp build.
    Build,
    System,
    /// The toolkit's stand-in for the driver, good for linking only.
    Stub,
    Other,
}

/// One copy of one of CUDA's libraries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CudaLibrary {
    pub role: Role,
    /// The file itself, links followed.
    pub path: PathBuf,
    /// `libcudart.so.13`
    pub name: String,
    pub major: Option<u32>,
    /// As far as the file's name or its version resource tells: `13.5.37`.
    pub version: Option<String>,
    pub origin: Origin,
    /// The builds whose CUDA backend the loader would give it.
    #[serde(default)]
    pub picked_by: Vec<String>,
}

/// Where copies may lie, besides `ld.so.cache`, and who puts them there.
const PLACES: &[(&str, Origin)] = &[
    ("/usr/lib/wsl/lib", Origin::Wsl),
    ("/usr/local/cuda*/lib64", Origin::Toolkit),
    ("/usr/local/cuda*/lib64/stubs", Origin::Stub),
    ("/usr/local/cuda*/compat", Origin::Toolkit),
    ("/opt/cuda/lib64", Origin::Toolkit),
    ("/opt/cuda/targets/x86_64-linux/lib", Origin::Toolkit),
    ("/run/opengl-driver/lib", Origin::Driver),
    ("$CONDA_PREFIX/lib", Origin::Conda),
    ("/opt/conda/lib", Origin::Conda),
    ("C:/Windows/System32", Origin::Driver),
    ("C:/Program Files/NVIDIA GPU Computing Toolkit/CUDA/v*/bin", Origin::Toolkit),
    ("C:/Program Files/NVIDIA GPU Computing Toolkit/CUDA/v*/bin/x64", Origin::Toolkit),
];
/// Within each folder of Python packages.
const WHEELS: &[&str] = &["nvidia/*/lib", "nvidia/*/bin", "nvidia/*/bin/x86_64"];

/// All copies, each file once, with those who would pick it.
pub fn find(host: &Host, builds: &[Build]) -> Vec<CudaLibrary> {
    let mut folders: Vec<(PathBuf, Origin)> = Vec::new();
    for (pattern, origin) in PLACES {
        folders.extend(matching(host, pattern).into_iter().map(|folder| (folder, *origin)));
    }
    for packages in site_packages(host) {
        for pattern in WHEELS {
            let found = matching(host, &packages.join(pattern).to_string_lossy());
            folders.extend(found.into_iter().map(|folder| (folder, Origin::PythonWheel)));
        }
    }
    for build in builds {
        for file in build.backends.iter().filter_map(|backend| backend.file.as_deref()) {
            folders.extend(file.parent().map(|folder| (folder.to_owned(), Origin::Build)));
        }
    }
    let library_path = host.text_variable(LD_LIBRARY_PATH.name).unwrap_or_default();
    for folder in library_path.split([':', ';']).filter(|folder| !folder.is_empty()) {
        folders.push((PathBuf::from(folder), Origin::Other));
    }
    let mut found = Found { host, libraries: BTreeMap::new() };
    for (folder, origin) in folders {
        found.add_folder(&folder, origin);
    }
    let cached = fs_err::read(host.path("/etc/ld.so.cache")).ok().and_then(|bytes| ld_cache::read(&bytes).ok());
    for entry in cached.unwrap_or_default() {
        let origin = if entry.path.contains("/cuda") { Origin::Toolkit } else { Origin::System };
        found.add_file(Path::new(&entry.path), origin);
    }
    let mut libraries: Vec<CudaLibrary> = found.libraries.into_values().collect();
    for library in &mut libraries {
        library.picked_by = pickers(host, &library.path, builds);
    }
    libraries.sort_by(|one, other| (one.role, &one.path).cmp(&(other.role, &other.path)));
    libraries
}

struct Found<'a> {
    host: &'a Host,
    libraries: BTreeMap<PathBuf, CudaLibrary>,
}

impl Found<'_> {
    fn add_folder(&mut self, folder: &Path, origin: Origin) {
        // A folder that cannot be read holds nothing for us.
        let Ok(entries) = fs_err::read_dir(self.host.path(folder)) else { return };
        for entry in entries.flatten() {
            self.add_file(&folder.join(entry.file_name()), origin);
        }
    }

    fn add_file(&mut self, path: &Path, origin: Origin) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some((role, major)) = libraries().role_of(&name) else { return };
        // A dangling link is the loader's business; here are copies that exist.
        let Ok(real) = real_path(&self.host.path(path)) else { return };
        if self.libraries.contains_key(&real) {
            return;
        }
        let Ok(image) = binary::read_file(&real, Depth::Links) else { return };
        let wheel = || (origin == Origin::PythonWheel).then(|| wheel_version(self.host, path, role)).flatten();
        let version = wheel().or_else(|| version_of(&real, &image));
        let origin = match (origin, role) {
            _ if path.components().any(|part| part.as_os_str() == "stubs") => Origin::Stub,
            (Origin::System, Role::Driver | Role::Nvml | Role::Jit) => Origin::Driver,
            (origin, _) => origin,
        };
        // `libcuda.so` leads to a file that calls itself `libcuda.so.1`.
        let major = major.or_else(|| libraries().role_of(image.name.as_deref()?)?.1);
        let library = CudaLibrary {
            role,
            name: image.name.unwrap_or(name),
            major,
            version,
            origin,
            picked_by: Vec::new(),
            path: real.clone(),
        };
        self.libraries.insert(real, library);
    }
}

/// `nvidia_cuda_runtime-13.5.37.dist-info`, beside the folder `nvidia` of the wheel.
fn wheel_version(host: &Host, path: &Path, role: Role) -> Option<String> {
    let package = libraries().libraries.iter().find(|row| row.role == role)?.pypi.as_ref()?.replace('-', "_");
    let packages = path.ancestors().find(|folder| folder.file_name().is_some_and(|name| name == "nvidia"))?.parent()?;
    // `nvidia/cu13` is of the packages without a suffix; the older ones have a folder for each library.
    let suffix = if path.components().any(|part| part.as_os_str() == "cu13") { "" } else { "_cu*" };
    let notes = matching(host, &packages.join(format!("{package}{suffix}-*.dist-info")).to_string_lossy());
    let name = notes.first()?.file_name()?.to_string_lossy().into_owned();
    Some(name.strip_suffix(".dist-info")?.rsplit_once('-')?.1.to_owned())
}

fn pickers(host: &Host, library: &Path, builds: &[Build]) -> Vec<String> {
    let picks = |build: &&Build| {
        // A process that ran knows better than the search.
        if !build.mapped.is_empty() {
            return build.mapped.iter().any(|path| real_path(path).is_ok_and(|real| real == library));
        }
        build.backends.iter().filter(|backend| backend.name == "CUDA").any(|backend| {
            backend
                .dependencies
                .iter()
                .filter_map(|dependency| dependency.path.as_deref())
                .any(|path| real_path(&host.path(path)).is_ok_and(|real| real == library))
        })
    };
    builds.iter().filter(picks).map(|build| build.path.display().to_string()).collect()
}

/// `libcudart.so.13.5.37` tells by its name, a DLL by its version resource.
pub fn version_of(path: &Path, image: &Image) -> Option<String> {
    let name = path.file_name()?.to_string_lossy().into_owned();
    let of_name =
        name.split_once(".so.").map(|(_, version)| version.to_owned()).filter(|version| version.contains('.'));
    of_name.or_else(|| {
        let version = image.file_version.clone()?;
        // NVIDIA's DLLs of CUDA carry its integer form in the last place: 6.14.11.13050 is 13.5.
        let number = version.strip_prefix("6.14.11.").and_then(|number| number.parse().ok());
        number.and_then(CudaVersion::from_integer).map(|cuda| cuda.to_string()).or(Some(version))
    })
}
