//! The folders that Windows looks into, each with the rule that puts it there, and those that it does not look into
//! though people think so.

use std::path::{Path, PathBuf};

use super::opening::site_packages;
use super::system::windows_path;
use super::{Loader, Opening, Question, file_name};
use crate::binary::side_by_side::Assembly;
use crate::host::environment::CUDA_PATH;
use crate::loader::linux::Loaded;
use crate::loader::{Dependency, DependencyState};

/// A folder and why it counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) folder: PathBuf,
    pub(super) rule: String,
    /// The rule in short, for what was searched in vain.
    pub(super) group: &'static str,
}

impl Place {
    pub(super) fn new(folder: &Path, rule: &'static str) -> Self {
        Self { folder: folder.to_owned(), rule: rule.to_owned(), group: rule }
    }

    fn told(folder: PathBuf, rule: String, group: &'static str) -> Self {
        Self { folder, rule, group }
    }
}

impl Loader<'_> {
    /// The folders in the order of the way of opening.
    pub(super) fn places(&self, asking: &Loaded, question: &Question<'_>) -> Vec<Place> {
        let own = question.file.path.parent().unwrap_or(Path::new(""));
        let mut places = Vec::new();
        let standard = |places: &mut Vec<Place>, first: Option<Place>| {
            if let Some(system) = &self.system {
                places.push(Place::new(&system.system_folder(asking.image.machine), "System32"));
                places.push(Place::new(&system.folder, "the Windows folder"));
                places.extend(first);
                places.extend(
                    system
                        .path
                        .iter()
                        .map(|folder| Place::told(folder.clone(), format!("PATH ({})", folder.display()), "PATH")),
                );
            }
        };
        match question.opening {
            Opening::Program { folder } => {
                places.push(Place::new(folder, "the program's folder"));
                standard(&mut places, None);
            }
            Opening::NodeAddon => {
                places.push(Place::new(own, "the addon's folder"));
                standard(&mut places, None);
            }
            Opening::InsideNode => {
                places.extend(
                    self.program_folder("node.exe").map(|folder| Place::new(&folder, "the folder of node.exe")),
                );
                standard(&mut places, None);
            }
            Opening::PythonCtypes => {
                places.extend(self.python_folder(own).map(|folder| Place::new(&folder, "the folder of python.exe")));
                let package = Place::new(own, "PATH (set by llama_cpp)");
                match self.system {
                    Some(_) => standard(&mut places, Some(package)),
                    None => places.push(package),
                }
            }
            Opening::PythonImport => {
                places.push(Place::new(own, "the module's folder"));
                places.extend(self.python_folder(own).map(|folder| Place::new(&folder, "the folder of python.exe")));
                places.extend(self.wheel_libraries(own));
                if let Some(system) = &self.system {
                    places.push(Place::new(&system.system_folder(asking.image.machine), "System32"));
                }
            }
        }
        places
    }

    /// `PACKAGE.libs`, which wheels repaired by delvewheel give to `os.add_dll_directory`.
    fn wheel_libraries(&self, own: &Path) -> Option<Place> {
        let packages = site_packages(own)?;
        let package = file_name(Path::new(own.strip_prefix(packages).ok()?.components().next()?.as_os_str()));
        let folder = packages.join(format!("{package}.libs"));
        self.host.path(&folder).is_dir().then(|| {
            Place::told(
                folder,
                format!("os.add_dll_directory of the wheel ({package}.libs)"),
                "os.add_dll_directory of the wheel",
            )
        })
    }

    /// Where the environment's `python.exe` is: `ENV\python.exe`, or `ENV\Scripts` of a virtual environment.
    fn python_folder(&self, own: &Path) -> Option<PathBuf> {
        let environment = site_packages(own)?.parent()?.parent()?;
        let folders = [environment.to_owned(), environment.join("Scripts")];
        folders.into_iter().find(|folder| self.file(folder, "python.exe").is_some())
    }

    fn program_folder(&self, program: &str) -> Option<PathBuf> {
        self.system.as_ref()?.path.iter().find(|folder| self.file(folder, program).is_some()).cloned()
    }

    /// A copy of the library in a folder that is often taken for one that counts, and why it does not.
    pub(super) fn elsewhere(
        &self,
        name: &str,
        asking: &Loaded,
        question: &Question<'_>,
        places: &[Place],
    ) -> Option<String> {
        let mut others: Vec<(PathBuf, &str)> = Vec::new();
        if let Some(own) = asking.path.parent() {
            others.push((own.to_owned(), "Windows looks beside the program, not beside the library"));
        }
        if let Some(cuda) = self.host.text_variable(CUDA_PATH.name) {
            let why = match question.opening {
                Opening::PythonCtypes => {
                    "llama_cpp adds it with os.add_dll_directory, which its winmode=0 leaves out; put it on PATH"
                }
                Opening::PythonImport => {
                    "the package does not add CUDA_PATH with os.add_dll_directory, and PATH does not count"
                }
                _ => "CUDA_PATH does not count; put the folder on PATH",
            };
            let bin = windows_path(&cuda).join("bin");
            others.extend([(bin.join("x64"), why), (bin, why)]);
        }
        if let Some(packages) = site_packages(&question.file.path) {
            const TORCH: &str = "it counts in a program that imports torch first";
            const WHEEL: &str =
                "NVIDIA's wheels add their folders to no search; call os.add_dll_directory or put them on PATH";
            others.push((packages.join("torch").join("lib"), TORCH));
            let nvidia = packages.join("nvidia");
            let parts = fs_err::read_dir(self.host.path(&nvidia)).into_iter().flatten().flatten();
            for part in parts.map(|part| nvidia.join(part.file_name()).join("bin")) {
                others.extend([(part.join("x86_64"), WHEEL), (part, WHEEL)]);
            }
        }
        others.into_iter().filter(|(folder, _)| places.iter().all(|place| place.folder != *folder)).find_map(
            |(folder, why)| {
                let path = self.file(&folder, name)?;
                Some(format!("{} is there, but {why}", path.display()))
            },
        )
    }

    /// The folders of the assemblies that the file's manifest asks for. Those that are nowhere become answers:
    /// Windows refuses to load the file then (error 14001).
    pub(super) fn assemblies(
        &self,
        asking: &Loaded,
        question: &Question<'_>,
        answers: &mut Vec<Dependency>,
    ) -> Vec<Place> {
        let mut context = Vec::new();
        for assembly in asking.image.assemblies.iter().flatten() {
            let version = assembly.version.as_deref().unwrap_or("of any version");
            let name = format!("{} {version} (side by side)", assembly.name);
            if answers.iter().any(|answer| answer.name == name) {
                continue;
            }
            let folder = self.side_by_side(assembly).or_else(|| self.private(assembly, asking, question));
            let (state, detail) = match (&folder, &self.system) {
                (Some(_), _) => (DependencyState::Found, "side by side".to_owned()),
                (None, None) => {
                    (DependencyState::System, "an assembly of Windows; not looked for from here".to_owned())
                }
                (None, Some(_)) => {
                    (DependencyState::Missing, "no such assembly in WinSxS nor beside the program".to_owned())
                }
            };
            context.extend(folder.iter().map(|folder| {
                Place::told(folder.clone(), format!("side by side ({})", assembly.name), "its assemblies")
            }));
            answers.push(Dependency { name, needed_by: file_name(&asking.path), state, path: folder, detail });
        }
        context
    }

    /// `WinSxS\amd64_microsoft.vc90.crt_1fc8b3b9a1e18e3b_9.0.30729.6161_none_…`: the newest that is no older than asked.
    fn side_by_side(&self, assembly: &Assembly) -> Option<PathBuf> {
        let store = self.system.as_ref()?.folder.join("WinSxS");
        let architecture =
            assembly.architecture.as_deref().filter(|architecture| *architecture != "*").unwrap_or("amd64");
        let token = assembly.public_key_token.as_deref().unwrap_or("none");
        let prefix = format!("{architecture}_{}_{token}_", assembly.name).to_ascii_lowercase();
        let wanted = assembly.version.as_deref().and_then(version).unwrap_or_default();
        let names = fs_err::read_dir(self.host.path(&store)).ok()?.flatten();
        let names = names.filter_map(|entry| entry.file_name().into_string().ok());
        let found = names.filter_map(|name| {
            let is = version(name.to_ascii_lowercase().strip_prefix(&prefix)?.split('_').next()?)?;
            // A policy of the publisher leads to newer ones of the same release only.
            (is[..2] == wanted[..2] && is >= wanted || wanted == [0; 4]).then_some((is, name))
        });
        found.max().map(|(_, name)| store.join(name))
    }

    /// A private assembly: `NAME\NAME.manifest` or `NAME.manifest` beside the program.
    fn private(&self, assembly: &Assembly, asking: &Loaded, question: &Question<'_>) -> Option<PathBuf> {
        let beside = match question.opening {
            Opening::Program { folder } => folder.as_path(),
            _ => asking.path.parent()?,
        };
        let manifest = format!("{}.manifest", assembly.name);
        let folders = [beside.join(&assembly.name), beside.to_owned()];
        folders.into_iter().find(|folder| self.file(folder, &manifest).is_some())
    }
}

/// `9.0.21022.8`
fn version(text: &str) -> Option<[u32; 4]> {
    let numbers: Vec<u32> = text.split('.').map(str::parse).collect::<Result<_, _>>().ok()?;
    numbers.try_into().ok()
}
